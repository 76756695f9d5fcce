"""The history: events that their brokers have acknowledged, kept for a while so that they can be sent once more."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connections

from django_cqrs.databases.statements import placeholders
from django_cqrs.models import History
from django_cqrs.rows import COLUMNS

__all__ = ["CHUNK", "remember"]

#: Rows that one statement moves.
CHUNK = 500
#: What is kept of a row, and what it is called here.
KEPT = f"row_id, created_at, {COLUMNS}"
OF_ROW = f"id, created_at, {COLUMNS}"


def remember(alias: str, table: str, ids: Sequence[int]) -> int:
    """Move rows of the outbox into the history, within the transaction that is open; return how many there were."""
    return sum(_remember(alias, table, ids[start : start + CHUNK]) for start in range(0, len(ids), CHUNK))


def _remember(alias: str, table: str, ids: Sequence[int]) -> int:
    history, these = History._meta.db_table, f"WHERE id IN ({placeholders(ids)})"
    with connections[alias].cursor() as cursor:
        if connections[alias].vendor == "postgresql":
            cursor.execute(
                f"WITH gone AS (DELETE FROM {table} {these} RETURNING {OF_ROW})"
                f" INSERT INTO {history} ({KEPT}) SELECT {OF_ROW} FROM gone",
                ids,
            )
            return int(cursor.rowcount)
        cursor.execute(f"INSERT INTO {history} ({KEPT}) SELECT {OF_ROW} FROM {table} {these}", ids)
        cursor.execute(f"DELETE FROM {table} {these}", ids)
        return int(cursor.rowcount)
