"""How much waits behind blocked keys, counted for many of them by one statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connections

from django_cqrs.models import Blocked
from django_cqrs.rows import TABLES
from simplecqrs.letters import CAP

__all__ = ["count_followers"]

#: Keys in one statement; SQLite puts no more than 500 queries together.
CHUNK = 200


def count_followers(alias: str, blocked: Sequence[Blocked], *, cap: int = CAP) -> list[int]:
    """
    Count the parked rows of blocked keys, each up to a cap.

    To count them by one GROUP BY would have no bound.
    """
    return [number for start in range(0, len(blocked), CHUNK) for number in _count(alias, blocked[start:][:CHUNK], cap)]


def _count(alias: str, blocked: Sequence[Blocked], cap: int) -> list[int]:
    queries: list[str] = []
    parameters: list[Any] = []
    for place, one in enumerate(blocked):
        where = "queue = %s AND topic = %s AND order_key = %s"
        parameters += [one.queue, one.topic, one.key]
        if one.slot:
            where += " AND id = %s"
            parameters.append(one.slot)
        counted = f"SELECT 1 FROM {TABLES[one.box][1]} WHERE {where} LIMIT {int(cap)}"
        queries.append(f"SELECT {place}, COUNT(*) FROM ({counted}) t{place}")
    with connections[alias].cursor() as cursor:
        cursor.execute(" UNION ALL ".join(queries), parameters)
        found = dict(cursor.fetchall())
    return [int(found[place]) for place in range(len(blocked))]
