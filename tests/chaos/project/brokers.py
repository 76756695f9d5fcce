"""Redis Streams with delays between the server's answer and ours, and with faults for the checker to find."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence

from simplecqrs.brokers.redis import RedisStreams
from simplecqrs.envelope import Envelope
from simplecqrs.errors import BrokerDown
from simplecqrs.transport import ACCEPTED, UNKNOWN, Delivery, Feed, Receipt, refused
from tests.chaos.project.faults import FAULT, FOLDER, at

__all__ = ["POISON", "ChaosRedis", "publish_but"]

#: The key of the events that the broker does not like.
POISON = "poison"
#: ``closes``: it breaks off at such an event, as a channel does; ``refused``: it refuses them, until it is healed.
DISLIKES = os.environ.get("CHAOS_POISON", "")
#: The share of other events that it refuses at random.
REFUSES = float(os.environ.get("CHAOS_REFUSES", "0"))

Publish = Callable[[Sequence[Envelope]], Sequence[Receipt]]


class ChaosRedis(RedisStreams):
    """A Redis that takes its time, and dislikes what it is told to."""

    _late: Sequence[Envelope] = ()

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
        """Publish, and dwell where a kill makes duplicates; or say "accepted" and send with the next call."""

        def publish(some: Sequence[Envelope]) -> Sequence[Receipt]:
            return super(ChaosRedis, self).publish(some, deadline=deadline) if some else ()

        if FAULT == "accept_first":
            late, self._late = self._late, envelopes
            publish(late)
            receipts: Sequence[Receipt] = [ACCEPTED] * len(envelopes)
        elif DISLIKES or REFUSES:
            receipts = grudging(publish, envelopes)
        else:
            receipts = publish(envelopes)
        at("publish")
        return receipts

    def feeds(self, consumer: str, topics: Sequence[str], /) -> Sequence[Feed]:
        """Open feeds, which acknowledge what they give before it is stored if that is the fault."""
        found = super().feeds(consumer, topics)
        return [AcknowledgesFirst(feed) for feed in found] if FAULT == "acknowledge_first" else found


def grudging(publish: Publish, envelopes: Sequence[Envelope]) -> Sequence[Receipt]:
    """Publish what is not disliked."""
    dislikes = "" if (FOLDER / "healed").exists() else DISLIKES
    if dislikes == "closes":
        for number, envelope in enumerate(envelopes):
            if envelope.key == POISON:
                publish(envelopes[:number])
                raise BrokerDown("the broker has closed the channel")
    return publish_but(publish, envelopes, lambda e: (e.key == POISON and bool(dislikes)) or random.random() < REFUSES)


def publish_but(
    publish: Publish, envelopes: Sequence[Envelope], dislikes: Callable[[Envelope], bool]
) -> Sequence[Receipt]:
    """Publish, refusing some; what follows a refused one under its key is not sent."""
    receipts: dict[int, Receipt] = {}
    stopped: set[str] = set()
    for number, envelope in enumerate(envelopes):
        if envelope.key in stopped:
            receipts[number] = UNKNOWN
        elif dislikes(envelope):
            receipts[number] = refused("a planted refusal")
            stopped.add(envelope.key)
    sent = [number for number in range(len(envelopes)) if number not in receipts]
    receipts |= zip(sent, publish([envelopes[number] for number in sent]), strict=True)
    return [receipts[number] for number in range(len(envelopes))]


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
