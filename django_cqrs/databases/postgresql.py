"""
PostgreSQL: a lane's lock is a transaction-scoped advisory lock.

It assigns no transaction id, holds back no vacuum, works through pgbouncer's transaction pooling, and is free a few
milliseconds after its holder was killed.  The server takes it from one that hangs.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import cache
from typing import Any
from uuid import UUID

from django.db import connections, transaction

from django_cqrs.conf import table
from django_cqrs.databases import prepared, statements
from django_cqrs.databases.port import Place
from django_cqrs.databases.safe_ids import PostgreSQLSafeIds
from django_cqrs.databases.table_marks import TABLE as MARKS
from django_cqrs.databases.table_marks import TableMarks
from django_cqrs.locks import LANE, lane_transaction, refuse_inside

__all__ = ["PostgreSQL"]

INBOX = table("inbox")


class PostgreSQL:
    """See ``Dialect``."""

    #: Stable, so that an index serves it, and moving on inside of a transaction, as in a TestCase.
    now = "statement_timestamp()"
    later = "clock_timestamp() + %s * interval '1 second'"
    since = "EXTRACT(EPOCH FROM statement_timestamp() - {})::float8"
    #: Django reads what has a time zone in Python.
    moments = "{} AT TIME ZONE 'UTC'"
    order = "ORDER BY o.queue, o.lane, o.id"
    #: The number that initdb drew, and the timeline, which is a new one after each promotion.
    server = (
        "(SELECT system_identifier FROM pg_control_system())"
        " || '/' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"
    )

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self.marks = TableMarks(alias)

    def lane_lock(self, place: Place, /, *, idle: float) -> tuple[str, Sequence[Any]]:
        """
        Return a condition on the column ``lane`` that takes its lock, or is false; and its parameters.

        The table's own number is part of it: tenants in schemas do not wait for each other, and whoever finds a table
        by another ``search_path`` does.
        """
        # In a test's transaction nothing is to be set.
        return _lane_lock(place, idle, sets=getattr(connections[self._alias], LANE, None) is True)

    @contextmanager
    def holding(
        self, place: Place, lanes: Sequence[int], /, *, limit: int, local: bool, idle: float
    ) -> Generator[Sequence[tuple[int, bool]], None, None]:
        """Lock in a transaction, which costs no statement beyond BEGIN."""
        with lane_transaction(self._alias):
            lock = self.lane_lock(place, idle=idle)
            yield statements.lock_lanes(connections[self._alias], place, lanes, now=self.now, lock=lock, limit=limit)

    @contextmanager
    def taking(self, place: Place, lane: int, /, *, table: str, row: int, idle: float) -> Generator[bool, None, None]:
        """Delete and lock in one statement."""
        with lane_transaction(self._alias):
            lock = self.lane_lock(place, idle=idle)
            yield statements.delete_locked(self, table, row, lock)

    @contextmanager
    def taking_first(
        self, place: Place, lane: int, /, *, row: int, columns: str, idle: float
    ) -> Generator[Sequence[Any] | None, None, None]:
        """Read, delete and lock in one statement."""
        with lane_transaction(self._alias):
            yield self._take(place, ("%s", [row]), columns=columns, idle=idle)

    @contextmanager
    def taking_own(
        self, place: Place, floors: Mapping[int, int], owner: int, /, *, columns: str, idle: float
    ) -> Generator[Sequence[Any] | None, None, None]:
        """Look, read, delete and lock in one statement; it goes by the marks, of which a lane of ours has one."""
        lows = [floors.get(lane, 0) for lane in range(max(floors) + 1)]
        with lane_transaction(self._alias):
            known = [place.queue, lows, place.box, place.queue, owner]
            yield self._take(
                place,
                (_first_own(self.of_lane(place.hot, "", "m.lane"), self.order), known),
                columns=columns,
                idle=idle,
            )

    def _take(self, place: Place, row: tuple[str, list[Any]], *, columns: str, idle: float) -> Sequence[Any] | None:
        """Delete a new row under its lane's lock and return it, unless its key is blocked or the queue pauses."""
        lock, key = self.lane_lock(place, idle=idle)
        held_up, parameters = statements.held_up(place, now=self.now)
        cursor = self.repeat(_taking(place.hot, row[0], held_up, lock, columns), [*row[1], *parameters, *key])
        record: Sequence[Any] | None = cursor.fetchone()
        return record

    def repeat(self, sql: str, parameters: Sequence[Any], /) -> Any:
        """Prepare it, if it is made often: to plan it takes longer than to execute it."""
        return prepared.execute(connections[self._alias], sql, parameters)

    def lanes(self, floors: Mapping[int, int], /) -> tuple[str, list[Any]]:
        """Give arrays, of which a prepared statement may have any number of elements."""
        lanes = "SELECT lane, low FROM unnest(%s::bigint[], %s::bigint[]) u(lane, low)"
        return lanes, [list(floors), list(floors.values())]

    @contextmanager
    def fetching(self, name: str, /) -> Generator[bool, None, None]:
        """Open a transaction under the feed's lock."""
        refuse_inside(connections[self._alias])
        with transaction.atomic(using=self._alias), connections[self._alias].cursor() as cursor:
            cursor.execute(
                "SELECT set_config('idle_in_transaction_session_timeout', '15s', true), "
                f"pg_try_advisory_xact_lock(hashtextextended('{INBOX}'::regclass::oid || ':' || %s, 1))",
                [name],
            )
            yield bool(cursor.fetchone()[1])

    def safe_ids(self, place: Place, /) -> PostgreSQLSafeIds:
        """Return what tells the safe ids of a queue."""
        return PostgreSQLSafeIds(self._alias, place)

    @contextmanager
    def writing(self) -> Generator[bool, None, None]:
        """Open a transaction."""
        with lane_transaction(self._alias):
            yield True

    def insert_new(
        self, table: str, key: Sequence[str], columns: Sequence[str], rows: Sequence[Sequence[Any]], /
    ) -> Sequence[Sequence[Any]]:
        """Insert with ON CONFLICT, which waits for whoever inserts the same at this moment."""
        return statements.insert_new(connections[self._alias], table, key, columns, rows)

    def first_of_lanes(
        self, hot: str, index: str, lanes: Sequence[int], /, *, columns: str, rows: int, weight: int
    ) -> str:
        """Go to each row once; what is compared as a pair keeps the planner from the primary key as well."""
        found = " UNION ALL ".join(
            f"SELECT * FROM (SELECT id, {columns}, SUM(LENGTH(payload)) OVER (ORDER BY id) - LENGTH(payload) AS ahead"
            f" FROM (SELECT id, {columns} FROM {self.of_lane(hot, index, str(lane))} AND o.queue = %s"
            f" AND (o.lane, o.id) > ({lane}, %s) {self.order} LIMIT {rows}) n) w WHERE ahead < {weight}"
            for lane in lanes
        )
        return f"({found}) o"

    def of_lane(self, hot: str, index: str, lane: str, /) -> str:
        """
        Keep the planner from the primary key, by which it would go through all other lanes to find one that is empty.

        It has no words for an index.  But after an equality nothing is left to sort by but ``id``, of which the primary
        key has the order as well; after a range, only the index has it.
        """
        return f"{hot} o WHERE o.lane BETWEEN {lane} AND {lane}"

    def uuid_parameter(self, value: UUID, /) -> Any:
        """Give it as it is."""
        return value

    def uuid(self, value: Any, /) -> UUID:
        """Return it as it is."""
        return value  # type: ignore[no-any-return]

    def moment(self, value: Any, /) -> datetime:
        """Read what has no time zone any more: it is in UTC."""
        read: datetime = value
        return read if read.tzinfo is not None else read.replace(tzinfo=timezone.utc)

    def is_closed(self, raw: Any, /) -> bool:
        """Ask psycopg, 3 or 2."""
        return bool(raw.closed)


@cache
def _first_own(of_lane: str, order: str) -> str:
    lane = f"{of_lane} AND o.queue = %s AND o.id > (%s::bigint[])[m.lane + 1]"
    return (
        f"(SELECT c.id FROM {MARKS} m, LATERAL (SELECT o.id FROM {lane} {order} LIMIT 1) c"
        " WHERE m.box = %s AND m.queue = %s AND m.owner = %s LIMIT 1)"
    )


@cache
def _taking(hot: str, row: str, held_up: str, lock: str, columns: str) -> str:
    return f"DELETE FROM {hot} o WHERE o.id = {row} AND {held_up} IS NULL AND {lock} RETURNING o.id, {columns}"


@cache
def _lane_lock(place: Place, idle: float, *, sets: bool) -> tuple[str, Sequence[Any]]:
    lock = f"pg_try_advisory_xact_lock(hashtextextended(concat('{place.hot}'::regclass::oid, %s::text, lane), 0))"
    name = f":{place.name}:"
    if not sets:
        return lock, (name,)
    settings = ["set_config('idle_in_transaction_session_timeout', %s, true) IS NOT NULL"]
    # What the relay's commit marks is sent again if the mark is lost, and dropped at the consumer's door; what a
    # consumer's commit says is final.
    if place.box == "outbox":
        settings.append("set_config('synchronous_commit', 'off', true) IS NOT NULL")
    return f"({lock} AND {' AND '.join(settings)})", (name, f"{int(idle * 1000)}ms")
