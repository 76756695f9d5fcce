"""The messages of the Django benchmarks, and their handlers: each does one UPDATE."""

from __future__ import annotations

import time

from attrs import frozen
from django.db.models import F

from benchmarks.latency_worker import NOTED
from benchmarks.models import Account
from simplecqrs import Command, DomainEvent, NotificationEvent, Publish, handles

__all__ = [
    "LET",
    "Bare",
    "Begun",
    "Changed",
    "Counted",
    "CountedTogether",
    "Noted",
    "Telling",
    "Told",
    "add_one",
]


@frozen
class Bare(Command[None]):
    """Changes a row and tells nobody."""

    account: int


@frozen
class Telling(Command[None]):
    """Changes a row and publishes so many events."""

    account: int
    events: int


@frozen
class Changed(NotificationEvent, name="Changed", key="account"):
    """Goes to the outbox."""

    account: int
    number: int


@frozen
class Counted(NotificationEvent, name="Counted", key="account"):
    """Goes to the consumer."""

    account: int
    number: int


@frozen
class CountedTogether(NotificationEvent, name="CountedTogether", key="account"):
    """Goes to the consumer that handles several in one transaction."""

    account: int
    number: int


@frozen
class Noted(Command[None]):
    """Is deferred, and says when it was handled."""

    number: int


@frozen
class Begun(Command[None]):
    """Is deferred, and says under Celery when it was begun."""

    number: int


@frozen
class Told(DomainEvent, name="Told"):
    """Goes through the outbox of the database, and says when it was handled."""

    number: int


#: What was handled without a trace in the database.
LET: list[int] = []


def add_one(account: int) -> None:
    """Do what every handler does: one UPDATE."""
    Account.objects.filter(pk=account).update(n=F("n") + 1)


@handles(Bare)
def bare(command: Bare) -> None:
    """Change the row."""
    add_one(command.account)


@handles(Telling)
def telling(command: Telling, publish: Publish) -> None:
    """Change the row and say so."""
    add_one(command.account)
    for number in range(command.events):
        publish(Changed(command.account, number))


@handles(Counted, consumer="counting")
def count(event: Counted) -> None:
    """Change the row."""
    add_one(event.account)


@handles(CountedTogether, consumer="together")
def count_together(event: CountedTogether) -> None:
    """Change the row."""
    add_one(event.account)


@handles(Counted, consumer="letting")
@handles(Counted, consumer="letting-together")
def let(event: Counted) -> None:
    """Count it in this process."""
    LET.append(event.number)


@handles(Noted)
def note(command: Noted) -> None:
    """Note the time."""
    NOTED[str(command.number)] = time.monotonic()


@handles(Told, consumer="noting")
def hear(event: Told) -> None:
    """Note the time."""
    NOTED[str(event.number)] = time.monotonic()


@handles(Begun)
def begin(command: Begun) -> None:
    """Say so at once."""
    from benchmarks.celery_app import began

    began(command.number)
