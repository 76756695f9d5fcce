"""Looking at tables of any size at a cost that has a bound: capped counts, probes of the indexes, filters."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from attrs import asdict
from django.db import connections
from django.db.models.functions import Substr

from django_cqrs.databases import dialect
from simplecqrs.letters import CAP, LONGEST_CAUSE, Wanted

__all__ = ["capped", "heads", "narrowed", "queues_of"]

#: What of the wish is no column of its own.
ELSEWHERE = frozenset({"cause", "since", "whole_cause"})


def capped(found: Any, cap: int = CAP) -> int:
    """Count rows of a query set, up to a cap."""
    return int(found.order_by()[:cap].count())


def queues_of(found: Any, column: str = "queue") -> Iterator[str]:
    """
    Go through the queues that have rows, or another column with an index, one probe of the index each.

    DISTINCT would read every row.
    """
    ordered = found.order_by(column).values_list(column, flat=True)
    value = ordered.first()
    while value is not None:
        yield value
        value = ordered.filter(**{f"{column}__gt": value}).first()


def heads(alias: str, table: str, queue: str) -> list[datetime]:
    """
    Return when the first row of each lane of a queue was stored, of those that have one.

    The index is by queue, lane and id: to ask for the first id of all lanes would sort them all, and MariaDB reads all
    lanes before the next one unless it is asked for the smallest.
    """
    moment, lanes = dialect(alias).moment, list[int]()
    next_lane = f"SELECT MIN(lane) FROM {table} WHERE queue = %s AND lane > %s LIMIT 1"
    first = f"SELECT created_at FROM {table} WHERE queue = %s AND lane = %s ORDER BY id LIMIT 1"
    with connections[alias].cursor() as cursor:
        cursor.execute(next_lane, [queue, -1])
        while (lane := cursor.fetchone()[0]) is not None:
            lanes.append(lane)
            cursor.execute(next_lane, [queue, lane])
        if not lanes:
            return []
        each = (f"SELECT created_at FROM ({first}) t{place}" for place in range(len(lanes)))
        cursor.execute(" UNION ALL ".join(each), [given for lane in lanes for given in (queue, lane)])
        return [moment(found) for (found,) in cursor.fetchall()]


def narrowed(found: Any, wanted: Wanted, *, reason: str = "reason", since: str = "since") -> Any:
    """Return the rows of a query set that are meant; ``reason`` and ``since`` name its columns."""
    given = {k: v for k, v in asdict(wanted).items() if v is not None and k not in ELSEWHERE}
    found = found.filter(**given)
    if wanted.since is not None:
        found = found.filter(**{f"{since}__gte": wanted.since})
    if wanted.cause:  # as it is written: LIKE knows no case on SQLite, and has wildcards everywhere
        found = found.alias(cause=Substr(reason, 1, len(wanted.cause))).filter(cause=wanted.cause)
    return found if wanted.whole_cause is None else _of_group(found, wanted.whole_cause, reason)


def _of_group(found: Any, cause: str, reason: str) -> Any:
    """Return the rows whose first line is this, as ``cause_of`` cuts it."""
    lines = [cause] if len(cause) >= LONGEST_CAUSE else [cause, f"{cause}\n"]
    return found.alias(line=Substr(reason, 1, len(lines[-1]))).filter(line__in=lines)
