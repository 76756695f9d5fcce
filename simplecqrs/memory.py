"""The ports in memory: for tests, and for the first day."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from threading import RLock

from simplecqrs.envelope import Envelope
from simplecqrs.errors import BrokerDown
from simplecqrs.transport import ACCEPTED, UNKNOWN, Delivery, Garbage, Promise, Receipt, order_of, refused

__all__ = ["MemoryBroker", "MemoryFeed"]


class MemoryBroker:
    """
    Keep envelopes in lists, one per topic, for the consumers of this process.

    Threads may share it.

    Args:
        refuse: returns the reason why an envelope is refused, or None to accept it.

    Attributes:
        down: set it, and every call raises ``BrokerDown``.
        promise: what an acknowledgement is worth: ``memory``.
        threadsafe: threads share it.

    >>> broker = MemoryBroker(refuse=lambda envelope: "too odd" if envelope.name == "Odd" else None)
    >>> broker.published
    []
    """

    promise: Promise = "memory"
    threadsafe = True

    def __init__(self, *, refuse: Callable[[Envelope], str | None] | None = None) -> None:
        self.down = False
        self._refuse = refuse
        self._lock = RLock()
        self._published: list[Envelope] = []
        self._topics: dict[str, list[Envelope | Garbage]] = {}
        self._positions: dict[tuple[str, str], Position] = {}

    @property
    def published(self) -> list[Envelope]:
        """Return all that was accepted, in its order."""
        with self._lock:
            return list(self._published)

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
        """Append envelopes to the lists of their topics."""
        self.ping()
        stopped: set[tuple[str, str]] = set()
        with self._lock:
            return [self._take(envelope, stopped) for envelope in envelopes]

    def feeds(self, consumer: str, topics: Sequence[str], /) -> Sequence[MemoryFeed]:
        """Open a feed for each topic, from where this consumer is in it."""
        self.ping()
        with self._lock:
            return [
                MemoryFeed(
                    topic,
                    self._topics.setdefault(topic, []),
                    self._positions.setdefault((consumer, topic), Position()),
                    self.ping,
                )
                for topic in topics
            ]

    def ping(self, *, deadline: float = 0.0) -> None:
        """Raise ``BrokerDown`` if it was told to be down."""
        if self.down:
            raise BrokerDown("the memory broker was told to be down")

    def litter(self, topic: str, garbage: Garbage, /) -> None:
        """Put something into a topic that is no envelope, as a stranger might."""
        with self._lock:
            self._topics.setdefault(topic, []).append(garbage)

    def _take(self, envelope: Envelope, stopped: set[tuple[str, str]]) -> Receipt:
        order = order_of(envelope)
        if order in stopped:
            return UNKNOWN
        reason = self._refuse(envelope) if self._refuse else None
        if reason is None:
            self._published.append(envelope)
            self._topics.setdefault(envelope.topic, []).append(envelope)
            return ACCEPTED
        if envelope.key:
            stopped.add(order)
        return refused(reason)


class Position:
    """How far a consumer is in a topic: all below ``done`` is acknowledged, and above it what is in ``ahead``."""

    def __init__(self) -> None:
        self.done = 0
        self.ahead: set[int] = set()
        self._lock = RLock()

    def acknowledge(self, indexes: Iterable[int]) -> None:
        """Note what need not come again."""
        with self._lock:
            self.ahead.update(index for index in indexes if index >= self.done)
            while self.done in self.ahead:
                self.ahead.remove(self.done)
                self.done += 1

    def go_to(self, index: int) -> None:
        """Note that all from here on is to come, again perhaps."""
        with self._lock:
            self.done, self.ahead = index, set()

    def open(self, end: int) -> list[int]:
        """Return what is not acknowledged of all below an end."""
        with self._lock:
            return [index for index in range(self.done, end) if index not in self.ahead]


class MemoryFeed:
    """One topic of a ``MemoryBroker``, as one consumer reads it."""

    def __init__(
        self, name: str, entries: Sequence[Envelope | Garbage], position: Position, ping: Callable[[], None]
    ) -> None:
        self.name = name
        self._entries = entries
        self._position = position
        self._ping = ping

    def fetch(self, limit: int, /) -> Sequence[Delivery]:
        """Return what this consumer has not acknowledged, in its order."""
        self._ping()
        indexes = self._position.open(len(self._entries))[:limit]
        return [Delivery(str(index), self._entries[index]) for index in indexes]

    def rewind(self, since: datetime | None, /) -> None:
        """Let come again what was published at a time or later, as envelopes say themselves."""
        self._ping()
        times = [entry.time if isinstance(entry, Envelope) else None for entry in self._entries]
        late = (n for n, time in enumerate(times) if since is None or (time is not None and time >= since))
        self._position.go_to(next(late, len(times)))

    def acknowledge(self, deliveries: Sequence[Delivery], /) -> None:
        """Note that these need not come again."""
        self._ping()
        self._position.acknowledge(int(delivery.id) for delivery in deliveries)
