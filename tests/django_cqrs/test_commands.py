"""The management commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from io import StringIO
from typing import Any

import pytest
from attrs import frozen
from django.core.management import CommandError, call_command
from django.db import connection

from django_cqrs import bus
from django_cqrs.inbox import door
from django_cqrs.models import Dead, Inbox, Outbox
from django_cqrs.status import read_status
from simplecqrs import NotificationEvent, Publish, Retry
from simplecqrs.errors import MissingExtra
from simplecqrs.transport import Garbage
from tests.desk import processes
from tests.desk.messages import AuditSomething, CloseTicket, OpenTicket, Remind
from tests.desk.models import Note, Tally
from tests.desk.project import Project

committing = pytest.mark.usefixtures("committed")


@frozen
class Moved(NotificationEvent, topic="moves", key="who"):
    """For everybody."""

    who: str
    step: int = 0


def manage(command: str, *arguments: str, **options: Any) -> str:
    """Run a command and return what it said."""
    out = StringIO()
    call_command(command, *arguments, stdout=out, **options)
    return out.getvalue()


def failing(event: Moved, publish: Publish) -> None:
    """Fail on Bob."""
    if event.who == "bob":
        raise ValueError("no bob\nat all")


# cqrs_relay and cqrs_consume


@committing
def test_relay_drains_the_outboxes_of_all_aliases() -> None:
    """And says what it did."""
    bus.send(OpenTicket("one"))
    bus.send(AuditSomething("x"))

    said = manage("cqrs_relay", "--drain")

    assert Outbox.objects.count() == Outbox.objects.using("audit").count() == 0
    assert Inbox.objects.count() == 1
    assert "relay database 2" in said
    assert "events that nobody subscribed to" in said


@committing
def test_relay_once_ships_one_batch(settings: Any) -> None:
    """For cron, and for curiosity."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "RELAY_BATCH": 2}
    for title in "abcde":
        bus.send(OpenTicket(title))
    before = Outbox.objects.count()

    manage("cqrs_relay", "--once", "--database", "default")

    assert 0 < before - Outbox.objects.count() < before


@committing
def test_relay_may_be_told_an_alias_and_a_route() -> None:
    """The others are left alone."""
    bus.send(OpenTicket("one"))
    bus.send(AuditSomething("x"))

    manage("cqrs_relay", "--drain", "--database", "audit", "--route", "database")

    assert (Outbox.objects.count(), Outbox.objects.using("audit").count()) == (1, 0)


@committing
def test_relay_with_consume_is_all_that_a_small_site_needs() -> None:
    """One process, to the end."""
    ticket = bus.send(OpenTicket("one"))
    bus.send(CloseTicket(ticket))
    bus.defer(Remind(ticket, "later"))

    manage("cqrs_relay", "--drain", "--consume")

    assert {tally.name: tally.n for tally in Tally.objects.all()} == {"TicketOpened": 1, "TicketClosed": 1}
    assert Note.objects.filter(text=f"remind {ticket} later").count() == 1


@committing
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["cqrs_relay", "--route", "nowhere"], "there is no broker 'nowhere'; known are database"),
        (
            ["cqrs_relay", "--database", "nowhere"],
            "there is no alias with an outbox 'nowhere'; known are default, audit",
        ),
        (["cqrs_consume", "nobody"], "there is no consumer 'nobody'; known are tally, deferred"),
    ],
    ids=["route", "alias", "consumer"],
)
def test_an_unknown_name_is_told_with_those_that_are_known(arguments: list[str], complaint: str) -> None:
    """One line, and no traceback."""
    with pytest.raises(CommandError, match=complaint):
        manage(*arguments, once=True)


@committing
def test_consume_runs_the_consumers_that_are_named() -> None:
    """The others wait."""
    ticket = bus.send(OpenTicket("one"))
    bus.defer(Remind(ticket, "later"))
    manage("cqrs_relay", "--drain")

    said = manage("cqrs_consume", "tally", "--drain")

    assert "consumer tally 1" in said
    assert Tally.objects.get().n == 1
    assert Inbox.objects.get().queue == "deferred"
    manage("cqrs_consume", "--drain")
    assert Inbox.objects.count() == 0


@committing
def test_consume_once_is_one_run_per_consumer() -> None:
    """Of one lane."""
    for number in range(3):
        bus.defer(Remind(7, str(number)))

    manage("cqrs_consume", "--once", "deferred")

    assert Note.objects.count() == 3


@committing
@pytest.mark.processes
def test_several_processes_drain_together() -> None:
    """And end when there is nothing left."""
    for number in range(40):
        bus.defer(Remind(number, "please"))

    with processes.manage("cqrs_consume", "--drain", "--workers", "2") as command:
        assert command.wait(processes.PATIENCE) == 0

    assert Note.objects.count() == 40


@committing
def test_consumers_of_another_engine_run_only_when_named(project: Project, settings: Any) -> None:
    """Celery has them."""
    project.consume(Moved, consumer="one")
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "CONSUMERS": {"one": {"engine": "celery"}}}
    project.publish(Moved("ada"))
    project.ship()

    assert "there is no consumer to run" in manage("cqrs_consume", "--drain")
    manage("cqrs_consume", "one", "--drain")
    assert project.seen == ["one ada0"]


@committing
def test_failures_are_counted_on_the_last_line(project: Project) -> None:
    """So that whoever drains sees them."""
    project.consume(Moved, consumer="one", work=failing, retry=Retry(2, first=0))
    project.publish(Moved("bob"), Moved("ada"))
    project.ship()

    said = manage("cqrs_consume", "--drain")

    assert "consumer one: 2 failed" in said
    assert project.seen.count("one bob0") == 2
    assert Dead.objects.count() == 1


@committing
@pytest.mark.parametrize(
    ("table", "arguments"),
    [
        ("cqrs_outbox", ["cqrs_relay", "--drain"]),
        ("cqrs_subscription", ["cqrs_consume", "--drain"]),
        ("cqrs_inbox", ["cqrs_consume", "--drain"]),
        ("cqrs_dead", ["cqrs_status"]),
        ("cqrs_dead", ["cqrs_dead", "list"]),
    ],
    ids=["relay", "consume", "inbox", "status", "dead"],
)
def test_without_tables_the_commands_ask_for_migrate(table: str, arguments: list[str]) -> None:
    """One line, and no traceback."""
    with without(table), pytest.raises(CommandError, match=f"run `manage.py migrate`.*{table}"):
        manage(*arguments)


@contextmanager
def without(table: str) -> Iterator[None]:
    """Take a table away for a while; dropping it could not be undone everywhere."""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO {table}_away")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table}_away RENAME TO {table}")


# cqrs_status


@committing
def test_status_tells_what_waits_where(project: Project) -> None:
    """Both boxes, with the age of the oldest, what is parked, blocked and dead, and what is due later."""
    project.consume(Moved, consumer="one", work=failing, retry=Retry(1))
    project.publish(Moved("bob"), Moved("bob", 1))
    project.ship()
    project.work()
    project.publish(Moved("ada"))

    lines = manage("cqrs_status").splitlines()

    columns = ["database", "box", "queue", "pending", "oldest", "parked", "blocked", "dead", "scheduled", "due"]
    assert lines[0].split() == columns
    [waiting, dead] = [line.split() for line in lines if line.startswith("default")]
    assert (waiting[1:4], waiting[5], waiting[6:]) == (["outbox", "database", "1"], "s", ["0", "0", "0", "0", "-"])
    assert dead[1:] == ["inbox", "one", "0", "-", "1", "1", "1", "0", "-"]
    assert "broker database: stored" in lines


@committing
def test_status_of_a_project_where_nothing_waits() -> None:
    """It says so."""
    assert "nothing waits" in manage("cqrs_status")


@committing
def test_status_for_machines_is_json() -> None:
    """The same, for monitoring."""
    bus.send(OpenTicket("one"))
    bus.send(AuditSomething("x"))

    status = json.loads(manage("cqrs_status", "--json"))

    assert [(q["database"], q["box"], q["queue"], q["pending"]) for q in status["queues"]] == [
        ("default", "outbox", "database", 1),
        ("audit", "outbox", "database", 1),
    ]
    assert all(q["oldest"] >= 0 for q in status["queues"])
    assert status["brokers"] == [{"name": "database", "promise": "stored"}]
    assert status["alarms"] == []


@committing
def test_status_warns_of_events_for_a_broker_that_is_gone(settings: Any) -> None:
    """Nobody would ever ship them."""
    before = settings.DJANGO_CQRS
    memory = {"BACKEND": "simplecqrs.memory.MemoryBroker"}
    settings.DJANGO_CQRS = {**before, "BROKERS": {"events": memory}, "ROUTES": {"tickets": "events"}}
    bus.send(OpenTicket("one"))
    settings.DJANGO_CQRS = before

    assert "1 events wait for the broker 'events', which is not in BROKERS any more" in manage("cqrs_status")


@committing
def test_a_broker_that_is_down_does_not_keep_status_from_telling_the_rest(settings: Any) -> None:
    """It says why nobody knows what its word is worth."""
    redis = {"BACKEND": "simplecqrs.brokers.redis.RedisStreams", "OPTIONS": {"url": "redis://127.0.0.1:1/0"}}
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "BROKERS": {"events": redis}}

    status = read_status()

    [_, events] = status.brokers
    assert events.name == "events"
    assert events.promise.startswith("not known: ")
    assert status.alarms[0].startswith("the broker 'events' cannot be asked: ")


# cqrs_dead


@pytest.fixture
def dead(committed: None, project: Project) -> Project:
    """Return a project that has two dead letters of one cause, one of them with a follower, and one of another."""
    project.consume(Moved, consumer="one", work=failing, retry=Retry(1))
    project.publish(Moved("bob"), Moved("bob", 1))
    project.ship()
    project.work()
    door("default").bury("one", [Garbage("no id", b"\x00{"), Garbage("no id", b"}")])
    return project


def number_of(reason: str) -> str:
    """Return the number of the first dead letter with a reason."""
    letter = Dead.objects.filter(reason__startswith=reason).order_by("id").first()
    assert letter is not None
    return str(letter.pk)


def test_dead_letters_are_listed_by_cause(dead: Project) -> None:
    """The most frequent first, each with its number."""
    lines = manage("cqrs_dead", "list").splitlines()

    assert [line for line in lines if not line.startswith(" ")] == [
        "2 x inbox one: no id",
        "1 x inbox one: ValueError: no bob",
    ]
    assert sum(line.startswith("    ") for line in lines) == 3
    assert f"    {number_of('ValueError')}  " in lines[-1]


@committing
def test_no_dead_letters_are_told_as_well() -> None:
    """So that nobody thinks that it failed."""
    assert manage("cqrs_dead", "list") == "no dead letters\n"


def test_a_dead_letter_is_shown_with_its_bytes(dead: Project) -> None:
    """And all that is known."""
    said = manage("cqrs_dead", "show", number_of("ValueError"))

    assert "name        Moved" in said
    assert "key         bob" in said
    assert "attempts    1" in said
    assert "reason      ValueError: no bob" in said
    assert 'payload     {"who": "bob", "step": 0}' in said


def test_a_dead_letter_is_retried_before_what_waits_behind_it(dead: Project) -> None:
    """Whoever has mended the cause does this."""
    dead.seen.clear()

    assert "is tried again now" in manage("cqrs_dead", "retry", number_of("ValueError"))
    dead.work()

    assert dead.seen == ["one bob0"]
    assert Dead.objects.filter(reason__startswith="ValueError").count() == 1


def test_a_dead_letter_is_skipped_and_what_waits_behind_it_goes_on(dead: Project) -> None:
    """Its followers are handled."""
    dead.seen.clear()

    assert "is dropped" in manage("cqrs_dead", "skip", number_of("ValueError"))
    dead.work()

    assert dead.seen == ["one bob1"]


def test_all_may_be_skipped_at_once(dead: Project) -> None:
    """By --all."""
    manage("cqrs_dead", "skip", "--all")

    assert Dead.objects.count() == 0


def test_all_that_can_be_retried_is_retried_by_all(dead: Project) -> None:
    """What was never readable stays, and is told."""
    said = manage("cqrs_dead", "retry", "--all", "--now")

    assert said.count("is tried again now") == 1
    assert said.count("was never a readable message, or still is not believed; it can only be skipped") == 2
    assert Dead.objects.count() == 2


def test_what_was_never_readable_cannot_be_retried(dead: Project) -> None:
    """It can only be skipped."""
    with pytest.raises(CommandError, match="never a readable message"):
        manage("cqrs_dead", "retry", number_of("no id"))

    manage("cqrs_dead", "skip", number_of("no id"))
    assert Dead.objects.filter(reason="no id").count() == 1


@pytest.mark.parametrize("action", ["show", "retry", "skip"])
def test_a_number_is_needed_and_must_be_there(dead: Project, action: str) -> None:
    """The error says where numbers come from."""
    with pytest.raises(CommandError, match=f"cqrs_dead {action} needs the numbers"):
        manage("cqrs_dead", action)
    with pytest.raises(CommandError, match="there is no dead letter 4711"):
        manage("cqrs_dead", action, "4711")


# tasks


@committing
def test_the_tasks_do_a_tick_of_relay_and_consumers() -> None:
    """Called, or applied by Celery; an empty tick does nothing."""
    from django_cqrs import tasks

    bus.send(OpenTicket("one"))
    tasks.relay()
    tasks.consume("tally")
    tasks.relay.apply().get()
    tasks.consume.apply().get()

    assert Tally.objects.get().n == 1
    assert (tasks.relay.name, tasks.consume.name) == ("django_cqrs.relay", "django_cqrs.consume")


def test_without_celery_the_tasks_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing else of the package needs it."""
    monkeypatch.delitem(sys.modules, "django_cqrs.tasks", raising=False)
    monkeypatch.setitem(sys.modules, "celery", None)

    with pytest.raises(MissingExtra, match=r"pip install 'simplecqrs\[celery\]'"):
        import_module("django_cqrs.tasks")
