"""The ports in memory: for tests, and for the first day."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from threading import RLock

from attrs import Factory, define

from simplecqrs.envelope import Envelope
from simplecqrs.errors import BrokerDown
from simplecqrs.transport import ACCEPTED, UNKNOWN, Delivery, Garbage, Promise, Receipt, refused

__all__ = ["MemoryBroker"]


class MemoryBroker:
    """
    Keep envelopes in lists, one per topic, for the consumers of this process.

    Threads may share it.

    Args:
        refuse: returns the reason why an envelope is refused, or None to accept it.

    Attributes:
        down: set it, and every call raises ``BrokerDown``.
        promise: what an acknowledgement is worth: ``memory``.

    >>> broker = MemoryBroker(refuse=lambda envelope: "too odd" if envelope.name == "Odd" else None)
    >>> broker.published
    []
    """

    promise: Promise = "memory"

    def __init__(self, *, refuse: Callable[[Envelope], str | None] | None = None) -> None:
        self.down = False
        self._refuse = refuse
        self._lock = RLock()
        self._published: list[Envelope] = []
        self._topics: dict[str, list[Envelope | Garbage]] = {}
        self._positions: dict[tuple[str, str], _Position] = {}

    @property
    def published(self) -> list[Envelope]:
        """Return all that was accepted, in its order."""
        with self._lock:
            return list(self._published)

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
        """Append envelopes to the lists of their topics."""
        self._answer()
        stopped: set[tuple[str, str]] = set()
        with self._lock:
            return [self._take(envelope, stopped) for envelope in envelopes]

    def feeds(self, consumer: str, topics: Sequence[str], /) -> Sequence[MemoryFeed]:
        """Open a feed for each topic, from where this consumer is in it."""
        self._answer()
        with self._lock:
            for topic in topics:
                self._topics.setdefault(topic, [])
                self._positions.setdefault((consumer, topic), _Position())
        return [MemoryFeed(self, consumer, topic) for topic in topics]

    def litter(self, topic: str, garbage: Garbage, /) -> None:
        """Put something into a topic that is no envelope, as a stranger might."""
        with self._lock:
            self._topics.setdefault(topic, []).append(garbage)

    def _unread(self, consumer: str, topic: str, limit: int) -> Sequence[Delivery]:
        self._answer()
        with self._lock:
            entries, position = self._topics[topic], self._positions[consumer, topic]
            unread = (index for index in range(position.done, len(entries)) if index not in position.ahead)
            return [Delivery(str(index), entries[index]) for index in islice(unread, limit)]

    def _acknowledge(self, consumer: str, topic: str, deliveries: Sequence[Delivery]) -> None:
        self._answer()
        with self._lock:
            for delivery in deliveries:
                self._positions[consumer, topic].acknowledge(int(delivery.id))

    def _take(self, envelope: Envelope, stopped: set[tuple[str, str]]) -> Receipt:
        lane = (envelope.topic, envelope.key)
        if lane in stopped:
            return UNKNOWN
        reason = self._refuse(envelope) if self._refuse else None
        if reason is None:
            self._published.append(envelope)
            self._topics.setdefault(envelope.topic, []).append(envelope)
            return ACCEPTED
        if envelope.key:
            stopped.add(lane)
        return refused(reason)

    def _answer(self) -> None:
        if self.down:
            raise BrokerDown("the memory broker was told to be down")


class MemoryFeed:
    """One topic of a ``MemoryBroker``, as one consumer reads it."""

    def __init__(self, broker: MemoryBroker, consumer: str, name: str) -> None:
        self._broker = broker
        self._consumer = consumer
        self.name = name

    def fetch(self, limit: int, /) -> Sequence[Delivery]:
        """Return what this consumer has not acknowledged, in its order."""
        return self._broker._unread(self._consumer, self.name, limit)

    def acknowledge(self, deliveries: Sequence[Delivery], /) -> None:
        """Note that these need not come again."""
        self._broker._acknowledge(self._consumer, self.name, deliveries)


@define
class _Position:
    """How far a consumer is in a topic: all below ``done`` is acknowledged, and ``ahead`` is what is so above it."""

    done: int = 0
    ahead: set[int] = Factory(set)

    def acknowledge(self, index: int) -> None:
        if index >= self.done:
            self.ahead.add(index)
        while self.done in self.ahead:
            self.ahead.remove(self.done)
            self.done += 1

