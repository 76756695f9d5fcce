"""The fetcher: takes messages off a broker into a consumer's inbox."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from attrs import field, frozen

from simplecqrs.counts import Counts
from simplecqrs.envelope import Envelope
from simplecqrs.log_fields import about, named, printable
from simplecqrs.queue import Inbox, Stored
from simplecqrs.transport import Delivery, Feed, Garbage

__all__ = ["Fetcher"]

log = logging.getLogger("simplecqrs.consumer")

MiB = 1024 * 1024
#: Messages of the first batch from a feed, while nobody knows how large they are.
FIRST = 50


@frozen(kw_only=True)
class Fetcher:
    """
    Take what a broker has for a consumer into its inbox.

    Any number of fetchers may run; a feed is fetched by one at a time.  A batch is committed before it is
    acknowledged: a crash in between brings it again, and the door drops it.

    Args:
        batch: messages at a time.
        max_bytes: payload bytes at a time; brokers count messages only, so it goes by the size of the last ones.
    """

    consumer: str
    inbox: Inbox
    feeds: Sequence[Feed]
    batch: int = 500
    max_bytes: int = 4 * MiB
    counts: Counts = field(factory=Counts)
    _limits: dict[str, int] = field(factory=dict[str, int], init=False)

    @property
    def name(self) -> str:
        """Name the fetcher in log lines."""
        return f"fetcher {self.consumer}"

    @property
    def asides(self) -> dict[str, int]:
        """Count what a person at the terminal may want to know besides."""
        lossy = {"times that something may have been lost": self.lost} if self.lost else {}
        return {"seen before": self.counts.seen, **lossy}

    @property
    def lost(self) -> int:
        """Count what is gone, and how often something may have been lost on the way here, which is ``gaps``."""
        return self.missing + sum(getattr(feed, "gaps", 0) for feed in self.feeds)

    @property
    def missing(self) -> int:
        """Count what is known to be gone at the broker before it was here; feeds that can tell are ``Watchful``."""
        return sum(getattr(feed, "lost", 0) for feed in self.feeds)

    def step(self) -> int:
        """Fetch a batch from each feed and return how many messages came.  Raises BrokerDown."""
        return sum(self._fetch(feed) for feed in self.feeds)

    def _fetch(self, feed: Feed) -> int:
        with self.inbox.fetching(self.consumer, feed.name) as ours:
            deliveries = feed.fetch(self._limits.get(feed.name, min(FIRST, self.batch))) if ours else ()
            if not deliveries:
                return 0
            self._limits[feed.name] = self._limit(deliveries)
            stored = self._store(deliveries)
        self.counts.fetched += stored.new
        self.counts.seen += stored.seen
        if stored.seen:
            log.info(
                "%s dropped %d messages that it had seen before", self.consumer, stored.seen,
                extra=named(queue=self.consumer, feed=feed.name),
            )  # fmt: skip
        feed.acknowledge(deliveries)
        return len(deliveries)

    def _limit(self, deliveries: Sequence[Delivery]) -> int:
        """Return how many messages of this size may come at a time."""
        mean = sum(len(delivery.content.payload) for delivery in deliveries) / len(deliveries)
        return max(1, min(self.batch, int(self.max_bytes / max(mean, 1))))

    def _store(self, deliveries: Sequence[Delivery]) -> Stored:
        stored = self.inbox.store(self.consumer, [d.content for d in deliveries if isinstance(d.content, Envelope)])
        garbage = [d.content for d in deliveries if isinstance(d.content, Garbage)]
        if garbage:
            self.inbox.bury(self.consumer, garbage)
            first, claim = printable(garbage[0].error), garbage[0].claim
            log.error(
                "%s: %d messages could not be read; first: %s", self.consumer, len(garbage), first,
                extra=named(queue=self.consumer) if claim is None else about(claim, queue=self.consumer),
            )  # fmt: skip
        return stored
