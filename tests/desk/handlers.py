"""Who does it."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.db.models import F

from simplecqrs import Publish, Retry, handles
from tests.desk.messages import (
    AuditSomething,
    AuditWritten,
    Broken,
    CloseTicket,
    CountTickets,
    OpenTicket,
    Remind,
    TicketClosed,
    TicketNoted,
    TicketOpened,
)
from tests.desk.models import AuditEntry, Note, Tally, Ticket


@handles(OpenTicket)
def open_ticket(command: OpenTicket, publish: Publish) -> int:
    """Store the ticket and say so."""
    ticket = Ticket.objects.create(title=command.title)
    publish(TicketNoted(f"opened {ticket.pk}"))
    publish(TicketOpened(ticket.pk, command.title))
    return ticket.pk


@handles(CloseTicket)
def close_ticket(command: CloseTicket, publish: Publish) -> None:
    """Close the ticket and say so."""
    ticket = Ticket.objects.get(pk=command.ticket_id)
    ticket.state = "closed"
    ticket.save()
    publish(TicketClosed(ticket.pk))


@handles(Broken)
def broken(command: Broken, publish: Publish) -> None:
    """Publish, then fail in one of several ways."""
    Ticket.objects.create(title=f"broken {command.how}")
    publish(TicketOpened(0, command.how))
    if command.how == "raise":
        raise ValueError("as asked")
    if command.how == "savepoint":
        try:
            with transaction.atomic():
                publish(TicketOpened(0, "ghost"))
                raise ValueError("inside")
        except ValueError:
            Note.objects.create(text="caught")
    if command.how == "swallow":
        try:
            Ticket.objects.create(title=f"broken {command.how}")
        except IntegrityError:
            return
    if command.how == "elsewhere":
        AuditEntry.objects.create(text="not mine")


@handles(AuditSomething)
def audit_something(command: AuditSomething, publish: Publish) -> None:
    """Write to the other database."""
    AuditEntry.objects.create(text=command.text)
    publish(AuditWritten(command.text))


@handles(CountTickets)
def count_tickets(query: CountTickets) -> int:
    """Count, and write where nothing is to be written if asked to."""
    if query.write:
        Note.objects.create(text="a query wrote this")
    return Ticket.objects.count()


@handles(TicketNoted)
def note(event: TicketNoted) -> None:
    """Write it down, in the same transaction; fails on what it is told to fail on."""
    if "bad" in event.text:
        raise ValueError(event.text)
    Note.objects.create(text=event.text)


@handles(TicketOpened, TicketClosed, consumer="tally", retry=Retry(3, first=0))
def tally(event: TicketOpened | TicketClosed) -> None:
    """Count events; fails on titles that say so."""
    if isinstance(event, TicketOpened) and "fail" in event.title:
        raise ValueError(event.title)
    name = type(event).__name__
    Tally.objects.get_or_create(name=name)
    Tally.objects.filter(name=name).update(n=F("n") + 1)


@handles(TicketClosed, after_commit=True)
def celebrate(event: TicketClosed) -> None:
    """Run after the commit."""
    Note.objects.create(text=f"celebrated {event.ticket_id}")


@handles(Remind)
def remind(command: Remind) -> None:
    """Write the reminder down."""
    if command.text == "fail":
        raise ValueError("no reminder")
    Note.objects.create(text=f"remind {command.ticket_id} {command.text}")
