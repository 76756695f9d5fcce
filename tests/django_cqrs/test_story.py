"""The whole way of an event, inside one test."""

from __future__ import annotations

import pytest

from django_cqrs import bus
from django_cqrs.testing import published, run_all
from tests.desk.messages import CloseTicket, OpenTicket, TicketOpened
from tests.desk.models import Note, Tally

pytestmark = pytest.mark.django_db(databases=["default", "audit"])


def test_an_event_reaches_its_consumer_through_outbox_and_inbox() -> None:
    """A command's event waits in the outbox; run_all brings it to the consumer, once."""
    ticket = bus.send(OpenTicket("printer"))
    assert published(TicketOpened) == [TicketOpened(ticket, "printer")]

    story = run_all()

    assert story.shipped == [TicketOpened(ticket, "printer")]
    assert Tally.objects.get(name="TicketOpened").n == 1
    assert published() == []


def test_after_commit_handlers_are_driven_as_well() -> None:
    """run_all makes the calls that wait for a commit which a TestCase never makes."""
    ticket = bus.send(OpenTicket("printer"))
    bus.send(CloseTicket(ticket))

    run_all()

    assert Note.objects.filter(text=f"celebrated {ticket}").count() == 1
