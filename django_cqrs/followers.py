"""How much waits behind blocked keys."""

from __future__ import annotations

from collections.abc import Sequence

from django_cqrs.bounded import Rows, count_each
from django_cqrs.models import Blocked
from django_cqrs.rows import TABLES
from simplecqrs.letters import CAP

__all__ = ["count_followers"]


def count_followers(alias: str, blocked: Sequence[Blocked], *, cap: int = CAP) -> list[int]:
    """
    Count the parked rows of blocked keys, each up to a cap.

    To count them by one GROUP BY would have no bound.
    """
    return count_each(alias, [_behind(one) for one in blocked], cap)


def _behind(blocked: Blocked) -> Rows:
    rows = f"{TABLES[blocked.box][1]} WHERE queue = %s AND topic = %s AND order_key = %s"
    place = [blocked.queue, blocked.topic, blocked.key]
    return (f"{rows} AND id = %s", [*place, blocked.slot]) if blocked.slot else (rows, place)
