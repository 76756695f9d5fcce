"""Commands that fail at a point; their rows and their events must share one fate."""

from __future__ import annotations

from contextlib import suppress

from django.db import IntegrityError, connection, transaction

from django_cqrs import bus
from simplecqrs import Publish, handles
from tests.chaos.project.messages import Break, Bumped, Noticed
from tests.chaos.project.models import AuditDeed, Counter, Deed, Page

__all__ = ["POINTS"]


@handles(Break)
def break_somewhere(command: Break, publish: Publish) -> None:
    """Write a row and tell; then fail at a point."""
    tell(command.deed, publish)
    POINTS[command.point](command.deed, publish)


@handles(Noticed)
def notice(event: Noticed) -> None:
    """Fail in the same transaction."""
    if event.deed.startswith("event-handler"):
        raise ValueError("an event handler fails")


@handles(Noticed, after_commit=True)
def notice_later(event: Noticed) -> None:
    """Fail after the commit."""
    raise ValueError("too late to matter")


def tell(deed: str, publish: Publish) -> None:
    """Write a business row and publish its event."""
    Deed.objects.create(deed=deed, key="break", version=0)
    publish(Bumped("break", 0, deed))


def in_handler(deed: str, publish: Publish) -> None:
    """Fail in the handler."""
    raise ValueError("the handler fails")


def in_event_handler(deed: str, publish: Publish) -> None:
    """Fail in the handler of a domain event."""
    publish(Noticed(deed))


def in_savepoint(deed: str, publish: Publish) -> None:
    """Roll a savepoint back; what was before and after it stays."""
    with suppress(ValueError), transaction.atomic():
        tell(f"{deed}-ghost", publish)
        raise ValueError("inside")
    tell(f"{deed}-after", publish)


def swallowed(deed: str, publish: Publish) -> None:
    """Swallow a database error, after which there is nothing to commit."""
    Counter.objects.get_or_create(key="taken")
    with suppress(IntegrityError):
        Counter.objects.create(key="taken")


def swallowed_of_cursor(deed: str, publish: Publish) -> None:
    """Swallow the error of a plain cursor: PostgreSQL gives the transaction up, SQLite does not."""
    Counter.objects.get_or_create(key="taken")
    with suppress(IntegrityError), connection.cursor() as cursor:
        cursor.execute("INSERT INTO chaos_counter (name, version) VALUES ('taken', 1)")


def at_commit(deed: str, publish: Publish) -> None:
    """Break a constraint that is looked at when the transaction commits."""
    Page.objects.create(counter_id="nobody")


def in_nested_command(deed: str, publish: Publish) -> None:
    """Catch the failure of a command inside: only that one's rows and events are gone."""
    with suppress(ValueError):
        bus.send(Break(f"{deed}-nested", "handler"))


def elsewhere(deed: str, publish: Publish) -> None:
    """Write through an alias that is not part of the transaction, which is refused."""
    AuditDeed.objects.create(deed=deed)


POINTS = {
    "handler": in_handler,
    "event-handler": in_event_handler,
    "savepoint": in_savepoint,
    "swallowed": swallowed,
    "swallowed-cursor": swallowed_of_cursor,
    "commit": at_commit,
    "nested": in_nested_command,
    "elsewhere": elsewhere,
    "after-commit": lambda deed, publish: publish(Noticed(deed)),
    "nowhere": lambda deed, publish: None,
}
