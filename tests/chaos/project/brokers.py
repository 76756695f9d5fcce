"""Redis Streams with delays between the server's answer and ours, and with faults for the checker to find."""

from __future__ import annotations

import os
from collections.abc import Sequence

from simplecqrs.brokers.redis import RedisStreams
from simplecqrs.envelope import Envelope
from simplecqrs.transport import ACCEPTED, Delivery, Feed, Receipt
from tests.chaos.project.faults import FAULT, at

__all__ = ["ChaosRedis"]


class ChaosRedis(RedisStreams):
    """A Redis that takes its time."""

    _late: Sequence[Envelope] = ()

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
        """Publish, and dwell where a kill makes duplicates; or say "accepted" and send with the next call."""
        if FAULT == "accept_first":
            late, self._late = self._late, envelopes
            super().publish(late, deadline=deadline)
            receipts: Sequence[Receipt] = [ACCEPTED] * len(envelopes)
        else:
            receipts = super().publish(envelopes, deadline=deadline)
        at("publish")
        return receipts

    def feeds(self, consumer: str, topics: Sequence[str], /) -> Sequence[Feed]:
        """Open feeds, which acknowledge what they give before it is stored if that is the fault."""
        found = super().feeds(consumer, topics)
        return [AcknowledgesFirst(feed) for feed in found] if FAULT == "acknowledge_first" else found


class AcknowledgesFirst:
    """A feed with the fault that loses messages."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self.name = feed.name

    def fetch(self, limit: int, /) -> Sequence[Delivery]:
        """Fetch, and acknowledge at once."""
        deliveries = self._feed.fetch(min(limit, int(os.environ.get("CHAOS_FETCH", "500"))))
        self._feed.acknowledge(deliveries)
        return deliveries

    def acknowledge(self, deliveries: Sequence[Delivery], /) -> None:
        """Do nothing: it was done."""
