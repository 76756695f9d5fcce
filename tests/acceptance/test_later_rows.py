"""Acceptance row 9, and weakness B28: commands and events for later."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from attrs import frozen
from django.core.management import call_command
from django.db import transaction

from django_cqrs import bus
from django_cqrs.models import Inbox, Outbox, Scheduled
from django_cqrs.testing import run_all
from simplecqrs import NotificationEvent
from simplecqrs.timing import Timed
from tests.desk.messages import Remind
from tests.desk.models import Note
from tests.desk.project import Project

DAY = timedelta(days=1)


@frozen
class SaleEnds(NotificationEvent, topic="sales"):
    """Is to be told in time."""

    who: str


def note(command: Remind) -> None:
    """Write a reminder down."""
    Note.objects.create(text=command.text)


def notes() -> list[str]:
    """Return what handlers have written down."""
    return [note.text for note in Note.objects.order_by("id")]


@pytest.mark.usefixtures("committed")
def test_row_09_a_command_is_stored_and_executed_later_by_a_worker_with_the_same_handler() -> None:
    """Once; a command that fails in its transaction is not stored."""
    bus.send(Remind(1, "now"))
    with transaction.atomic():
        bus.defer(Remind(1, "later"))
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        bus.defer(Remind(1, "never"))
        _ = 1 / 0
    assert notes() == ["remind 1 now"]

    for _ in range(2):
        call_command("cqrs_consume", "--drain", stdout=StringIO())

    assert notes() == ["remind 1 now", "remind 1 later"]


@pytest.mark.django_db(databases=["default", "audit"])
def test_b28_commands_and_events_can_be_delayed(project: Project) -> None:
    """Neither queue holds them meanwhile; the relay puts them there when they are due, and they may expire."""
    project.registry.handles(Remind)(note)
    project.consume(SaleEnds, consumer="posters")

    project.bus.defer(Remind(1, "tomorrow"), due=DAY)
    project.bus.defer(Remind(1, "too late"), due=-2 * DAY, expires=DAY)
    project.bus.publish(Timed(SaleEnds("tea"), due=DAY))
    run_all()
    assert (notes(), project.seen) == ([], [])
    assert (Scheduled.objects.count(), Outbox.objects.count(), Inbox.objects.count()) == (2, 0, 0)

    run_all(ahead=2 * DAY)

    assert (notes(), project.seen) == (["tomorrow"], ["posters tea"])
