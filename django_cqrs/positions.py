"""How far consumers have been in their feeds, kept from one start to the next: what is missing then is noticed."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from attrs import define, field
from django.db.models import F
from django.utils import timezone

from django_cqrs.brokers import INBOXES
from django_cqrs.failover import Under
from django_cqrs.inbox import door
from django_cqrs.models import Position
from django_cqrs.schemas import has_tables
from simplecqrs.log_fields import named
from simplecqrs.transport import Feed

__all__ = ["LONGEST", "Positions", "loss_alarms", "marks", "settle"]

log = logging.getLogger("django_cqrs")

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
    _under: Under | None = field(default=None, init=False)
    _written: dict[str, tuple[str, int]] = field(factory=dict, init=False)
    _wrote: float = field(factory=time.monotonic, init=False)

    def compare(self) -> bool:
        """
        Let feeds compare how far their broker is with how far it was, at first and after a failover.

        After a failover they go back to what the database knows: the server before may have stored what came then.
        Return False if they cannot, since somebody else fetches: nothing may be fetched then.  Raises BrokerDown.
        """
        if self._under is not None and self._under.is_same():
            return True
        self._under, under = None, Under(INBOXES)
        known = {row.feed: row for row in self._rows()} if self._is_kept else {}
        if self._is_kept and not all(self._is_up_to(under.server, feed, known) for feed in self.feeds):
            return False
        for feed in self._watchful():
            row = known.get(feed.name[:LONGEST])
            mark = "" if row is None else row.mark
            self._written[feed.name] = mark, self._written.get(feed.name, ("", 0))[1]
            feed.compare(mark)
        self._under = under
        return True

    def _is_up_to(self, server: str, feed: Any, known: dict[str, Position]) -> bool:
        """Let a feed go back if it was read on another server; False if somebody else fetches from it."""
        name = feed.name[:LONGEST]
        if name not in known:
            known[name], _ = self._rows().get_or_create(
                {"server": server, "lost": 0}, consumer=self.consumer, broker=self.broker, feed=name
            )
        row = known[name]
        if row.server == server:
            return True
        with door(INBOXES).fetching(self.consumer, feed.name) as ours:
            if ours:
                row.refresh_from_db()
                if server and row.server and row.server != server:
                    go_back(feed, row, server)
                row.server = server
                row.save(update_fields=["server", "lost_at"])
            return ours

    def keep(self, *, now: bool = False) -> None:
        """Write down how far it is, if it is time to and on the same server; at once if something was lost."""
        is_time = now or time.monotonic() - self._wrote >= KEEP
        if is_time and self._under is not None and not self._under.is_same(certainly=True):
            self._under = None
            return
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
        self._rows().filter(feed=feed[:LONGEST]).update(**new, **more)

    def _rows(self) -> Any:
        return Position.objects.using(INBOXES).filter(consumer=self.consumer, broker=self.broker)

    def _watchful(self) -> Iterator[Any]:
        return (feed for feed in self.feeds if hasattr(feed, "compare"))


def go_back(feed: Any, row: Position, server: str) -> None:
    """Let a feed go back to where a database is that has come to another server; sound an alarm if it cannot."""
    if hasattr(feed, "rewind"):
        feed.rewind_to(row.mark) if row.mark and hasattr(feed, "rewind_to") else feed.rewind(None)
        level, what = logging.WARNING, f"is read once more from {row.mark or 'its beginning'}"
    else:
        row.lost_at = timezone.now()
        what = "keeps nothing that was acknowledged: let those who publish send it once more; see docs/recovery.md"
        level = logging.ERROR
    log.log(
        level,
        "%s: its database is on another server, %s, which may lack the last commits of the one before, %s; %s %s",
        row.consumer, server, row.server, feed.name, what, extra=named(queue=row.consumer, feed=feed.name),
    )  # fmt: skip


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
        if found.lost:
            yield (
                f"inbox {found.consumer}: {found.lost:,} messages at least of {found.feed} ({found.broker}) are gone "
                f"that it had not read; noticed last at {when}; see docs/recovery.md"
            )
        else:
            yield (
                f"inbox {found.consumer}: its database is on another server, which may lack what had come last of "
                f"{found.feed} ({found.broker}); noticed last at {when}; see docs/recovery.md"
            )
