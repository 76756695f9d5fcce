"""Statements that PostgreSQL and SQLite share, and pieces that all databases do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_cqrs.databases.port import Place

__all__ = ["delete_locked", "insert_new", "lock_lanes", "placeholders"]


def placeholders(values: Sequence[Any]) -> str:
    """Return ``%s, %s`` for so many values."""
    return ", ".join(["%s"] * len(values))


def lock_lanes(
    connection: BaseDatabaseWrapper,
    place: Place,
    lanes: Sequence[int],
    *,
    now: str,
    lock: tuple[str, list[Any]],
    limit: int,
) -> list[tuple[int, bool]]:
    """
    Return lanes that have work and that are ours now, and whether a parked key of theirs is due.

    The candidates are found first: a lock that was taken on an idle lane would be kept until the end.

    Args:
        lock: a condition on the column ``lane`` that takes its lock, or is false; and its parameters.
    """
    condition, parameters = lock
    due = (
        f"EXISTS (SELECT 1 FROM {place.blocked} b WHERE b.box = %s AND b.queue = %s AND b.lane = c.lane"
        f" AND b.next_at <= {now})"
    )
    sql = (
        f"WITH c(lane) AS (VALUES {', '.join(['(%s)'] * len(lanes))}), "
        f"work AS MATERIALIZED (SELECT c.lane, {due} AS due, EXISTS (SELECT 1 FROM {place.hot} o"
        " WHERE o.queue = %s AND o.lane = c.lane) AS fresh FROM c), "
        "candidates AS MATERIALIZED (SELECT lane, due FROM work WHERE due OR fresh) "
        f"SELECT lane, due FROM candidates WHERE {condition} LIMIT %s"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [*lanes, place.box, place.queue, place.queue, *parameters, limit])
        return [(lane, bool(is_due)) for lane, is_due in cursor.fetchall()]


def delete_locked(connection: BaseDatabaseWrapper, table: str, row: int, lock: tuple[str, list[Any]]) -> bool:
    """Delete one row and take its lane's lock in one statement; a row that somebody deleted is checked again."""
    condition, parameters = lock
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {table} WHERE id = %s AND {condition}", [row, *parameters])
        return bool(cursor.rowcount == 1)


def insert_new(
    connection: BaseDatabaseWrapper,
    table: str,
    columns: Sequence[str],
    returned: Sequence[str],
    rows: Sequence[Sequence[Any]],
) -> Sequence[Sequence[Any]]:
    """Insert rows whose key is not there yet, and return some columns of those that were inserted."""
    values = ", ".join([f"({placeholders(columns)})"] * len(rows))
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES {values}"
            f" ON CONFLICT DO NOTHING RETURNING {', '.join(returned)}",
            [value for row in rows for value in row],
        )
        found: Sequence[Sequence[Any]] = cursor.fetchall()
        return found
