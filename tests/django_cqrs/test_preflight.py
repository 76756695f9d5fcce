"""Preflight: a new release looks at what waits before it takes over."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from attrs import frozen
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from django_cqrs.consumers import consumers, subscribe
from django_cqrs.models import Blocked, Dead, Inbox, Outbox, ParkedInbox, Scheduled
from django_cqrs.models import Saga as Stored
from django_cqrs.preflight import preflight
from django_cqrs.releases import handles_of, newer_than
from django_cqrs.status import read_status
from simplecqrs import Command, NotificationEvent
from simplecqrs.queue import SAGAS
from simplecqrs.saga import Step
from simplecqrs.timing import Timed
from simplecqrs.upcasting import Upcasters
from tests.desk.project import Project
from tests.desk.trips import Trip, doing, paid, trip_saga, undoing

pytestmark = pytest.mark.usefixtures("committed")


@frozen
class Moved(NotificationEvent, name="moved", topic="moves", key="who"):
    """As the release that is at work has it."""

    who: str


@frozen
class WasMoved(NotificationEvent, topic="moves", key="who"):
    """The same, under another name."""

    who: str


@frozen
class MovedFar(NotificationEvent, name="moved", topic="moves", key="who", version=2):
    """The same, with a field more."""

    who: str
    how_far: int


@frozen
class MovedFarther(NotificationEvent, name="moved", topic="moves", key="who", version=3):
    """The same, once more."""

    who: str
    miles: int


@frozen
class Rest(Command[None]):
    """A command for later."""

    who: str


@frozen
class Other(Command[None]):
    """Another one."""


def kinds(release: Project, **options: Any) -> list[str]:
    """Return what a release would find."""
    Project.current = release
    found = preflight(release.bus, **{"most": 1000, "samples": 5, **options})
    return [problem.kind for problem in found.problems]


def said(*arguments: str) -> str:
    """Return what the command says, with its error."""
    out = StringIO()
    try:
        call_command("cqrs_preflight", *arguments, stdout=out)
    except CommandError as error:
        out.write(f"ended with 1: {error}")
    return out.getvalue()


def release(*events: type[Any], name: str = "walkers") -> Project:
    """Return a release with handlers of these events."""
    made = Project()
    if events:
        made.consume(*events, consumer=name)
    return made


@pytest.fixture
def running(project: Project) -> Project:
    """Return the release that is at work."""
    project.consume(Moved, consumer="walkers")
    project.registry.add(Rest, lambda command: None)
    consumers()
    return project


def wait_in_outbox(running: Project) -> None:
    running.publish(Moved("ada"), Moved("bob"))


def wait_in_inbox(running: Project) -> None:
    wait_in_outbox(running)
    running.ship()


def wait_parked(running: Project) -> None:
    wait_in_inbox(running)
    for row in Inbox.objects.all():
        fields = {f.name: getattr(row, f.name) for f in Inbox._meta.fields}
        ParkedInbox.objects.create(**fields)
        row.delete()


def wait_scheduled(running: Project) -> None:
    running.publish(*(Timed(Moved(who), due=timedelta(hours=1)) for who in ("ada", "bob")))


EVERYWHERE = pytest.mark.parametrize("wait", [wait_in_outbox, wait_in_inbox, wait_parked, wait_scheduled])


@EVERYWHERE
def test_what_this_release_can_handle_is_no_problem(running: Project, wait: Callable[[Project], None]) -> None:
    """Wherever it waits: the release that is at work, and one that has more."""
    wait(running)

    assert kinds(running) == []
    assert kinds(release(Moved, WasMoved)) == []


@EVERYWHERE
def test_a_renamed_class_is_found_wherever_it_waits(running: Project, wait: Callable[[Project], None]) -> None:
    """With the name that would keep it readable."""
    wait(running)

    Project.current = release(WasMoved)
    output = said()

    assert "PROBLEM renamed or removed class: 2 x moved version 1 in " in output
    assert 'keep its name on the wire, class ...(..., name="moved"); was it renamed to WasMoved?' in output
    assert output.endswith("ended with 1: 1 problems: renamed or removed class")


def test_what_waits_begins_no_line_and_leaves_the_terminal_alone(running: Project) -> None:
    """However it is called."""
    wait_in_inbox(running)
    Inbox.objects.update(queue="odd\x1b[2J\nPROBLEM")

    told = said()

    assert r"in inbox odd\x1b[2J\nPROBLEM" in told
    assert "\x1b" not in told


def test_a_removed_handler_is_found(running: Project) -> None:
    """The class is there still, for another consumer."""
    wait_in_inbox(running)
    without = release(WasMoved)
    without.consume(Moved, consumer="runners")

    assert kinds(without) == ["removed handler"]


def test_a_handler_that_nobody_waits_for_may_go(running: Project) -> None:
    """So may the class; what will not be stored any more is said."""
    Project.current = release(WasMoved, name="runners")

    output = said()

    assert "nothing that waits would break" in output
    assert "note: dropped subscription: in inbox walkers (default): walkers does not subscribe to moves of" in output


def test_what_nobody_has_ever_handled_is_no_problem(running: Project) -> None:
    """A topic has other names on it, which are acknowledged."""
    wait_in_inbox(running)
    Inbox.objects.update(name="spoken")

    assert kinds(running) == []


def test_a_missing_consumer_is_found(running: Project) -> None:
    """Nobody would work its inbox."""
    wait_in_inbox(running)

    assert kinds(release(Moved, name="runners")) == ["missing consumer"]


def test_a_missing_broker_is_found(running: Project) -> None:
    """No relay would work its outbox."""
    wait_in_outbox(running)
    Outbox.objects.update(queue="redis")

    assert kinds(running) == ["missing broker"]


def test_a_missing_upcaster_is_found_by_reading_what_waits(running: Project) -> None:
    """Which is named; with it, or with a default in its place, all is well."""
    wait_in_inbox(running)
    upcasters = Upcasters()
    without, gap, whole = release(MovedFar), release(MovedFarther), release(MovedFar)
    gap.bus._upcasters = whole.bus._upcasters = upcasters
    upcasters.upcasts(MovedFarther, version=2)(lambda fields: fields)
    upcasters.upcasts(MovedFar, version=1)(lambda fields: {**fields, "how_far": 0})

    Project.current = without
    output = said()
    assert "PROBLEM missing upcaster: 2 x moved version 1 in inbox walkers" in output
    assert "write the upcaster, @upcasts(MovedFar, version=1), or give new fields defaults" in output
    assert kinds(gap) == ["missing upcaster"]
    assert kinds(whole) == []


def test_a_version_of_the_future_is_found_before_a_rollback(running: Project) -> None:
    """An older release could only wait with it."""
    wait_in_inbox(running)
    Inbox.objects.update(version=2)

    assert kinds(running) == ["newer version"]


def test_a_class_that_changed_without_a_version_is_found(running: Project) -> None:
    """Its payloads do not fit any more."""
    wait_in_inbox(running)
    Inbox.objects.update(version=2)
    Inbox.objects.filter(payload__isnull=False).update(payload=b'{"who": "ada"}')

    assert kinds(release(MovedFar)) == ["unreadable payload"]


@pytest.mark.parametrize("due", [None, timedelta(hours=1)])
def test_a_deferred_command_without_a_handler_is_found(running: Project, due: timedelta | None) -> None:
    """Scheduled or not."""
    with transaction.atomic():
        running.bus.defer(Rest("ada"), due=due)
    without = release(Moved)
    without.registry.add(Other, lambda command: None)

    assert kinds(without) == ["renamed or removed class"]


def test_dead_letters_are_looked_at_if_that_is_asked_for(running: Project) -> None:
    """A retry of them would fail."""
    wait_in_inbox(running)
    row = Inbox.objects.first()
    assert row is not None
    fields = {f.name: getattr(row, f.name) for f in Inbox._meta.fields if f.name != "id"}
    Dead.objects.create(box="inbox", attempts=1, reason="no", holds=False, **fields)
    Inbox.objects.all().delete()
    renamed = release(WasMoved)

    assert (kinds(renamed), kinds(renamed, dead=True)) == ([], ["renamed or removed class"])


def test_lanes_that_change_while_something_waits_are_told(running: Project, settings: Any) -> None:
    """They are kept until the inbox is empty, so it is no problem; what nobody would work is one."""
    wait_in_inbox(running)
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "CONSUMERS": {"walkers": {"lanes": 4}}}
    assert "note: changed lanes: in inbox walkers (default): walkers keeps its 16 lanes, not 4" in said()

    Inbox.objects.update(lane=99)

    assert kinds(running) == ["changed lanes"]


def test_looking_has_a_bound_and_says_what_it_has_seen(running: Project) -> None:
    """The oldest rows first; of each name and version a few are decoded."""
    running.publish(*(Moved(str(number)) for number in range(30)))
    found = preflight(running.bus, most=10, samples=2)
    assert [(look.rows, look.whole) for look in found.looked_at if look.rows] == [(10, False)]
    assert "looked at 10 rows of cqrs_outbox (outbox) on default; there are more: --rows" in said("--rows", "10")

    with CaptureQueriesContext(connection) as few:
        preflight(running.bus, most=30, samples=1)
    running.publish(*(Moved(str(number)) for number in range(1000)))
    with CaptureQueriesContext(connection) as many:
        preflight(running.bus, most=2000, samples=1)

    assert len(many) == len(few)


# sagas


def trips(*names: str, **options: Any) -> Project:
    """Return a release with a saga of these steps."""
    made = Project()
    trip_saga(made.registry, *names, **options)
    return made


def begin(running: Project) -> None:
    """Begin a saga, and let it go as far as it goes."""
    Project.current = running
    [saga] = running.bus.saga_definitions.values()
    with transaction.atomic():
        saga.start(running.bus, Trip())
    running.work(SAGAS)


def test_a_renamed_step_in_which_sagas_wait_is_found(project: Project) -> None:
    """With an alias, too: it is waited for under its old name."""
    running = trips("flight", "paid", paid=paid())
    begin(running)
    assert Stored.objects.get().status == "WAITING"
    waits = paid().act
    renamed = trips("flight", "settled", settled=Step("settled", waits))
    aliased = trips("flight", "settled", settled=Step("settled", waits, aliases=["paid"]))

    assert kinds(running) == []
    assert kinds(renamed) == ["renamed step"]
    assert kinds(aliased) == ["renamed step"]
    assert "1 in saga trip (default): they wait in the step 'paid', which is called 'settled' now" in said()
    assert "keep the name 'paid' until none waits there" in said()


def test_a_step_under_which_sagas_wait_in_vain_is_an_alarm(project: Project) -> None:
    """For whoever has deployed without a look."""
    begin(trips("flight", "paid", paid=paid()))
    assert read_status().alarms == []

    Project.current = trips("flight", "settled", settled=Step("settled", paid().act, aliases=["paid"]))

    [alarm] = read_status().alarms
    assert alarm.startswith(f"sagas 'trip' cannot go on, the first is {Stored.objects.get().id}: they wait in the step")


def test_a_renamed_step_that_sagas_have_begun_is_found(project: Project) -> None:
    """An alias is its cure."""
    running = trips("flight", "paid", paid=paid())
    begin(running)
    renamed = trips("plane", "paid", paid=paid())
    aliased = trips(
        "plane", "paid", paid=paid(), plane=Step("plane", doing("plane"), undoing("plane"), aliases=["flight"])
    )

    assert (kinds(renamed), kinds(aliased)) == (["renamed step"], [])


def test_a_saga_whose_definition_is_gone_is_found(project: Project) -> None:
    """Unless it has ended."""
    begin(trips("flight", "paid", paid=paid()))
    begin(trips("flight"))
    assert Stored.objects.count() == 2

    assert kinds(release(Moved)) == ["missing saga"]


def test_a_state_that_cannot_be_read_is_found(project: Project) -> None:
    """The first ones of each saga are."""
    running = trips("flight", "paid", paid=paid())
    begin(running)
    Stored.objects.update(state=b'{"who": 1}')

    assert kinds(running) == ["unreadable state"]


# the command


def test_what_was_found_is_for_machines_as_well(running: Project) -> None:
    """As JSON, with the same exit code."""
    wait_in_inbox(running)
    Project.current = release(WasMoved)

    found = json.loads(said("--json").partition("ended with 1")[0])

    assert [problem["name"] for problem in found["problems"]] == ["moved"]
    assert found["looked_at"][0] == {"database": "default", "table": "cqrs_outbox (outbox)", "rows": 0, "whole": True}


def test_the_release_that_came_back_can_be_declared_the_newest(running: Project) -> None:
    """After a rollback for good."""
    subscribe([], release(WasMoved).bus)
    assert len(newer_than(handles_of(running.bus))) == 1
    Project.current = running

    assert said("--newest") == "this release is the newest one now\n"

    assert newer_than(handles_of(running.bus)) == []
    assert (Blocked.objects.count(), Scheduled.objects.count()) == (0, 0)
