"""
Messages that are not due yet: rows of a table of their own, until ``django_cqrs.promotion`` moves them.

So neither the outbox nor an inbox ever holds what cannot be worked now, however much is scheduled.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from weakref import WeakSet

from django.utils import timezone

from django_cqrs.databases import now
from django_cqrs.models import Scheduled
from django_cqrs.rows import fields_of
from django_cqrs.schemas import with_tenant
from django_cqrs.wakeup import wake_after_commit
from simplecqrs.envelope import Envelope
from simplecqrs.letters import CAP
from simplecqrs.log_context import about_message
from simplecqrs.messages import Message
from simplecqrs.queue import Box
from simplecqrs.timing import Moment

__all__ = ["SCHEDULE", "keep", "scheduled", "warn_of_key"]

log = logging.getLogger("django_cqrs")

#: What promoters are woken by.
SCHEDULE = "schedule:"


def keep(alias: str, box: Box, rows: Iterable[tuple[Moment, str, int, Envelope]]) -> None:
    """
    Keep ``(due, queue, lane, envelope)`` until they are due, within the transaction that is open.

    A timedelta counts from now by the database's clock, which tells as well when the time has come.
    """
    later = [
        Scheduled(box=box, due=_when(alias, due), queue=queue, lane=lane, **fields_of(with_tenant(alias, envelope)))
        for due, queue, lane, envelope in rows
    ]
    if later:
        Scheduled.objects.using(alias).bulk_create(later)
        wake_after_commit(alias, {SCHEDULE})


def _when(alias: str, due: Moment) -> Any:
    return now(alias) + due if isinstance(due, timedelta) else due


def warn_of_key(message: Message, key: str) -> None:
    """Warn, once for each class, that an order key says little of messages that have due times."""
    if key and type(message) not in _warned:
        _warned.add(type(message))
        log.warning(
            "%s has an order key and a due time: its place in the order is the one that it gets when it is due, "
            "behind what was stored under the key %s by then",
            type(message).__qualname__,
            key,
            extra={**about_message(message), "cqrs_key": key},
        )


_warned: WeakSet[type[Message]] = WeakSet()


def scheduled(alias: str, box: Box) -> dict[str, tuple[int, float]]:
    """
    Return for each queue of a box how much is scheduled, and in how many seconds the first of it is due.

    Only what is due next is looked at, up to the cap of counts.
    """
    today, found = timezone.now(), dict[str, tuple[int, float]]()
    next_ones = Scheduled.objects.using(alias).order_by("due", "id").values_list("box", "queue", "due")
    for where, queue, due in next_ones[:CAP]:
        if where == box:
            number, first = found.get(queue, (0, (due - today).total_seconds()))
            found[queue] = (number + 1, first)
    return found
