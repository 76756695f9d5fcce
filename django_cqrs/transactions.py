"""
Units of work on Django's connections: a command in ``atomic``, its events bound to their savepoints.

A unit belongs to a connection, which is an alias in a thread.  Each event registers a no-op ``on_commit`` hook; Django
drops the hook when the savepoint in which it was registered is rolled back, by whatever means, and so tells us which
events are still true.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_cqrs.dialects import LANE
from django_cqrs.errors import PublishedOutsideTransaction, TransactionBroken
from django_cqrs.guards import alias_guard
from django_cqrs.outbox import store
from simplecqrs.messages import Message
from simplecqrs.unit import Published

if TYPE_CHECKING:
    from django_cqrs.mediator import DjangoMediator

__all__ = ["AfterCommit", "UnitOfWork", "UnitsOfWork", "refuse_without_unit", "require_transaction"]

UNIT = "_cqrs_unit"


class _Hook:
    """Stands in ``run_on_commit`` for as long as its event is true."""

    __slots__ = ("published",)

    def __init__(self, published: Published) -> None:
        self.published = published

    def __call__(self) -> None:
        """Do nothing: it is enough to have been there."""


class AfterCommit:
    """A call that Django makes after the commit; the test helpers find it by its type."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call

    def __call__(self) -> None:
        self.call()


class UnitOfWork:
    """What the bus does in one transaction of one connection."""

    def __init__(self, mediator: DjangoMediator, connection: BaseDatabaseWrapper) -> None:
        self._mediator = mediator
        self._connection = connection

    def collect(self, published: Published, /) -> None:
        """Bind an event to the savepoint that is open now."""
        self._connection.on_commit(_Hook(published))

    def kept(self, published: list[Published], /) -> list[Published]:
        """Return those whose savepoint has not been rolled back."""
        alive = {id(hook.published) for hook in self._hooks()}
        return [p for p in published if id(p) in alive]

    def after_commit(self, call: Callable[[], None], /) -> None:
        """Call this after the commit; what it raises stops nobody."""
        self._connection.on_commit(AfterCommit(call), robust=True)

    def flush(self) -> None:
        """Store the events that are to go out, in one INSERT, in the order in which they were published."""
        published = [hook.published for hook in self._hooks()]
        outward = [p for p in published if p.plan.outward]
        if outward:
            store(self._mediator.vocabulary, outward, self._connection.alias)
        self._connection.run_on_commit = [
            entry for entry in self._connection.run_on_commit if type(entry[1]) is not _Hook
        ]

    def _hooks(self) -> list[_Hook]:
        return [entry[1] for entry in self._connection.run_on_commit if type(entry[1]) is _Hook]


class UnitsOfWork:
    """Opens the unit of work of a message on its alias."""

    def __init__(self, mediator: DjangoMediator) -> None:
        self._mediator = mediator

    @contextmanager
    def open(self, message: Message) -> Generator[UnitOfWork, None, None]:
        """
        Open an ``atomic``, a savepoint inside of another one; the outermost stores the events at its end.

        Under a lane's lock the message is all that happens in the transaction, so it needs no savepoint.

        Raises:
            TransactionBroken: if the transaction was lost and nobody said so.
        """
        alias = self._mediator.alias(message)
        connection = connections[alias]
        unit: UnitOfWork | None = getattr(connection, UNIT, None)
        savepoint = unit is not None or not getattr(connection, LANE, False)
        with transaction.atomic(using=alias, savepoint=savepoint), alias_guard(message, alias):
            if unit is not None:
                yield unit
                _refuse_broken(message, connection)
                return
            unit = UnitOfWork(self._mediator, connection)
            setattr(connection, UNIT, unit)
            try:
                yield unit
                _refuse_broken(message, connection)
                unit.flush()
            finally:
                delattr(connection, UNIT)


def require_transaction(event: Message, alias: str) -> None:
    """Raise PublishedOutsideTransaction unless a transaction is open on an alias."""
    if not connections[alias].in_atomic_block:
        raise PublishedOutsideTransaction(
            f"{type(event).__qualname__} was published while no transaction is open on {alias!r}, so it could be lost "
            "or a ghost; publish it in a command, or inside `with transaction.atomic():`"
        )


def refuse_without_unit(published: list[Published]) -> None:
    """Refuse events that go out of something that has no transaction of its own."""
    names = ", ".join(type(p.event).__qualname__ for p in published)
    raise PublishedOutsideTransaction(f"{names} was published where no unit of work is open; publish it in a command")


def _refuse_broken(message: Message, connection: BaseDatabaseWrapper) -> None:
    if connection.needs_rollback or _is_aborted(connection):
        raise TransactionBroken(
            f"the transaction of {type(message).__qualname__} was given up after a database error that somebody "
            "caught; let the error pass, or put `with transaction.atomic():` round what may fail"
        )


def _is_aborted(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether PostgreSQL will turn the coming COMMIT into a ROLLBACK, without an error."""
    if connection.vendor != "postgresql" or connection.connection is None:
        return False
    raw: Any = connection.connection
    status = raw.info.transaction_status
    return int(status) == 3  # libpq's PQTRANS_INERROR, in psycopg 3 and 2
