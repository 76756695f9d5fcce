"""Looking at tables of any size at a cost that has a bound: capped counts, and probes of the indexes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from simplecqrs.letters import CAP

__all__ = ["capped", "oldest", "queues_of"]


def capped(found: Any, cap: int = CAP) -> int:
    """Count rows of a query set, up to a cap."""
    return int(found.order_by()[:cap].count())


def queues_of(found: Any) -> Iterator[str]:
    """
    Go through the queues that have rows, one probe of the index each.

    DISTINCT would read every row.
    """
    ordered = found.order_by("queue").values_list("queue", flat=True)
    queue = ordered.first()
    while queue is not None:
        yield queue
        queue = ordered.filter(queue__gt=queue).first()


def oldest(found: Any) -> datetime | None:
    """
    Return when the oldest row of a queue was stored: that of the first row of each of its lanes.

    The index is by queue, lane and id: to ask for the first id of all lanes would sort them all.
    """
    ordered = found.order_by("lane", "id").values_list("lane", "created_at")
    first = ordered.first()
    times: list[datetime] = []
    while first is not None:
        times.append(first[1])
        first = ordered.filter(lane__gt=first[0]).first()
    return min(times, default=None)
