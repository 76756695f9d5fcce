"""Tallies: how much was done in each queue, minute by minute, by all processes together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from attrs import field, frozen
from django.db import connections, transaction
from django.db.models import Max, Sum

from django_cqrs.databases.upserts import GREATEST, SUM, upsert
from django_cqrs.models import Tally

__all__ = ["EVER", "Entry", "Flow", "add", "an_hour_ago", "ever", "lately", "minute_of", "throughput"]

#: The minute of the rows that add up all others.
EVER = datetime(9000, 1, 1, tzinfo=timezone.utc)
#: Columns of the primary key, and how the others are merged.
KEY = ("minute", "box", "queue", "what")
MERGED = {"number": SUM, "seconds": SUM, "longest": GREATEST}
#: Rows in one statement that writes, and in one that reads.
CHUNK, MOST = 200, 100_000


class Entry(NamedTuple):
    """What is added: how often something happened in a queue, and of what is done how long it had waited."""

    box: str
    queue: str
    what: str
    number: int
    seconds: float = 0.0
    longest: float = 0.0


@frozen(kw_only=True)
class Flow:
    """
    What happened in one queue in a time.

    Args:
        minute: when; of what is added up over several minutes, the first one.
        counts: how often what happened: ``published``, ``received``, ``handled``, ``failed``, ``dead`` and so on.
        seconds: that the messages had waited that were done, all together: the critical time.
        longest: of these.
    """

    minute: datetime
    box: str
    queue: str
    counts: Mapping[str, int] = field(factory=dict[str, int])
    seconds: float = 0.0
    longest: float = 0.0

    @property
    def done(self) -> int:
        """Count what was done: shipped from an outbox, handled out of an inbox."""
        return self.counts.get("published" if self.box == "outbox" else "handled", 0)

    @property
    def critical(self) -> float | None:
        """Return the seconds between being stored and being done, on average; None if nothing was done."""
        return self.seconds / self.done if self.done else None


def minute_of(moment: datetime) -> datetime:
    """Return the minute in which a moment is."""
    return moment.replace(second=0, microsecond=0)


def add(alias: str, minutes: Mapping[datetime, Sequence[Entry]]) -> None:
    """Add what happened in some minutes, and to what happened ever."""
    connection = connections[alias]
    found: dict[tuple[str, str, str, str], list[Any]] = {}
    for minute, entries in minutes.items():
        for when in (minute, EVER):
            moment = connection.ops.adapt_datetimefield_value(when)
            for entry in entries:
                sums = found.setdefault((str(when), *entry[:3]), [moment, *entry[:3], 0, 0.0, 0.0])
                sums[4:] = [sums[4] + entry.number, sums[5] + entry.seconds, max(sums[6], entry.longest)]
    rows = [found[place] for place in sorted(found)]
    with transaction.atomic(using=alias) if len(rows) > CHUNK else nullcontext():
        for start in range(0, len(rows), CHUNK):
            upsert(connection, Tally._meta.db_table, KEY, MERGED, rows[start : start + CHUNK])


def throughput(alias: str, since: datetime) -> list[Flow]:
    """Return what happened in each queue and minute, the earliest first."""
    found = Tally.objects.using(alias).filter(minute__gte=minute_of(since), minute__lt=EVER)
    rows = found.values_list("minute", "box", "queue", "what", "number", "seconds", "longest").order_by(*KEY)
    return _flows(rows[:MOST])


def lately(alias: str, since: datetime) -> list[Flow]:
    """Return what happened in each queue since then, added up by the database."""
    found = Tally.objects.using(alias).filter(minute__gte=minute_of(since), minute__lt=EVER)
    sums = found.values_list("box", "queue", "what").order_by("box", "queue", "what")
    added = sums.annotate(Sum("number"), Sum("seconds"), Max("longest"))
    return _flows((minute_of(since), *row) for row in added[:MOST])


def ever(alias: str) -> list[Flow]:
    """Return what ever happened in each queue; these numbers never fall."""
    found = Tally.objects.using(alias).filter(minute=EVER)
    rows = found.values_list("minute", "box", "queue", "what", "number", "seconds", "longest").order_by(*KEY)
    return _flows(rows[:MOST])


def an_hour_ago(now: datetime) -> datetime:
    """Return since when the last hour is, in whole minutes."""
    return minute_of(now - timedelta(hours=1))


def _flows(rows: Any) -> list[Flow]:
    """Put together the rows of each minute and queue, which come one after the other."""
    found: dict[tuple[Any, ...], tuple[dict[str, int], list[float]]] = {}
    for minute, box, queue, what, number, seconds, longest in rows:
        counts, waited = found.setdefault((minute, box, queue), ({}, [0.0, 0.0]))
        counts[what] = int(number)
        waited[:] = [waited[0] + seconds, max(waited[1], longest)]
    return [
        Flow(minute=minute, box=box, queue=queue, counts=counts, seconds=waited[0], longest=waited[1])
        for (minute, box, queue), (counts, waited) in found.items()
    ]
