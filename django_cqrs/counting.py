"""What jobs have counted, read now and then, and kept until it is written to the tallies."""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from attrs import define, field
from django.utils import timezone

from django_cqrs.bells import place_of
from django_cqrs.brokers import INBOXES
from django_cqrs.inbox import door
from django_cqrs.tallies import Entry, minute_of
from simplecqrs.counts import Waited
from simplecqrs.queue import DATABASE

__all__ = ["Counted", "Ledger", "Where", "ledger", "where"]

#: Alias, box and queue of a job; box and queue are empty for one that works no queue.
Where = tuple[str, str, str]
#: Minutes that are kept apart while a database is down.
MINUTES = 60
#: What ``Counts`` calls what tallies call the same, or otherwise.
COUNTS = {
    "published": "published", "handled": "handled", "failed": "failed", "dead": "dead", "discarded": "discarded",
    "unclaimed": "unclaimed", "paused": "pauses", "awaited": "awaited",
}  # fmt: skip


def where(job: Any) -> Where | None:
    """Return where a job works; None if it is none of ours."""
    place = place_of(job)
    if place is not None:
        box, _, queue = place[1].partition(":")
        return (place[0], box, queue) if queue else (place[0], "", "")
    if hasattr(job, "mediator"):  # a fetcher, or the recovery of sagas
        consumer = str(getattr(job, "consumer", ""))
        return INBOXES, "inbox" if consumer else "", consumer
    alias = getattr(job, "alias", None)
    return None if alias is None else (str(alias), "", "")


@define
class Counted:
    """
    What one job counts.

    Args:
        job: a relay, a fetcher, a consumer.
    """

    job: Any
    place: Where
    _before: dict[str, int] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._before = self.read()  # some counters are older than the job

    def entries(self, rings: int = 0) -> list[Entry]:
        """
        Return what was counted since the last time.

        Args:
            rings: how often the job was woken, ever.
        """
        _, box, queue = self.place
        now = {**self.read(), "wakeups": rings}
        waits = getattr(getattr(self.job, "counts", None), "waits", None)
        waited = waits.take() if waits is not None else Waited()
        done = "published" if box == "outbox" else "handled"
        entries = [
            Entry(box, queue, what, number - self._before.get(what, 0), *(waited[1:] if what == done else ()))
            for what, number in now.items()
            if number != self._before.get(what, 0) or (what == done and waited.number)
        ]
        self._before = now
        return entries if queue else []

    def read(self) -> dict[str, int]:
        """Return how often what has happened, ever."""
        job = self.job
        counts = getattr(job, "counts", None)
        found = {what: getattr(counts, name, 0) for name, what in COUNTS.items()}
        found["late"] = getattr(getattr(job, "storage", None), "late", 0)
        found["lost"] = getattr(job, "lost", 0)
        publisher = getattr(job, "publisher", None)
        found["expired"] = sum(getattr(way, "expired", 0) for way in (publisher, getattr(job, "receive", None)))
        if self.place[1:] == ("outbox", DATABASE):  # other brokers may be of another thread
            found["unclaimed"] = getattr(publisher, "unclaimed", 0)
        return found


class Ledger:
    """What this process has counted and not yet written; so nothing is lost while a database is down."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, dict[datetime, list[Entry]]] = {}

    def note(self, alias: str, entries: Sequence[Entry]) -> None:
        """Keep what has just been counted."""
        if entries:
            self._keep(alias, {minute_of(timezone.now()): entries})

    def note_doors(self) -> None:
        """Keep what was counted at the doors of the inboxes, whoever has brought it."""
        counted = door(INBOXES).counted()
        self.note(INBOXES, [Entry("inbox", consumer, what, n) for (consumer, what), n in counted.items()])

    @contextmanager
    def taken(self, alias: str) -> Generator[Mapping[datetime, Sequence[Entry]], None, None]:
        """Give what waits for an alias, to be written; if that fails, it waits again."""
        with self._lock:
            waiting = self._waiting.pop(alias, {})
        try:
            yield waiting
        except BaseException:
            self._keep(alias, waiting)
            raise

    def has(self, alias: str) -> bool:
        """Tell whether something waits for an alias."""
        return alias in self._waiting

    def _keep(self, alias: str, minutes: Mapping[datetime, Sequence[Entry]]) -> None:
        """Put entries to those that wait; beyond an hour the oldest minutes become one, so that memory has a bound."""
        with self._lock:
            kept = self._waiting.setdefault(alias, {})
            for minute, entries in minutes.items():
                kept[minute] = _together(kept.get(minute, ()), entries)
            while len(kept) > MINUTES:
                first, second = sorted(kept)[:2]
                kept[second] = _together(kept.pop(first), kept[second])


def _together(some: Sequence[Entry], others: Sequence[Entry]) -> list[Entry]:
    """Add up entries, one for each thing that happened in a queue."""
    found = {entry[:3]: entry for entry in some}
    for entry in others:
        before = found.get(entry[:3], Entry(*entry[:3], 0))
        found[entry[:3]] = Entry(
            *entry[:3],
            before.number + entry.number,
            before.seconds + entry.seconds,
            max(before.longest, entry.longest),
        )
    return list(found.values())


#: Of this process.
ledger = Ledger()
