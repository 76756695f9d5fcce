"""How far consumers have been in their feeds, kept from one start to the next: what is missing then is noticed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from attrs import define, field
from django.db.models import F
from django.utils import timezone

from django_cqrs.brokers import INBOXES
from django_cqrs.models import Position
from django_cqrs.schemas import has_tables
from simplecqrs.transport import Feed

__all__ = ["LONGEST", "Positions", "loss_alarms", "marks", "settle"]

#: Seconds between two writings of how far it is.  What is older notices a little less.
KEEP = 10.0
#: Characters of a feed's name.
LONGEST = 255
#: Losses that are told, and for how long one is an alarm.
MOST, ALARMING = 20, timedelta(days=1)


@define(kw_only=True)
class Positions:
    """
    The positions of one consumer in those of its feeds that can tell.

    Args:
        feeds: of the broker.
    """

    consumer: str
    broker: str
    feeds: Sequence[Feed]
    _is_kept: bool = field(factory=lambda: has_tables(INBOXES), init=False)
    _written: dict[str, tuple[str, int]] = field(factory=dict, init=False)
    _wrote: float = field(factory=time.monotonic, init=False)

    def compare(self) -> None:
        """Let feeds compare how far their broker is with how far it was.  Raises BrokerDown."""
        known = dict(self._rows().values_list("feed", "mark")) if self._is_kept else {}
        for feed in self._watchful():
            self._written[feed.name] = known.get(feed.name[:LONGEST], ""), 0
            feed.compare(known.get(feed.name[:LONGEST], ""))

    def keep(self, *, now: bool = False) -> None:
        """Write down how far it is, if it is time to; at once if something was lost."""
        is_time = now or time.monotonic() - self._wrote >= KEEP
        for feed in self._watchful():
            mark, lost = self._written.get(feed.name, ("", 0))
            if feed.lost != lost or (is_time and feed.mark != mark):
                self._write(feed.name, feed.mark, feed.lost - lost)
                self._written[feed.name] = feed.mark, feed.lost
        if is_time:
            self._wrote = time.monotonic()

    def _write(self, feed: str, mark: str, lost: int) -> None:
        if not self._is_kept:
            return
        new: dict[str, Any] = {"mark": mark, "at": timezone.now()}
        more: dict[str, Any] = {"lost": F("lost") + lost, "lost_at": timezone.now()} if lost else {}
        first = {"lost": lost, "lost_at": timezone.now() if lost else None}
        self._rows().update_or_create(
            {**new, **more}, {**new, **first}, consumer=self.consumer, broker=self.broker, feed=feed[:LONGEST]
        )

    def _rows(self) -> Any:
        return Position.objects.using(INBOXES).filter(consumer=self.consumer, broker=self.broker)

    def _watchful(self) -> Iterator[Any]:
        return (feed for feed in self.feeds if hasattr(feed, "compare"))


def marks(consumer: str, broker: str) -> dict[str, str]:
    """Return how far a consumer was in the feeds of a broker, as it has written down."""
    if not has_tables(INBOXES):
        return {}
    found = Position.objects.using(INBOXES).filter(consumer=consumer, broker=broker)
    return dict(found.values_list("feed", "mark"))


def settle(**which: str) -> None:
    """
    End the alarm of losses, of which somebody has taken care.

    Args:
        which: a ``consumer``, or a ``broker``.
    """
    if has_tables(INBOXES):
        Position.objects.using(INBOXES).filter(**which).update(lost_at=None)


def loss_alarms(alias: str) -> Iterator[str]:
    """Tell of what was lost within a day."""
    lately = timezone.now() - ALARMING
    for found in Position.objects.using(alias).filter(lost_at__gt=lately).order_by("-lost_at")[:MOST]:
        when = timezone.localtime(found.lost_at).isoformat(sep=" ", timespec="seconds") if found.lost_at else ""
        yield (
            f"inbox {found.consumer}: {found.lost:,} messages at least of {found.feed} ({found.broker}) are gone that "
            f"it had not read; noticed last at {when}; see docs/recovery.md"
        )
