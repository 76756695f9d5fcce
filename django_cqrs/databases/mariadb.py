"""
MariaDB, and MySQL: a lane's lock is the lock of its row in ``cqrs_lane``, taken with SKIP LOCKED.

It ends with the transaction, so it is free a few milliseconds after its holder was killed, and the server takes it
from one that hangs.  Both need READ COMMITTED, which is Django's default on MySQL: a statement after the lock sees
what was done before it.  MariaDB 10.6 and MySQL 8.0.1 are the first that have SKIP LOCKED.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timezone
from hashlib import sha256
from math import ceil
from typing import Any
from uuid import UUID

from django.db import OperationalError, connections

from django_cqrs.conf import table as table_name
from django_cqrs.databases import statements
from django_cqrs.databases.port import Place
from django_cqrs.databases.safe_ids import InnoDBSafeIds
from django_cqrs.databases.statements import first_ids, placeholders
from django_cqrs.databases.table_marks import TableMarks
from django_cqrs.locks import LANE, lane_transaction, refuse_inside
from django_cqrs.models import Lane

__all__ = ["MariaDB"]

LANES = f"{Lane._meta.db_table} FORCE INDEX ({table_name('lane_place')})"
#: Seconds after which the server cuts a fetcher that does nothing.
FETCHING = 15


class MariaDB:
    """See ``Dialect``."""

    #: The session's time zone need not be UTC.
    now = "UTC_TIMESTAMP(6)"
    later = "UTC_TIMESTAMP(6) + INTERVAL %s SECOND"
    since = "TIMESTAMPDIFF(MICROSECOND, {}, UTC_TIMESTAMP(6)) / 1e6"
    moments = "{}"
    order = "ORDER BY o.id"
    server = ""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self.marks = TableMarks(alias)

    @contextmanager
    def holding(
        self, place: Place, lanes: Sequence[int], /, *, limit: int, local: bool, idle: float
    ) -> Generator[Sequence[tuple[int, bool]], None, None]:
        """Lock rows; those that nobody has needed before are made first, outside of the transaction."""
        refuse_inside(connections[self._alias])
        due = self._due(place, lanes)
        with self._transaction():
            self._execute(f"SET {self._limit(idle)}")
            yield [(lane, due[lane]) for lane in self._lock(place.box, place.queue, lanes, limit)]

    @contextmanager
    def taking(self, place: Place, lane: int, /, *, table: str, row: int, idle: float) -> Generator[bool, None, None]:
        """Lock and limit in one statement, which leaves in a variable of the session whether the lock was free."""
        lock = f"(SELECT lane FROM {LANES} WHERE box = %s AND queue = %s AND lane = %s FOR UPDATE SKIP LOCKED)"
        with self._transaction():
            self._execute(f"SET {self._limit(idle)}, @cqrs_lane = {lock}", [place.box, place.queue, lane])
            yield self._execute(f"DELETE FROM {table} WHERE id = %s AND @cqrs_lane IS NOT NULL", [row]) == 1

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
        """Execute it."""
        return statements.repeat(connections[self._alias], sql, parameters)

    def lanes(self, floors: Mapping[int, int], /) -> tuple[str, list[Any]]:
        """Give each lane as a row."""
        return statements.lanes(floors)

    @contextmanager
    def fetching(self, name: str, /) -> Generator[bool, None, None]:
        """Open a transaction under the lock of a row that stands for the feed."""
        refuse_inside(connections[self._alias])
        row = sha256(name.encode()).hexdigest()
        if not self._query(f"SELECT lane FROM {LANES} WHERE box = 'fetch' AND queue = %s", [row]):
            self._make("fetch", row, [0])
        with self._transaction():
            self._execute(f"SET {self._limit(FETCHING)}")
            yield bool(self._lock("fetch", row, [0], 1))

    def safe_ids(self, place: Place, /) -> InnoDBSafeIds:
        """Return what tells the safe ids of a queue."""
        return InnoDBSafeIds(self._alias, place)

    @contextmanager
    def writing(self) -> Generator[bool, None, None]:
        """Open a transaction."""
        with lane_transaction(self._alias):
            yield True

    # -- lanes -----------------------------------------------------------------------------------------------------

    def _due(self, place: Place, lanes: Sequence[int]) -> dict[int, bool]:
        """Return for each lane whether a parked key of it is due, and see to it that it has a row."""
        due = (
            f"EXISTS (SELECT 1 FROM {place.blocked} b WHERE b.box = %s AND b.queue = %s AND b.lane = c.lane"
            f" AND b.next_at <= {self.now})"
        )
        there = f"EXISTS (SELECT 1 FROM {LANES} WHERE box = %s AND queue = %s AND lane = c.lane)"
        asked = " UNION ALL ".join(["SELECT %s AS lane"] * len(lanes))
        found = self._query(
            f"SELECT c.lane, {due}, {there} FROM ({asked}) c",
            [place.box, place.queue, place.box, place.queue, *lanes],
        )
        if missing := [lane for lane, _, there in found if not there]:
            self._make(place.box, place.queue, missing)
        return {lane: bool(due) for lane, due, _ in found}

    def _make(self, box: str, queue: str, lanes: Sequence[int]) -> None:
        """Make the rows of lanes that nobody has needed before."""
        values = ", ".join(["(%s, %s, %s)"] * len(lanes))
        self._execute(
            f"INSERT IGNORE INTO {Lane._meta.db_table} (box, queue, lane) VALUES {values}",
            [value for lane in lanes for value in (box, queue, lane)],
        )

    def _lock(self, box: str, queue: str, lanes: Sequence[int], limit: int) -> list[int]:
        """Lock the first of these lanes that are free: no more than are wanted are tried at a time."""
        locked: list[int] = []
        start = 0
        while len(locked) < limit and start < len(lanes):
            tried = lanes[start : start + limit - len(locked)]
            start += len(tried)
            free = self._query(
                f"SELECT lane FROM {LANES} WHERE box = %s AND queue = %s AND lane IN ({placeholders(tried)})"
                " FOR UPDATE SKIP LOCKED",
                [box, queue, *tried],
            )
            locked += [lane for (lane,) in free]
        return locked

    # -- transactions ----------------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Generator[None, None, None]:
        """Open a transaction that may have a limit of its own; afterwards the session has its former one."""
        connection = connections[self._alias]
        try:
            with lane_transaction(self._alias):
                yield
        finally:
            if connection.connection is not None and not connection.in_atomic_block:
                self._execute(f"SET {self._variable} = COALESCE(@cqrs_idle, {self._variable}), @cqrs_idle = NULL")

    def _limit(self, idle: float) -> str:
        """Return what lets the server cut us after so many idle seconds; not in a test's transaction, which goes on."""
        if getattr(connections[self._alias], LANE, None) is not True:
            return "@cqrs_idle = NULL"
        return f"@cqrs_idle = {self._variable}, {self._variable} = {ceil(idle)}"

    @property
    def _variable(self) -> str:
        # MySQL has none for transactions only.
        connection: Any = connections[self._alias]
        return "@@SESSION.idle_transaction_timeout" if connection.mysql_is_mariadb else "@@SESSION.wait_timeout"

    def _execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        with connections[self._alias].cursor() as cursor:
            cursor.execute(sql, parameters)
            return int(cursor.rowcount)

    def _query(self, sql: str, parameters: Sequence[Any]) -> Sequence[Sequence[Any]]:
        with connections[self._alias].cursor() as cursor:
            cursor.execute(sql, parameters)
            found: Sequence[Sequence[Any]] = cursor.fetchall()
            return found

    # -- rows and values -------------------------------------------------------------------------------------------

    def insert_new(
        self, table: str, key: Sequence[str], columns: Sequence[str], rows: Sequence[Sequence[Any]], /
    ) -> Sequence[Sequence[Any]]:
        """Insert with IGNORE; MySQL does not tell which rows were inserted, so it is asked before."""
        connection: Any = connections[self._alias]
        if connection.features.can_return_columns_from_insert:
            return self._query(f"{_insert(table, columns, rows)} RETURNING {', '.join(key)}", _flat(rows))
        keys = [tuple(row[: len(key)]) for row in rows]
        ours = ", ".join([f"({placeholders(key)})"] * len(rows))
        known = self._query(f"SELECT {', '.join(key)} FROM {table} WHERE ({', '.join(key)}) IN ({ours})", _flat(keys))
        new = [row for row in rows if tuple(row[: len(key)]) not in {tuple(there) for there in known}]
        if new and self._execute(_insert(table, columns, new), _flat(new)) != len(new):
            raise OperationalError(f"somebody else inserted into {table} at this moment; it is to be tried again")
        return [row[: len(key)] for row in new]

    def first_of_lanes(
        self, hot: str, index: str, lanes: Sequence[int], /, *, columns: str, rows: int, weight: int
    ) -> str:
        """Find the ids first: what goes through a window goes through a table on disk if there are payloads in it."""
        found = first_ids(
            [self.of_lane(hot, index, str(lane)) for lane in lanes], order=self.order, rows=rows, weight=weight
        )
        return f"({found}) f STRAIGHT_JOIN {hot} o ON o.id = f.id"

    def of_lane(self, hot: str, index: str, lane: str, /) -> str:
        """Say which index: for ``LIMIT n`` the optimizer likes the primary key better."""
        return f"{hot} o FORCE INDEX ({index}) WHERE o.lane = {lane}"

    def uuid_parameter(self, value: UUID, /) -> Any:
        """Write it as the column is: MariaDB 10.7 has a type for it."""
        return str(value) if connections[self._alias].features.has_native_uuid_field else value.hex

    def uuid(self, value: Any, /) -> UUID:
        """Read text."""
        return value if isinstance(value, UUID) else UUID(value)

    def moment(self, value: Any, /) -> datetime:
        """Read what has no time zone: it is in UTC."""
        read: datetime = value
        return read if read.tzinfo is not None else read.replace(tzinfo=timezone.utc)

    def is_closed(self, raw: Any, /) -> bool:
        """Ask the driver: PyMySQL and mysqlclient have the same word."""
        return not raw.open


def _insert(table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    values = ", ".join([f"({placeholders(columns)})"] * len(rows))
    return f"INSERT IGNORE INTO {table} ({', '.join(columns)}) VALUES {values}"


def _flat(rows: Sequence[Sequence[Any]]) -> list[Any]:
    return [value for row in rows for value in row]
