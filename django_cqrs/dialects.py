"""What the databases say differently: time, locks, and how values come back."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from typing import Any, Protocol
from uuid import UUID

from django.db import OperationalError, connections, transaction

from django_cqrs.locks import LANE, file_lock, impatient, lane_transaction, refuse_inside, write_first
from simplecqrs.errors import NotConfigured

__all__ = ["Dialect", "PostgreSQL", "SQLite", "dialect", "placeholders"]


class Dialect(Protocol):
    """What the queue asks of a database."""

    now: str
    #: An expression with one parameter: the time that is so many seconds from now.
    later: str

    def lane_lock(self, name: str, /, *, idle: float, relaxed: bool) -> tuple[str, list[Any]]:
        """
        Return a condition on the column ``lane`` that takes its lock, or is false; and its parameters.

        Args:
            idle: seconds after which the database takes the lock from a holder that does nothing.
            relaxed: the commit need not wait for the disk: if it is lost, what it marked is done again.
        """
        ...

    def holding(self, name: str, /, *, local: bool) -> Any:
        """Open what a lane is held in: a context manager, false if the lock is taken as a whole and is not free."""
        ...

    def fetching(self, name: str, /) -> Any:
        """Open what a feed is fetched in: a context manager, false if another fetcher has it."""
        ...

    def uuid(self, value: Any, /) -> UUID:
        """Return a UUID as it comes from a plain cursor."""
        ...

    def moment(self, value: Any, /) -> datetime:
        """Return an aware time as it comes from a plain cursor."""
        ...


class PostgreSQL:
    """
    PostgreSQL: a lane's lock is a transaction-scoped advisory lock.

    It assigns no transaction id, holds back no vacuum, works through pgbouncer's transaction pooling, and is free a
    few milliseconds after its holder was killed.  The server takes it from one that hangs.
    """

    #: Stable, so that an index serves it, and moving on inside of a transaction, as in a TestCase.
    now = "statement_timestamp()"
    later = "clock_timestamp() + %s * interval '1 second'"

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def lane_lock(self, name: str, /, *, idle: float, relaxed: bool) -> tuple[str, list[Any]]:
        """Lock by the schema's name as well: tenants in schemas do not wait for each other."""
        lock = "pg_try_advisory_xact_lock(hashtextextended(current_schema() || ':' || %s || ':' || lane, 0))"
        if getattr(connections[self._alias], LANE, None) is not True:  # in a test's transaction nothing is to be set
            return lock, [name]
        settings = ["set_config('idle_in_transaction_session_timeout', %s, true) IS NOT NULL"]
        if relaxed:
            settings.append("set_config('synchronous_commit', 'off', true) IS NOT NULL")
        return f"({lock} AND {' AND '.join(settings)})", [name, f"{int(idle * 1000)}ms"]

    @contextmanager
    def holding(self, name: str, /, *, local: bool) -> Generator[bool, None, None]:
        """Open a transaction; it costs no statement beyond BEGIN."""
        with lane_transaction(self._alias):
            yield True

    @contextmanager
    def fetching(self, name: str, /) -> Generator[bool, None, None]:
        """Open a transaction under the feed's lock."""
        refuse_inside(connections[self._alias])
        with transaction.atomic(using=self._alias), connections[self._alias].cursor() as cursor:
            cursor.execute(
                "SELECT set_config('idle_in_transaction_session_timeout', '15s', true), "
                "pg_try_advisory_xact_lock(hashtextextended(current_schema() || ':' || %s, 1))",
                [name],
            )
            yield bool(cursor.fetchone()[1])

    def uuid(self, value: Any, /) -> UUID:
        """Return it as it is."""
        return value  # type: ignore[no-any-return]

    def moment(self, value: Any, /) -> datetime:
        """Return it in UTC."""
        return value  # type: ignore[no-any-return]


class SQLite:
    """
    SQLite: one writer at a time, so its write lock is every lane's lock.

    A relay that talks to another server meanwhile does not keep it: it holds a lock on a file of its own, which the
    kernel frees when the process dies.
    """

    now = "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW')"
    later = "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW', %s || ' seconds')"

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def lane_lock(self, name: str, /, *, idle: float, relaxed: bool) -> tuple[str, list[Any]]:
        """Need no more than what ``holding`` has taken."""
        return "1 = 1", []

    @contextmanager
    def holding(self, name: str, /, *, local: bool) -> Generator[bool, None, None]:
        """Take the write lock for what stays in this database, else the lock of a file."""
        if not local:
            refuse_inside(connections[self._alias])
            with file_lock(connections[self._alias], name) as ours:
                yield ours
            return
        with ExitStack() as stack:
            yield self._begin(stack)

    def _begin(self, stack: ExitStack) -> bool:
        """Open a transaction that has the write lock; false if somebody else keeps it."""
        connection = connections[self._alias]
        try:
            with impatient(connection):
                stack.enter_context(lane_transaction(self._alias))
                write_first(connection)
        except OperationalError as error:
            if "locked" not in str(error):
                raise
            return False
        return True

    @contextmanager
    def fetching(self, name: str, /) -> Generator[bool, None, None]:
        """Take the lock of a file: the writers of the project are not to wait for a broker."""
        refuse_inside(connections[self._alias])
        with file_lock(connections[self._alias], name) as ours:
            yield ours

    def uuid(self, value: Any, /) -> UUID:
        """Read 32 hexadecimal digits."""
        return value if isinstance(value, UUID) else UUID(value)

    def moment(self, value: Any, /) -> datetime:
        """Read text, which is in UTC."""
        read = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        return read if read.tzinfo is not None else read.replace(tzinfo=timezone.utc)


_dialects: dict[str, Callable[[str], Dialect]] = {"postgresql": PostgreSQL, "sqlite": SQLite}


def dialect(alias: str) -> Dialect:
    """
    Return how to speak to the database of an alias.

    Raises:
        NotConfigured: if it is one that the queue does not know.
    """
    vendor = connections[alias].vendor
    try:
        return _dialects[vendor](alias)
    except KeyError:
        raise NotConfigured(
            f"the database {alias!r} is {vendor}; outbox and inbox work on {', '.join(_dialects)}"
        ) from None


def placeholders(values: Sequence[Any]) -> str:
    """Return ``%s, %s`` for so many values."""
    return ", ".join(["%s"] * len(values))
