"""
Units of work on Django's connections: a command in ``atomic``, its events bound to their savepoints.

A unit belongs to a connection, which is an alias in a thread.  It watches the statements of its connection: a
``ROLLBACK TO SAVEPOINT``, whoever sends it, takes along what was published since that savepoint.  (Django's on_commit
hooks would tell of ``atomic`` only, not of ``savepoint_rollback``.)
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_cqrs.errors import InsideTransaction, PublishedOutsideTransaction, TransactionBroken
from django_cqrs.guards import alias_guard
from django_cqrs.locks import LANE, held_lane, is_given_up
from django_cqrs.outbox import refuse_too_much, store
from simplecqrs.dispatch import stack, top
from simplecqrs.messages import Event, Message
from simplecqrs.unit import Published

if TYPE_CHECKING:
    from django_cqrs.mediator import DjangoMediator

__all__ = [
    "AfterCommit",
    "UnitOfWork",
    "UnitsOfWork",
    "in_transaction",
    "refuse_broken",
    "refuse_inside_transaction",
    "refuse_without_unit",
    "require_transaction",
]

UNIT = "_cqrs_unit"
#: MariaDB and MySQL roll back the whole transaction then, not a statement.
DEADLOCK = 1213


class AfterCommit:
    """A call that Django makes after the commit, unless it is forgotten; the test helpers find it by its type."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self._call: Callable[[], None] | None = call

    def __call__(self) -> None:
        if self._call is not None:
            self._call()

    def forget(self) -> None:
        """Do not call it: its savepoint was rolled back."""
        self._call = None


class UnitOfWork:
    """What the bus does in one transaction of one connection."""

    def __init__(self, mediator: DjangoMediator, connection: BaseDatabaseWrapper) -> None:
        self._mediator = mediator
        self._connection = connection
        self._kept: list[Published | AfterCommit] = []
        self._savepoints: list[tuple[str, int]] = []  # and how much was kept when they were set

    def collect(self, published: Published, /) -> None:
        """Bind an event to the savepoint that is open now.  Raises OutboxFull, before more is done in vain."""
        if published.plan.outward:
            refuse_too_much(self._mediator.vocabulary, published, self._connection.alias)
        self._kept.append(published)

    def kept(self, published: list[Published], /) -> list[Published]:
        """Return those whose savepoint has not been rolled back."""
        if published and published[0].cause is not None:
            refuse_broken(published[0].cause.message, self._connection)
        alive = {id(p) for p in self._kept}
        return [p for p in published if id(p) in alive]

    @property
    def events(self) -> list[Event]:
        """Return what was published in it and not rolled back, in that order."""
        return [p.event for p in self._kept if isinstance(p, Published)]

    def after_commit(self, call: Callable[[], None], /) -> None:
        """Call this after the commit; what it raises stops nobody."""
        later = AfterCommit(call)
        self._kept.append(later)
        self._connection.on_commit(later, robust=True)

    def flush(self) -> None:
        """Store the events that are to go out, in one INSERT, in the order in which they were published."""
        outward = [p for p in self._kept if isinstance(p, Published) and p.plan.outward]
        if outward:
            store(self._mediator.vocabulary, outward, self._connection.alias)

    def watch(self, execute: Callable[..., Any], sql: Any, *args: Any) -> Any:
        """Notice when a savepoint is set or rolled back, or the transaction taken away; an execute_wrapper."""
        try:
            result = execute(sql, *args)
        except DatabaseError as error:
            # Somebody may catch it and go on, in what the server would begin as a new transaction.
            if self._connection.vendor == "mysql" and error.args[:1] == (DEADLOCK,):
                self._connection.needs_rollback = True
            raise
        if isinstance(sql, str) and sql.startswith(("SAVEPOINT ", "ROLLBACK TO ")):
            self._note(sql.split()[-1], undone=sql.startswith("R"))
        return result

    def _note(self, name: str, *, undone: bool) -> None:
        if not undone:
            self._savepoints.append((name, len(self._kept)))
            return
        while self._savepoints and self._savepoints[-1][0] != name:
            self._savepoints.pop()
        number = self._savepoints[-1][1] if self._savepoints else 0
        for later in self._kept[number:]:
            if isinstance(later, AfterCommit):
                later.forget()
        del self._kept[number:]


class UnitsOfWork:
    """Opens the unit of work of a message on its alias."""

    def __init__(self, mediator: DjangoMediator) -> None:
        self._mediator = mediator

    @contextmanager
    def open(self, message: Message) -> Generator[UnitOfWork, None, None]:
        """
        Open an ``atomic``, a savepoint inside of another one; the outermost stores the events at its end.

        Under a lane's lock the message is all that happens in the transaction, so it needs no savepoint.  What a
        consumer handles there belongs to that transaction, whatever alias it would have elsewhere.

        Raises:
            TransactionBroken: if the transaction was lost and nobody said so.
        """
        alias = (_may_be_received(message) and held_lane()) or self._mediator.alias(message)
        connection = connections[alias]
        savepoint = hasattr(connection, UNIT) or not getattr(connection, LANE, False)
        with (
            transaction.atomic(using=alias, savepoint=savepoint),
            alias_guard(message, alias),
            self.joined(connection) as unit,
        ):
            yield unit
            refuse_broken(message, connection)

    @contextmanager
    def joined(self, connection: BaseDatabaseWrapper) -> Generator[UnitOfWork, None, None]:
        """Join the unit of the transaction that is open, or begin the one that stores at its end what it was told."""
        known: UnitOfWork | None = getattr(connection, UNIT, None)
        if known is not None:
            yield known
            return
        unit = UnitOfWork(self._mediator, connection)
        setattr(connection, UNIT, unit)
        try:
            with connection.execute_wrapper(unit.watch):
                yield unit
            unit.flush()
        finally:
            delattr(connection, UNIT)


def _may_be_received(message: Message) -> bool:
    """Tell whether a consumer handles it, and no handler has sent it: a command of its own transaction is its own."""
    if isinstance(message, Event):
        return True
    dispatch = top(stack.frames) if stack.frames else None
    metadata = dispatch.made_metadata if dispatch is not None and dispatch.parent is None else None
    return metadata is not None and metadata.received


def in_transaction(alias: str) -> bool:
    """Tell whether a transaction is open on an alias; one that a TestCase has opened is none."""
    return any(not getattr(block, "_from_testcase", False) for block in connections[alias].atomic_blocks)


def refuse_inside_transaction(message: Message, alias: str) -> None:
    """Raise InsideTransaction if a transaction is open on an alias."""
    if in_transaction(alias):
        raise InsideTransaction(
            f"{type(message).__qualname__} commits each item before it is handed out, which cannot be while a "
            f"transaction is open on {alias!r} already; iterate outside of it (see ATOMIC_REQUESTS and "
            '@transaction.non_atomic_requests), or register the handler with transaction="all"'
        )


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


def refuse_broken(message: Message, connection: BaseDatabaseWrapper) -> None:
    """Raise TransactionBroken if the database, or Django, has given up the transaction."""
    if is_given_up(connection):
        raise TransactionBroken(
            f"the transaction of {type(message).__qualname__} was given up after a database error that somebody "
            "caught; let the error pass, or put `with transaction.atomic():` round what may fail"
        )
