"""The history: events that their brokers have acknowledged, kept for a while so that they can be sent once more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connections
from django.utils import timezone

from django_cqrs.databases import dialect
from django_cqrs.databases.statements import placeholders
from django_cqrs.models import History
from django_cqrs.rows import COLUMNS

__all__ = ["CHUNK", "clock", "remember"]

#: Rows that one statement moves.
CHUNK = 500
#: What is kept of a row, and what it is called here.
KEPT = f"row_id, created_at, {COLUMNS}"
OF_ROW = f"id, created_at, {COLUMNS}"


def remember(alias: str, table: str, ids: Sequence[int]) -> int:
    """Move rows of the outbox into the history, within the transaction that is open; return how many there were."""
    return sum(_remember(alias, table, ids[start : start + CHUNK]) for start in range(0, len(ids), CHUNK))


def clock(alias: str) -> tuple[str, list[Any]]:
    """
    Return an expression for the time, and its parameters, as the history has it.

    SQLite keeps times as texts, which are to be those that Django compares them with.
    """
    connection = connections[alias]
    if connection.vendor == "sqlite":
        return "%s", [connection.ops.adapt_datetimefield_value(timezone.now())]
    return dialect(alias).now, []


def _remember(alias: str, table: str, ids: Sequence[int]) -> int:
    history, these = History._meta.db_table, f"WHERE id IN ({placeholders(ids)})"
    now, parameters = clock(alias)
    into = f"INSERT INTO {history} (shipped_at, {KEPT}) SELECT {now}, {OF_ROW}"
    with connections[alias].cursor() as cursor:
        if connections[alias].vendor == "postgresql":
            gone = f"WITH gone AS (DELETE FROM {table} {these} RETURNING {OF_ROW})"
            cursor.execute(f"{gone} {into} FROM gone", [*ids, *parameters])
            return int(cursor.rowcount)
        cursor.execute(f"{into} FROM {table} {these}", [*parameters, *ids])
        cursor.execute(f"DELETE FROM {table} {these}", ids)
        return int(cursor.rowcount)
