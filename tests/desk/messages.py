"""What the desk is asked to do, and what happens there."""

from __future__ import annotations

from attrs import field, frozen, validators

from simplecqrs import Command, DomainEvent, NotificationEvent, Query


@frozen
class OpenTicket(Command[int]):
    """Open a ticket; answers its id."""

    title: str = field(validator=validators.min_len(1))


@frozen
class CloseTicket(Command[None]):
    """Close a ticket."""

    ticket_id: int


@frozen
class Broken(Command[None]):
    """Break in the way that is asked for."""

    how: str


@frozen
class AuditSomething(Command[None]):
    """Write an entry into the other database."""

    text: str


@frozen
class CountTickets(Query[int]):
    """Count the tickets."""

    write: bool = False


@frozen
class TicketNoted(DomainEvent):
    """For this process."""

    text: str


@frozen
class TicketOpened(NotificationEvent, topic="tickets", key="ticket_id"):
    """For everybody."""

    ticket_id: int
    title: str = ""


@frozen
class TicketClosed(NotificationEvent, topic="tickets", key="ticket_id"):
    """For everybody."""

    ticket_id: int


@frozen
class AuditWritten(NotificationEvent, topic="audit"):
    """For everybody, out of the other database."""

    text: str


@frozen
class Remind(Command[None], key="ticket_id"):
    """Remind somebody of a ticket; to be deferred."""

    ticket_id: int
    text: str = ""
