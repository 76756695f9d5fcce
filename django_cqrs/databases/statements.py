"""Statements that PostgreSQL and SQLite share, and pieces that all databases do."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_cqrs.databases.port import Dialect, Place

__all__ = [
    "PAUSE",
    "blocked",
    "delete_locked",
    "first_ids",
    "held_up",
    "insert_new",
    "lanes",
    "lock_lanes",
    "look",
    "placeholders",
    "repeat",
    "taking_first",
    "taking_own",
]

#: The lane of the row among the blocked keys that lets a whole queue pause.
PAUSE = -1


def placeholders(values: Sequence[Any]) -> str:
    """Return ``%s, %s`` for so many values."""
    return ", ".join(["%s"] * len(values))


def lanes(floors: Mapping[int, int]) -> tuple[str, list[Any]]:
    """See ``Dialect.lanes``."""
    return f"VALUES {', '.join(['(%s, %s)'] * len(floors))}", [value for item in floors.items() for value in item]


def repeat(connection: BaseDatabaseWrapper, sql: str, parameters: Sequence[Any]) -> Any:
    """See ``Dialect.repeat``."""
    cursor = connection.cursor()
    cursor.execute(sql, parameters)
    return cursor


def look(
    dialect: Dialect,
    place: Place,
    floors: Mapping[int, int],
    *,
    index: str,
    owner: tuple[str, list[Any]],
) -> list[tuple[int, int, bool, int]]:
    """
    Return for each lane its first new row or 0, whether a parked key of it is due, and who worked it last or 0.

    Nothing, while the queue pauses.

    Args:
        floors: for each lane, the id up to which it has no rows.
        index: by which the lanes are read.
        owner: an expression for the owner of ``c.lane``, and its parameters.
    """
    of_lane = dialect.of_lane(place.hot, index, "c.lane")
    first = f"(SELECT o.id FROM {of_lane} AND o.queue = %s AND o.id > c.low {dialect.order} LIMIT 1)"
    (goes_on, going), (lows, known) = _goes_on(place, dialect.now), dialect.lanes(floors)
    cursor = dialect.repeat(
        f"WITH c(lane, low) AS ({lows}) SELECT c.lane, {first}, {_due(place, dialect.now)}, {owner[0]} FROM c"
        f" WHERE {goes_on}",
        [*known, place.queue, place.box, place.queue, *owner[1], *going],
    )
    return [(lane, head or 0, bool(due), last or 0) for lane, head, due, last in cursor.fetchall()]


def _goes_on(place: Place, now: str) -> tuple[str, list[Any]]:
    """Return a condition that is false while a queue pauses, and its parameters; brokers have breakers instead."""
    if place.box == "outbox":
        return "1 = 1", []
    pause = f"SELECT 1 FROM {place.blocked} p WHERE p.box = %s AND p.queue = %s AND p.lane = {PAUSE}"
    return f"NOT EXISTS ({pause} AND p.next_at > {now})", [place.box, place.queue]


def first_ids(lanes: Sequence[str], *, order: str, rows: int, weight: int) -> str:
    """
    Return a query of the first ids of lanes; only sizes, no payloads, go through its windows.

    Args:
        lanes: for each what ``Dialect.of_lane`` returns.
        order: ``Dialect.order``.
    """
    return " UNION ALL ".join(
        "SELECT id FROM (SELECT id, SUM(size) OVER (ORDER BY id) - size AS ahead"
        f" FROM (SELECT o.id, LENGTH(o.payload) AS size FROM {lane} AND o.queue = %s AND o.id > %s {order}"
        f" LIMIT {rows}) n) w WHERE ahead < {weight}"
        for lane in lanes
    )


def _due(place: Place, now: str) -> str:
    return (
        f"EXISTS (SELECT 1 FROM {place.blocked} b WHERE b.box = %s AND b.queue = %s AND b.lane = c.lane"
        f" AND b.next_at <= {now})"
    )


def lock_lanes(
    connection: BaseDatabaseWrapper,
    place: Place,
    lanes: Sequence[int],
    *,
    now: str,
    lock: tuple[str, Sequence[Any]],
    limit: int,
) -> list[tuple[int, bool]]:
    """
    Return lanes that are ours now, and whether a parked key of theirs is due.

    Args:
        lock: a condition on the column ``lane`` that takes its lock, or is false; and its parameters.
    """
    condition, parameters = lock
    sql = (
        f"WITH c(lane) AS (VALUES {', '.join(['(%s)'] * len(lanes))}),"
        f" ours AS MATERIALIZED (SELECT lane FROM c WHERE {condition} LIMIT %s)"
        f" SELECT c.lane, {_due(place, now)} FROM ours c"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [*lanes, *parameters, limit, place.box, place.queue])
        return [(lane, bool(is_due)) for lane, is_due in cursor.fetchall()]


def delete_locked(dialect: Dialect, table: str, row: int, lock: tuple[str, Sequence[Any]]) -> bool:
    """Delete one row and take its lane's lock in one statement; a row that somebody deleted is checked again."""
    condition, parameters = lock
    cursor = dialect.repeat(f"DELETE FROM {table} WHERE id = %s AND {condition}", [row, *parameters])
    return bool(cursor.rowcount == 1)


@contextmanager
def taking_first(
    connection: BaseDatabaseWrapper,
    place: Place,
    row: int,
    *,
    columns: str,
    taking: AbstractContextManager[bool],
) -> Generator[Sequence[Any] | None, None, None]:
    """Read a row whose key is not blocked, then take it; yield its id and columns, or None."""
    condition, parameters = blocked(place)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT o.id, {columns} FROM {place.hot} o WHERE o.id = %s AND NOT {condition}", [row, *parameters]
        )
        record = cursor.fetchone()
    if record is None:
        yield None
        return
    with taking as ours:
        yield record if ours else None


@contextmanager
def taking_own(
    dialect: Dialect,
    place: Place,
    floors: Mapping[int, int],
    owner: int,
    *,
    columns: str,
    idle: float,
) -> Generator[Sequence[Any] | None, None, None]:
    """Look, and take what is first in a lane of this owner; yield its id and columns, or None."""
    index = f"{place.hot}_lane"
    works = look(dialect, place, floors, index=index, owner=dialect.marks.owner(place))
    own = [(lane, head) for lane, head, _, whose in works if head and whose == owner]
    if not own:
        yield None
        return
    with dialect.taking_first(place, own[0][0], row=own[0][1], columns=columns, idle=idle) as record:
        yield record


def blocked(place: Place) -> tuple[str, list[Any]]:
    """Return a condition on a new row ``o``, that its key is blocked; and its parameters."""
    return (
        f"EXISTS (SELECT 1 FROM {place.blocked} b WHERE b.box = %s AND b.queue = %s AND b.topic = o.topic"
        " AND b.order_key = o.order_key AND b.slot = 0)"
    ), [place.box, place.queue]


@cache
def held_up(place: Place, *, now: str) -> tuple[str, Sequence[Any]]:
    """Return an expression, not NULL if the key of a new row ``o`` is blocked or its queue pauses; and its parameters.

    PostgreSQL plans it in half of the time that NOT EXISTS takes, which is a join to it.
    """
    return (
        f"(SELECT 1 FROM {place.blocked} b WHERE b.box = %s AND b.queue = %s AND (b.topic = o.topic"
        f" AND b.order_key = o.order_key AND b.slot = 0 OR b.lane = {PAUSE} AND b.next_at > {now}) LIMIT 1)"
    ), (place.box, place.queue)


def insert_new(
    connection: BaseDatabaseWrapper,
    table: str,
    key: Sequence[str],
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
) -> Sequence[Sequence[Any]]:
    """Insert rows whose key is not there yet, and return the keys of those that were inserted."""
    values = ", ".join([f"({placeholders(columns)})"] * len(rows))
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES {values}"
            f" ON CONFLICT DO NOTHING RETURNING {', '.join(key)}",
            [value for row in rows for value in row],
        )
        found: Sequence[Sequence[Any]] = cursor.fetchall()
        return found
