"""Dead letters that are forgotten in time, if a setting says so: each leaves a record, and its key goes on."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, Q

from django_cqrs.actions import Operator
from django_cqrs.bounded import capped
from django_cqrs.models import Dead, ParkedInbox, ParkedOutbox

__all__ = ["WHO", "count_letters", "delete_letters"]

#: Who has done it, in the record of operators' acts.
WHO = "cqrs_purge"
PARKED: dict[str, Any] = {"outbox": ParkedOutbox, "inbox": ParkedInbox}


def count_letters(alias: str, since: datetime, cap: int) -> int:
    """Count letters that may be forgotten, up to a cap."""
    return capped(_forgettable(alias, since), cap)


def delete_letters(alias: str, since: datetime, limit: int) -> int:
    """Forget letters that died before a time, one by one, as a skip does, and return how many."""
    numbers = list(_forgettable(alias, since).order_by("since", "pk").values_list("pk", flat=True)[:limit])
    operator = Operator(alias, WHO, f"it died before {since:%Y-%m-%d %H:%M}")
    for number in numbers:
        operator.forget(number)
    return len(numbers)


def _forgettable(alias: str, since: datetime) -> Any:
    """Return letters that died before a time, but for those behind which something waits: a person has to decide."""
    holding: Any = Q()
    for box, kind in PARKED.items():
        place = {"queue": OuterRef("queue"), "topic": OuterRef("topic"), "key": OuterRef("key")}
        holding |= Q(box=box, holds=True) & ~Q(key="") & Exists(kind.objects.using(alias).filter(**place))
    return Dead.objects.using(alias).filter(since__lt=since).exclude(holding)
