"""Deploys: an older release beside a newer one waits with what only that one can handle."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from attrs import frozen
from django.core.management import call_command
from django.db import transaction

from django_cqrs.consumers import consumers, subscribe, subscribe_after_migrate
from django_cqrs.inbox import lanes_of
from django_cqrs.loops import run
from django_cqrs.models import Blocked, Dead, Inbox, ParkedInbox, Release, Subscription
from django_cqrs.models import Saga as Stored
from django_cqrs.promotion import promoters
from django_cqrs.releases import all_known, handles_of, newer_than, settle
from django_cqrs.status import read_status
from simplecqrs import Command, NotificationEvent, Retry
from simplecqrs.queue import DEFERRED, SAGAS
from tests.desk.project import Project
from tests.desk.trips import PaymentCame, Trip, noted, paid, trip_saga

pytestmark = pytest.mark.usefixtures("committed")
HOUR = timedelta(hours=1)


@frozen
class Moved(NotificationEvent, topic="moves", key="who"):
    """Handled by both releases."""

    who: str


@frozen
class Ran(NotificationEvent, topic="moves", key="who"):
    """Handled by the newer release only."""

    who: str


@frozen
class Swam(NotificationEvent, topic="waters", key="who"):
    """Of a topic that only the newer release subscribes to."""

    who: str


@frozen
class Rest(Command[None]):
    """A command that only the newer release has."""

    who: str


@frozen
class Other(Command[None]):
    """Makes a release have deferred commands at all."""


@pytest.fixture
def older(project: Project) -> Project:
    """Return a release that is at work."""
    project.consume(Moved, consumer="walkers")
    consumers()
    return project


@pytest.fixture
def newer(older: Project) -> Iterator[Project]:
    """Return a newer release, whose workers have been started; the older one goes on."""
    found = Project()
    found.consume(Moved, Ran, Swam, consumer="walkers")
    found.registry.add(Rest, lambda command: found.seen.append(f"rest {command.who}"))
    consumers()
    Project.current = older
    return found


def work(release: Project, *names: str) -> None:
    """Let the workers of a release do what they can."""
    Project.current = release
    release.work(*(names or ("walkers",)))


def ship(release: Project, *events: Any) -> None:
    """Publish as a release, and let its relay move the events into the inbox."""
    Project.current = release
    release.publish(*events)
    release.ship()


def pass_time(time: timedelta = HOUR) -> None:
    """Let time pass for all that is blocked."""
    for blocked in Blocked.objects.all():
        since = blocked.waits_since and blocked.waits_since - time
        Blocked.objects.filter(pk=blocked.pk).update(
            waits_since=since, next_at=blocked.next_at and blocked.next_at - time
        )


def test_a_message_for_a_handler_of_a_newer_release_waits_with_an_alarm(older: Project, newer: Project) -> None:
    """Its key waits, others go on, nothing is counted or dead; the newer release takes it, in order."""
    ship(newer, Ran("ada"), Moved("ada"), Moved("bob"))
    for _ in range(3):
        work(older)
        pass_time(timedelta(seconds=75))

    assert (older.seen, Dead.objects.count(), ParkedInbox.objects.count()) == (["walkers bob"], 0, 2)
    [blocked] = Blocked.objects.all()
    assert (blocked.attempts, blocked.error.partition(":")[0]) == (0, "NotHandledHere")
    [alarm] = read_status().alarms
    assert alarm.startswith("1 keys wait for another release, 'ada' of moves (inbox walkers) for 2")
    assert " of 900 s: NotHandledHere: walkers has a handler for Ran" in alarm

    work(newer)
    assert newer.seen == ["walkers ada", "walkers ada"]
    assert read_status().alarms == []


def test_after_its_grace_a_message_fails_like_others(older: Project, newer: Project, settings: Any) -> None:
    """As the policy of its consumer says; it is never dropped as nobody's."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "CONSUMERS": {"walkers": {"retry": Retry(2)}}, "DEPLOY_GRACE": 600}
    ship(newer, Ran("ada"))
    work(older)
    pass_time(timedelta(seconds=601))
    work(older)
    assert (Blocked.objects.get().attempts, len(read_status().alarms)) == (1, 1)

    pass_time()
    work(older)

    [letter] = older.letters()
    assert letter.attempts == 2
    assert letter.cause == "NotHandledHere: walkers has a handler for Ran in a newer release, and none in this one"


def test_what_fails_otherwise_has_not_waited(older: Project, newer: Project) -> None:
    """The newer release fails on it, and the older one gets it again: it is its first wait."""
    broken = Project()
    broken.consume(Ran, consumer="walkers", work=lambda event, publish: 1 / 0)
    ship(newer, Ran("ada"))
    work(older)
    pass_time()
    work(broken)
    assert (Blocked.objects.get().waits_since, Blocked.objects.get().attempts) == (None, 1)

    pass_time()
    work(older)

    assert (Blocked.objects.get().waits_since is not None, Blocked.objects.get().attempts) == (True, 1)


def test_what_the_newest_release_has_no_handler_for_is_nobodys(older: Project, newer: Project) -> None:
    """A handler that was taken out is missed by nobody: the message is acknowledged and counted."""
    ship(newer, Ran("ada"))
    third = Project()
    third.consume(Moved, consumer="walkers", on_dead="continue")
    third.consume(Swam, consumer="walkers")

    work(third)

    assert (Inbox.objects.count(), Blocked.objects.count(), Dead.objects.count()) == (0, 0, 0)


def test_a_release_that_is_started_anew_stays_an_older_one(older: Project, newer: Project) -> None:
    """What counts is when it was first seen."""
    consumers()

    assert [sorted(found.names["walkers"]) for found in newer_than(handles_of(older.bus))] == [["Moved", "Ran", "Swam"]]
    assert newer_than(handles_of(newer.bus)) == []


def test_an_older_release_does_not_drop_what_a_newer_one_subscribes_to(older: Project, newer: Project) -> None:
    """Whenever its workers are started, and whoever migrates."""
    Project.current = older
    consumers()
    subscribe_after_migrate(using="default")
    assert set(Subscription.objects.values_list("topic", flat=True)) >= {"moves", "waters"}

    ship(newer, Swam("ada"))
    work(newer)
    assert newer.seen == ["walkers ada"]


def test_an_older_release_does_not_change_lanes(older: Project, newer: Project, settings: Any) -> None:
    """The newer one has said how many there are."""
    before = settings.DJANGO_CQRS
    settings.DJANGO_CQRS = {**before, "CONSUMERS": {"walkers": {"lanes": 4}}}
    subscribe(["walkers"], newer.bus)
    settings.DJANGO_CQRS = before

    subscribe(["walkers"], older.bus)

    assert lanes_of("walkers", "default") == 4


def test_a_change_of_lanes_makes_a_new_release(older: Project, newer: Project, settings: Any) -> None:
    """Though its handlers are those of an old one, it is the newest that was seen."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "CONSUMERS": {"walkers": {"lanes": 4}}}

    subscribe(["walkers"], older.bus)

    assert lanes_of("walkers", "default") == 4


def test_a_consumer_of_a_newer_release_outlives_the_migrate_of_an_older_one(older: Project) -> None:
    """Its events would go nowhere."""
    newer = Project()
    newer.consume(Swam, consumer="swimmers")
    consumers()
    Project.current = older

    subscribe_after_migrate(using="default")

    assert Subscription.objects.filter(consumer="swimmers").exists()


@pytest.mark.parametrize("due", [None, timedelta(0)])
def test_a_deferred_command_without_a_handler_waits_and_is_never_dropped(
    older: Project, newer: Project, due: timedelta | None
) -> None:
    """Only this project could store it, so one of its releases has the handler; likewise what was scheduled."""
    with transaction.atomic():
        newer.bus.defer(Rest("ada"), due=due)
    run(promoters(), drain=True)
    lacking = Project()
    lacking.registry.add(Other, lambda command: None)
    work(lacking, DEFERRED)
    assert (Dead.objects.count(), ParkedInbox.objects.get().name) == (0, "Rest")

    pass_time()
    work(newer, DEFERRED)

    assert newer.seen == ["rest ada"]


def test_a_saga_whose_step_is_not_here_waits_for_its_release(older: Project) -> None:
    """No attempt is counted, and it goes on where it was."""
    newer = Project()
    saga = trip_saga(newer.registry, "flight", "hotel")
    with transaction.atomic():
        saga.start(newer.bus, Trip())
    renamed = Project()
    trip_saga(renamed.registry, "plane", "hotel")
    without = Project()
    trip_saga(without.registry, "flight").name = "other"
    for release in (renamed, without):
        work(release, SAGAS)
        assert Blocked.objects.get().attempts == 0
        assert Blocked.objects.get().error.startswith("NotHandledHere: ")
        pass_time(timedelta(seconds=75))

    work(newer, SAGAS)

    assert noted() == ["flight ann", "hotel ann"]


def test_an_older_release_does_not_end_a_saga_without_the_steps_of_a_newer_one(project: Project) -> None:
    """It knows all steps that the saga has gone through, and not the one that is to come."""
    trip_saga(project.registry, "flight", "hotel")
    newer = Project()
    saga = trip_saga(newer.registry, "flight", "hotel", "car")
    for release in (project, newer):
        Project.current = release
        consumers()
    with transaction.atomic():
        saga.start(newer.bus, Trip())

    work(project, SAGAS)
    assert noted() == []
    assert "newer release" in Blocked.objects.get().error
    pass_time(timedelta(seconds=75))
    work(newer, SAGAS)

    assert noted() == ["flight ann", "hotel ann", "car ann"]


def test_an_event_for_a_saga_of_a_newer_release_waits_for_that(project: Project) -> None:
    """Handing it in would go on with the saga."""
    trip_saga(project.registry, "flight", "paid", paid=paid())
    newer = Project()
    saga = trip_saga(newer.registry, "plane", "paid", paid=paid())
    for release in (project, newer):
        Project.current = release
        consumers()
    with transaction.atomic():
        saga.start(newer.bus, Trip())
    work(newer, SAGAS)
    ship(newer, PaymentCame("ann"))

    work(project, SAGAS)
    assert (Blocked.objects.get().attempts, noted()) == (0, ["plane ann"])
    pass_time(timedelta(seconds=75))
    work(newer, SAGAS)

    assert Stored.objects.get().status == "COMPLETED"


def test_a_newer_release_looks_at_once_at_what_has_waited_for_it(older: Project, newer: Project) -> None:
    """However long the pauses of the older one have become."""
    ship(newer, Ran("ada"))
    work(older)
    Blocked.objects.update(next_at=Blocked.objects.get().next_at + HOUR)
    Project.current = newer

    call_command("cqrs_consume", "walkers", drain=True)

    assert newer.seen == ["walkers ada"]


def test_a_release_that_was_withdrawn_is_waited_for_no_more(older: Project, newer: Project) -> None:
    """Once the one that came back is declared to be the newest."""
    ship(newer, Ran("ada"))
    work(older)

    settle(handles_of(older.bus))
    pass_time(timedelta(seconds=75))
    work(older)

    assert (Blocked.objects.count(), Dead.objects.count(), newer_than(handles_of(older.bus))) == (0, 0, [])


def test_releases_are_not_remembered_for_ever(project: Project) -> None:
    """More are never at work side by side."""
    for number in range(25):
        each = Project()
        each.consume(Moved, consumer=f"c{number}")
        subscribe([], each.bus)

    assert Release.objects.count() == 20
    assert "c24" in all_known()[0].names
