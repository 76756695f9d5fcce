"""What dead letters died of, counted by the database: how many, since when, and under which names."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from attrs import frozen
from django.db.models import Count, Max, Min, Value
from django.db.models.functions import Concat, StrIndex, Substr

from django_cqrs.bounded import narrowed
from django_cqrs.models import Dead
from simplecqrs.letters import ANY, CAP, LONGEST_CAUSE, Wanted

__all__ = ["CauseCount", "before_newest", "count_causes"]

#: Causes that are told at most, the most frequent ones.
MOST = 500


@frozen
class CauseCount:
    """
    How many letters of a queue died of a cause.

    Args:
        names: of the messages, the first and the last by the alphabet.
        kinds: how many different names there are.

    Both are asked for by ``named``.
    """

    box: str
    queue: str
    cause: str
    count: int
    first: datetime
    last: datetime
    names: tuple[str, ...] = ()
    kinds: int = 0


def count_causes(
    alias: str, wanted: Wanted = ANY, *, most: int = MOST, named: bool = True
) -> tuple[list[CauseCount], bool]:
    """
    Return what the newest dead letters died of, the most frequent first, and whether these were all letters.

    Args:
        most: causes that are returned.
        named: with names, which takes the database longer.
    """
    dead = narrowed(Dead.objects.using(alias), wanted)
    beyond = before_newest(dead)
    dead = dead.filter(pk__gt=beyond)
    # Cut last: to find the end of a line is quicker for a database than to count characters.
    line = Substr("reason", 1, StrIndex(Concat("reason", Value("\n")), Value("\n")) - 1)
    groups = dead.order_by().values("box", "queue", line=Substr(line, 1, LONGEST_CAUSE))
    groups = groups.annotate(count=Count("pk"), first=Min("since"), last=Max("since"))
    if named:
        groups = groups.annotate(one=Min("name"), other=Max("name"), kinds=Count("name", distinct=True))
    ordered = groups.order_by("-count", "box", "queue", "line")[:most]
    return [_count_of(group) for group in ordered], beyond == 0


def before_newest(dead: Any) -> int:
    """
    Return the number behind which the newest letters are, as many as are counted; 0 if these are all.

    What is asked of a cause is asked of these: a cause that few have died of would be looked for among all others.
    """
    found: int | None = dead.order_by("-pk").values_list("pk", flat=True)[CAP - 1 : CAP].first()
    return found or 0


def _count_of(group: Mapping[str, Any]) -> CauseCount:
    return CauseCount(
        box=group["box"],
        queue=group["queue"],
        cause=group["line"],
        count=group["count"],
        first=group["first"],
        last=group["last"],
        names=tuple(dict.fromkeys(group[name] for name in ("one", "other") if name in group)),
        kinds=group.get("kinds", 0),
    )
