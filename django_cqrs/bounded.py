"""Looking at tables of any size at a cost that has a bound: capped counts, probes of the indexes, filters."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from attrs import asdict
from django.db.models.functions import Substr

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


def heads(found: Any) -> list[datetime]:
    """
    Return when the first row of each lane of a queue was stored, of those that have one.

    The index is by queue, lane and id: to ask for the first id of all lanes would sort them all.
    """
    ordered = found.order_by("lane", "id").values_list("lane", "created_at")
    first = ordered.first()
    times: list[datetime] = []
    while first is not None:
        times.append(first[1])
        first = ordered.filter(lane__gt=first[0]).first()
    return times


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
