"""Acceptance rows 9 and 90, and weaknesses B28 and B36, where another task queue than the daemon starts the workers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from attrs import frozen
from django.core.management import call_command
from django.db import transaction
from django.db.models import F

from django_cqrs import doorbells, ticks
from django_cqrs.models import Blocked, Dead, Inbox, Scheduled
from simplecqrs import NotificationEvent, Publish, Retry
from simplecqrs.backoff import Pause
from tests.desk.messages import Remind
from tests.desk.models import Note
from tests.desk.project import Project

pytestmark = pytest.mark.usefixtures("committed")
RING = f"{__name__}.ring"
sent: list[str] = []


@frozen
class Paid(NotificationEvent, topic="payments", key="who"):
    """Comes from a broker."""

    who: str


class BankClosed(ConnectionError):
    """Nothing can be paid."""


def ring(consumer: str) -> None:
    """Send a task, to a queue that a test works itself."""
    sent.append(consumer)


def work_tasks() -> int:
    """Do what another task queue's workers do until nothing waits there, and return how many tasks there were."""
    count = 0
    while doorbells.doorbells.flush(20) and sent:
        ticks.consume(sent.pop(0))
        count += 1
    return count


def note(command: Remind) -> None:
    """Write a reminder down."""
    Note.objects.create(text=command.text)


def notes() -> list[str]:
    """Return what handlers have written down."""
    return [note.text for note in Note.objects.order_by("id")]


@pytest.fixture
def tasks(settings: Any, project: Project) -> Iterator[Project]:
    """Return a project whose commands, and one of whose consumers, are worked by tasks."""
    settings.DJANGO_CQRS = {
        **settings.DJANGO_CQRS,
        "BROKERS": {"memory": {"BACKEND": "simplecqrs.memory.MemoryBroker"}},
        "ROUTES": {"payments": "memory"},
        "CONSUMERS": {"deferred": {"engine": RING}, "bank": {"engine": RING, "broker": "memory"}},
    }
    assert doorbells.doorbells.flush()
    sent.clear()
    yield project
    assert doorbells.doorbells.flush()
    sent.clear()


def test_row_09_a_command_is_stored_and_executed_later_by_a_task_with_the_same_handler(tasks: Project) -> None:
    """Once; the task bears no data, so that one more, or one less, changes nothing."""
    tasks.registry.handles(Remind)(note)
    tasks.bus.send(Remind(1, "now"))
    with transaction.atomic():
        tasks.bus.defer(Remind(1, "later"))
    assert notes() == ["now"]

    assert work_tasks() == 1
    ticks.consume("deferred")
    assert notes() == ["now", "later"]

    with transaction.atomic():
        tasks.bus.defer(Remind(1, "though its task was lost"))
    assert doorbells.doorbells.flush()
    sent.clear()
    Inbox.objects.update(created_at=F("created_at") - timedelta(minutes=1))
    call_command("cqrs_relay", "--once", stdout=StringIO())
    assert work_tasks() == 1
    assert notes() == ["now", "later", "though its task was lost"]


def test_b28_what_is_due_later_waits_in_the_database_and_rings_when_it_is_due(tasks: Project) -> None:
    """No task is sent for later: a task queue that is emptied meanwhile changes nothing."""
    tasks.registry.handles(Remind)(note)
    with transaction.atomic():
        tasks.bus.defer(Remind(1, "tomorrow"), due=timedelta(days=1))
    assert work_tasks() == 0

    Scheduled.objects.update(due=F("due") - timedelta(days=2))
    call_command("cqrs_relay", "--once", stdout=StringIO())

    assert work_tasks() == 1
    assert notes() == ["tomorrow"]


def test_row_90_a_command_fetches_and_tasks_handle(tasks: Project) -> None:
    """From the broker into the inbox, from there into handlers; a redelivered one is dropped at the door."""
    tasks.consume(Paid, consumer="bank")
    tasks.publish(Paid("ada"), Paid("bob"))
    tasks.ship()
    assert work_tasks() == 0

    for _ in range(2):
        call_command("cqrs_relay", "--once", stdout=StringIO())
    work_tasks()

    assert sorted(tasks.seen) == ["bank ada", "bank bob"]
    assert Inbox.objects.count() == 0


def test_b36_what_becomes_of_a_message_that_fails_is_said_once_and_kept_to(tasks: Project) -> None:
    """Acknowledged it was already; it is discarded, dead, tried again or waits for the bank, and no code is written."""
    fails: dict[str, list[Exception]] = {
        "ada": [LookupError("no such user")],
        "bob": [ValueError("no amount")],
        "cyd": [OSError("busy")],
        "dan": [BankClosed("until nine")],
    }

    def pay(event: Any, publish: Publish) -> None:
        if fails[event.who]:
            raise fails[event.who].pop()
        Note.objects.create(text=event.who)

    fates: dict[type[Exception], Any] = {
        LookupError: "discard", ValueError: "dead-letter", BankClosed: Pause(first=600),
    }  # fmt: skip
    tasks.consume(Paid, consumer="bank", work=pay, retry=Retry(3, first=600), on_error=fates)
    tasks.publish(*(Paid(who) for who in fails))
    tasks.ship()
    call_command("cqrs_relay", "--once", stdout=StringIO())
    work_tasks()
    assert notes() == []

    for _ in range(5):  # in whatever order they come
        Blocked.objects.filter(next_at__isnull=False).update(next_at=F("next_at") - timedelta(hours=1))
        Inbox.objects.update(created_at=F("created_at") - timedelta(minutes=1))
        call_command("cqrs_relay", "--once", stdout=StringIO())
        work_tasks()

    assert sorted(notes()) == ["cyd", "dan"]
    assert Dead.objects.get().reason == "ValueError: no amount"
