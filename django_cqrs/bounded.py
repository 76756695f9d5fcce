"""Looking at tables of any size at a cost that has a bound: capped counts, probes of the indexes, filters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from attrs import asdict
from django.db import connections
from django.db.models.functions import Substr

from django_cqrs.databases import dialect
from simplecqrs.letters import CAP, LONGEST_CAUSE, Wanted

__all__ = ["Rows", "capped", "count_each", "heads", "narrowed", "queues_of"]

#: A table with a condition, and its parameters.
Rows = tuple[str, Sequence[Any]]
#: Queries in one statement; SQLite puts no more than 500 together.
CHUNK = 200
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


def count_each(alias: str, wanted: Sequence[Rows], cap: int = CAP) -> list[int]:
    """
    Count the rows of several tables or conditions, each up to a cap, and many of them by one statement.

    Args:
        wanted: each a table with a condition, ``table WHERE ...``, and its parameters.
    """
    counted = [(f"SELECT COUNT(*) FROM (SELECT 1 FROM {rows} LIMIT {int(cap)}) t", given) for rows, given in wanted]
    return [int(number) for number in _together(alias, counted)]


def heads(alias: str, table: str, queue: str) -> list[datetime]:
    """
    Return when the first row of each lane of a queue was stored, of those that have one.

    The index is by queue, lane and id: to ask for the first id of all lanes would sort them all.
    """
    with connections[alias].cursor() as cursor:
        cursor.execute(f"SELECT MAX(lane) FROM {table} WHERE queue = %s LIMIT 1", [queue])
        last = cursor.fetchone()[0]
    if last is None:
        return []
    first = f"SELECT created_at FROM {table} WHERE queue = %s AND lane = %s ORDER BY id LIMIT 1"
    found = _together(alias, [(first, (queue, lane)) for lane in range(last + 1)])
    moment = dialect(alias).moment
    return [moment(stored) for stored in found if stored is not None]


def _together(alias: str, queries: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
    """Ask queries that return one value each; to go to the server for each would take longer than they do."""
    found: dict[int, Any] = {}
    for start in range(0, len(queries), CHUNK):
        chunk = list(enumerate(queries))[start : start + CHUNK]
        sql = " UNION ALL ".join(f"SELECT {place}, ({query})" for place, (query, _) in chunk)
        with connections[alias].cursor() as cursor:
            cursor.execute(sql, [value for _, (_, given) in chunk for value in given])
            found.update(cursor.fetchall())
    return [found[place] for place in range(len(queries))]


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
