"""
SQLite: one writer at a time, so its write lock is every lane's lock.

A relay that talks to another server meanwhile does not keep it: it holds a lock on a file of its own, which the
kernel frees when the process dies.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime, timezone
from typing import Any
from uuid import UUID

from django.db import OperationalError, connections

from django_cqrs.databases import statements
from django_cqrs.databases.file_marks import FileMarks
from django_cqrs.databases.port import Place
from django_cqrs.databases.safe_ids import NoSafeIds
from django_cqrs.locks import file_lock, impatient, lane_transaction, refuse_inside, write_first

__all__ = ["SQLite"]

#: No more than what ``writing`` has taken.
LANE_LOCK: tuple[str, list[Any]] = ("1 = 1", [])


class SQLite:
    """See ``Dialect``."""

    # With as many digits as Django writes: times are compared as texts.
    now = "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f000', 'NOW')"
    later = "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f000', 'NOW', PRINTF('%%.3f seconds', %s))"
    since = "(JULIANDAY('NOW') - JULIANDAY({})) * 86400.0"
    moments = "{}"
    order = "ORDER BY o.id"
    server = ""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self.marks = FileMarks(alias)

    @contextmanager
    def holding(
        self, place: Place, lanes: Sequence[int], /, *, limit: int, local: bool, idle: float
    ) -> Generator[Sequence[tuple[int, bool]], None, None]:
        """Take the write lock for what stays in this database, else the lock of a file."""
        connection = connections[self._alias]
        with self.writing() if local else self.fetching(place.name) as ours:
            if not ours:
                yield []
                return
            yield statements.lock_lanes(connection, place, lanes, now=self.now, lock=LANE_LOCK, limit=limit)

    @contextmanager
    def taking(self, place: Place, lane: int, /, *, table: str, row: int, idle: float) -> Generator[bool, None, None]:
        """Delete under the write lock."""
        with self.writing() as ours:
            yield ours and statements.delete_locked(self, table, row, LANE_LOCK)

    def taking_first(
        self, place: Place, lane: int, /, *, row: int, columns: str, idle: float
    ) -> AbstractContextManager[Sequence[Any] | None]:
        """Read, then take."""
        taking = self.taking(place, lane, table=place.hot, row=row, idle=idle)
        return statements.taking_first(connections[self._alias], place, row, columns=columns, taking=taking)

    def taking_own(
        self, place: Place, floors: Mapping[int, int], owner: int, /, *, columns: str, idle: float
    ) -> AbstractContextManager[Sequence[Any] | None]:
        """Look, then take."""
        return statements.taking_own(self, place, floors, owner, columns=columns, idle=idle)

    def repeat(self, sql: str, parameters: Sequence[Any], /) -> Any:
        """Execute it; the driver keeps what it has prepared."""
        return statements.repeat(connections[self._alias], sql, parameters)

    def lanes(self, floors: Mapping[int, int], /) -> tuple[str, list[Any]]:
        """Give each lane as a row."""
        return statements.lanes(floors)

    @contextmanager
    def fetching(self, name: str, /) -> Generator[bool, None, None]:
        """Take the lock of a file: the writers of the project are not to wait for a broker."""
        refuse_inside(connections[self._alias])
        with file_lock(connections[self._alias], name) as ours:
            yield ours

    def safe_ids(self, place: Place, /) -> NoSafeIds:
        """Return what tells the safe ids of a queue."""
        return NoSafeIds()

    @contextmanager
    def writing(self) -> Generator[bool, None, None]:
        """Open a transaction that has the write lock."""
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

    def insert_new(
        self, table: str, key: Sequence[str], columns: Sequence[str], rows: Sequence[Sequence[Any]], /
    ) -> Sequence[Sequence[Any]]:
        """Insert with ON CONFLICT."""
        return statements.insert_new(connections[self._alias], table, key, columns, rows)

    def first_of_lanes(
        self, hot: str, index: str, lanes: Sequence[int], /, *, columns: str, rows: int, weight: int
    ) -> str:
        """Find the ids first: payloads are not copied then."""
        found = statements.first_ids(
            [self.of_lane(hot, index, str(lane)) for lane in lanes], order=self.order, rows=rows, weight=weight
        )
        return f"({found}) f CROSS JOIN {hot} o ON o.id = f.id"

    def of_lane(self, hot: str, index: str, lane: str, /) -> str:
        """Leave it to the planner, which likes two equalities best."""
        return f"{hot} o WHERE o.lane = {lane}"

    def uuid_parameter(self, value: UUID, /) -> Any:
        """Write 32 hexadecimal digits."""
        return value.hex

    def uuid(self, value: Any, /) -> UUID:
        """Read 32 hexadecimal digits."""
        return value if isinstance(value, UUID) else UUID(value)

    def moment(self, value: Any, /) -> datetime:
        """Read text, which is in UTC."""
        read = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        return read if read.tzinfo is not None else read.replace(tzinfo=timezone.utc)

    def is_closed(self, raw: Any, /) -> bool:
        """Say no: there is no server that could leave."""
        return False
