"""The history: what was shipped is kept for a while, and can be sent once more."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta, timezone
from io import StringIO
from typing import Any, cast

import pytest
from attrs import frozen
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connections, transaction

from django_cqrs.brokers import broker
from django_cqrs.conf import read_settings
from django_cqrs.models import Action, History, Outbox, ParkedOutbox, Seen
from django_cqrs.purging import HISTORY, purge
from django_cqrs.queue import outbox
from django_cqrs.resending import Choice, alone, resend
from django_cqrs.status import read_status
from simplecqrs import NotificationEvent
from simplecqrs.errors import NotPublished
from simplecqrs.memory import MemoryBroker
from tests.desk.project import Project

pytestmark = pytest.mark.usefixtures("committed")

EVENTS = {"BACKEND": "simplecqrs.memory.MemoryBroker"}
LONG_AGO = datetime(2026, 1, 1, tzinfo=timezone.utc)


@frozen
class Counted(NotificationEvent, topic="numbers", key="who"):
    """For everybody."""

    who: str
    step: int = 0


@frozen
class Shouted(NotificationEvent, topic="voices"):
    """For everybody."""

    who: str


@pytest.fixture
def numbers(project: Project, settings: Any) -> Project:
    """Return a project that ships to a broker in memory, keeps what it has shipped, and consumes it as well."""
    settings.DJANGO_CQRS = {
        **settings.DJANGO_CQRS,
        "BROKERS": {"events": EVENTS},
        "ROUTES": {"numbers": "events"},
        "CONSUMERS": {"one": {"broker": "events"}},
        "KEEP_HISTORY": "48h",
    }
    project.consume(Counted, consumer="one")
    project.consume(Shouted, consumer="two")
    return project


def published() -> list[str]:
    """Return what the broker has got."""
    return [e.payload.decode() for e in cast(MemoryBroker, broker("events")).published]


def resent(*arguments: str) -> str:
    """Call the command for all that was ever shipped."""
    out = StringIO()
    call_command("cqrs_resend", "--route", "events", "--since", "2026-01-01", "--yes", *arguments, stdout=out)
    return out.getvalue()


def test_what_was_shipped_is_kept_with_its_id_and_its_place(numbers: Project) -> None:
    """To a broker as well as to the project's own inboxes."""
    numbers.publish(Counted("ann", 1), Counted("bob", 1), Shouted("ann"))
    before = list(Outbox.objects.order_by("pk").values_list("queue", "pk", "message_id", "payload"))

    numbers.ship()

    kept = History.objects.order_by("row").values_list("queue", "row", "message_id", "payload")
    assert [tuple(map(str, row)) for row in kept] == [tuple(map(str, row)) for row in before]
    assert [queue for queue, *_ in before] == ["events", "events", "database"]
    assert not Outbox.objects.exists()


def test_nothing_is_kept_unless_it_is_asked_for(numbers: Project, settings: Any) -> None:
    """As the default is."""
    settings.DJANGO_CQRS = {k: v for k, v in settings.DJANGO_CQRS.items() if k != "KEEP_HISTORY"}
    numbers.publish(Counted("ann"))

    numbers.ship()

    assert not History.objects.exists()
    assert "KEEP_HISTORY is off" in resent()


def test_what_was_not_acknowledged_is_not_in_the_history(numbers: Project) -> None:
    """What was parked is, once it was shipped after all."""
    memory = cast(MemoryBroker, broker("events"))
    memory._refuse = lambda envelope: "too odd"
    numbers.publish(Counted("ann"))
    numbers.ship()
    was_kept, was_parked = History.objects.exists(), ParkedOutbox.objects.count()
    memory._refuse = None

    call_command("cqrs_dead", "retry", "--parked", "--all", stdout=StringIO())
    numbers.ship()

    assert (was_kept, was_parked) == (False, 1)
    assert History.objects.count() == 1


def test_one_that_was_shipped_by_hand_is_kept(numbers: Project) -> None:
    """By cqrs_relay --message."""
    numbers.publish(Counted("ann"))
    message_id = Outbox.objects.get().message_id

    call_command("cqrs_relay", "--message", str(message_id), stdout=StringIO())

    assert History.objects.get().message_id == message_id


def test_it_is_kept_if_and_only_if_it_is_deleted(numbers: Project) -> None:
    """In one transaction, which may be rolled back."""
    numbers.publish(Counted("ann"))
    storage, row = outbox("default"), Outbox.objects.get().pk

    with pytest.raises(DatabaseError), transaction.atomic():
        storage.done(storage.hot, [row])
        raise DatabaseError

    assert (Outbox.objects.count(), History.objects.count()) == (1, 0)


def test_it_is_sent_once_more_ahead_of_what_waits_and_each_effect_happens_once(numbers: Project) -> None:
    """The broker has lost two of three; the door drops the third."""
    numbers.publish(Counted("ann", 1))
    numbers.ship()
    numbers.work("one")
    numbers.publish(Counted("ann", 2), Counted("ann", 3))
    numbers.ship()
    cast(MemoryBroker, broker("events"))._topics["numbers"].clear()
    cast(MemoryBroker, broker("events"))._positions.clear()
    numbers.publish(Counted("ann", 4))

    said = resent("--reason", "a flood")
    numbers.ship()
    numbers.work("one")

    assert numbers.seen == ["one ann1", "one ann2", "one ann3", "one ann4"]
    assert "default: 3 events wait in the outbox for events once more" in said
    done = Action.objects.get()
    assert (done.act, done.number, done.queue, done.reason) == ("resend", 3, "events", "a flood")
    assert History.objects.count() == 4


def test_only_what_is_chosen_is_sent_once_more(numbers: Project) -> None:
    """By topic, name, key and time."""
    numbers.publish(Counted("ann"), Counted("bob"))
    numbers.ship()

    said = [resent("--topic", "no"), resent("--name", "no"), resent("--until", "2026-01-02"), resent("--key", "bob")]

    assert [row.key for row in Outbox.objects.all()] == ["bob"]
    assert all("nothing of that was sent to events" in one for one in said[:3])


def test_a_dry_run_counts(numbers: Project) -> None:
    """By name and topic, with the times; nothing is moved."""
    numbers.publish(Counted("ann"), Counted("bob"))
    numbers.ship()

    said = resent("--dry-run")

    assert "default: 2 x Counted (topic numbers), acknowledged 20" in said
    assert "the history begins at" in said
    assert (Outbox.objects.count(), Action.objects.count()) == (0, 0)


def test_a_person_is_asked(numbers: Project) -> None:
    """And if nobody is there, nothing is done."""
    numbers.publish(Counted("ann"))
    numbers.ship()

    with pytest.raises(CommandError, match="send 1 events to events once more: say --yes"):
        call_command("cqrs_resend", "--route", "events", "--since", "1h", stdout=StringIO())

    assert History.objects.count() == 1


def test_a_consumer_of_the_database_reads_it_once_more(numbers: Project) -> None:
    """In its order, page by page, and nothing of before."""
    numbers.publish(Shouted("before"))
    numbers.ship()
    since = datetime.now(timezone.utc)
    numbers.publish(*(Shouted(str(n)) for n in range(5)))
    numbers.ship()
    numbers.work("two")
    Seen.objects.filter(consumer="two").delete()
    numbers.seen.clear()
    out = StringIO()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django_cqrs.rewinding.CHUNK", 2)
        call_command("cqrs_consume", "two", "--rewind", since.isoformat(), "--yes", stdout=out)
    numbers.work("two")

    assert sorted(numbers.seen) == [f"two {n}" for n in range(5)]
    assert "two gets 5 events from 20" in out.getvalue()
    assert "it had seen 0 more" in out.getvalue()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--route", "nobody", "--since", "1h"], "there is no broker 'nobody'; known are database, events"),
        (["--route", "events", "--since", "soon"], "--since 'soon' is neither a time like"),
        (["--route", "events", "--since", "1h", "--until", "2h"], "--until is before --since"),
    ],
)
@pytest.mark.usefixtures("numbers")
def test_it_says_what_it_cannot_do(arguments: list[str], says: str) -> None:
    """In a line."""
    with pytest.raises(CommandError, match=says):
        call_command("cqrs_resend", *arguments, stdout=StringIO())


def test_many_are_moved_in_chunks_and_those_that_are_shipped_meanwhile_not_again(numbers: Project) -> None:
    """It ends, though the relay fills the history again."""
    numbers.publish(*(Counted("ann", step) for step in range(25)))
    numbers.ship()

    sizes = []
    for total in resend("default", Choice(route="events", since=LONG_AGO), chunk=10):
        sizes.append(total)
        numbers.ship()

    assert sizes == [10, 20, 25]
    assert published()[25:] == published()[:25]


def test_a_place_that_another_has_taken_is_not_fought_for(numbers: Project) -> None:
    """As after somebody has set the table's counter back: it goes behind what waits."""
    numbers.publish(Counted("ann", 1))
    numbers.ship()
    numbers.publish(Counted("bob", 2))
    Outbox.objects.update(id=History.objects.get().row)

    resent()

    assert [row.key for row in Outbox.objects.order_by("pk")] == ["bob", "ann"]


def test_two_do_not_send_at_once(numbers: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one says so after a while."""
    monkeypatch.setattr("django_cqrs.resending.TRIES", 1)
    monkeypatch.setattr("django_cqrs.resending.PAUSE", 0.0)
    numbers.publish(Counted("ann"))
    numbers.ship()
    refusals: list[str] = []

    def second() -> None:
        with pytest.raises((NotPublished, DatabaseError)) as raised:
            list(resend("default", Choice(route="events", since=LONG_AGO)))
        refusals.append(str(raised.value))
        connections.close_all()

    with alone("default"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()

    assert refusals == ["another cqrs_resend is at work here; let it come to its end"]
    assert History.objects.count() == 1


def test_what_is_too_old_is_purged(numbers: Project, settings: Any) -> None:
    """All of it, if nothing is to be kept any more."""
    numbers.publish(Counted("ann"), Counted("bob"))
    numbers.ship()
    History.objects.filter(key="ann").update(shipped_at=LONG_AGO)

    alarms = [alarm for alarm in read_status().alarms if "cqrs_purge" in alarm]
    first = purge("default", of=HISTORY, seconds=60)
    left = [row.key for row in History.objects.all()]
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "KEEP_HISTORY": None}
    second = purge("default", of=HISTORY, seconds=60)

    assert (first, left, second) == ((1, True), ["bob"], (1, True))
    assert alarms == ["events that were shipped more than 3 days ago are still kept: schedule cqrs_purge"]


def test_the_setting_is_an_age() -> None:
    """What is none is an error of the checks."""
    found, problems = read_settings({"KEEP_HISTORY": "7d"})
    _, wrong = read_settings({"KEEP_HISTORY": 48})

    assert (found.keep_history, problems) == (timedelta(days=7), [])
    assert wrong == ["DJANGO_CQRS: KEEP_HISTORY=48 cannot be: it is an age such as 90m, 48h or 7d, in quotes"]
