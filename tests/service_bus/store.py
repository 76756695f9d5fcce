"""What a Service Bus keeps: topics, subscriptions, and the locks of who reads them."""

from __future__ import annotations

import heapq
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from threading import RLock

from attrs import define, field

from tests.service_bus.frames import Sent

#: Deliveries after which Service Bus itself makes a message a dead letter, where it is told what we recommend.
MAX_DELIVERIES = 2000


@define(eq=False)
class Entry:
    """A message of a subscription."""

    sequence: int
    sent: Sent
    session: str
    enqueued: float
    failures: int = 0
    holder: object = None
    until: float = 0.0
    tag: bytes = b""


@define(eq=False)
class Subscription:
    """A queue behind a topic: who takes an entry holds its lock, until it is settled or its time is over."""

    lock_seconds: float = 30.0
    sessions: bool = False
    entries: dict[int, Entry] = field(factory=dict, init=False)
    dead: list[Entry] = field(factory=list, init=False)
    locked: dict[bytes, Entry] = field(factory=dict, init=False)
    owners: dict[str, tuple[object, float]] = field(factory=dict, init=False)
    completed: int = field(default=0, init=False)
    _ready: dict[str, list[int]] = field(factory=dict, init=False)
    _last: int = field(default=0, init=False)

    def append(self, sent: Sent) -> None:
        """Keep a copy of a message; one without a session is dead where sessions are asked for."""
        self._last += 1
        entry = Entry(self._last, sent, sent.session if self.sessions else "", time.time())
        if self.sessions and not sent.session:
            self.dead.append(entry)
            return
        self.entries[entry.sequence] = entry
        self._offer(entry)

    def take(self, holder: object, session: str) -> Entry | None:
        """Lock the oldest entry that nobody holds."""
        ready = self._ready.get(session, [])
        while ready:
            entry = self.entries.get(heapq.heappop(ready))
            if entry is not None and entry.holder is None:
                entry.holder, entry.tag, entry.until = holder, uuid.uuid4().bytes, time.time() + self.lock_seconds
                self.locked[entry.tag] = entry
                return entry
        return None

    def settle(self, tag: bytes, outcome: str) -> bool:
        """End a lock by what became of its message; false if nobody holds it any more."""
        entry = self.locked.get(tag)
        if entry is None or (self.sessions and self.owners.get(entry.session, (None,))[0] is not entry.holder):
            return False
        if outcome in ("accepted", "completed"):
            del self.locked[tag], self.entries[entry.sequence]
            self.completed += 1
        elif outcome in ("rejected", "suspended"):
            del self.locked[tag]
            self.dead.append(self.entries.pop(entry.sequence))
        else:
            self.unlock(entry, failed=outcome != "released")
        return True

    def renew(self, tag: bytes) -> float | None:
        """Begin the time of a lock anew and return when it ends."""
        entry = self.locked.pop(tag, None)
        if entry is None:
            return None
        entry.until = time.time() + self.lock_seconds
        self.locked[tag] = entry
        return entry.until

    def unlock(self, entry: Entry, *, failed: bool) -> None:
        """Give an entry back, to its place."""
        del self.locked[entry.tag]
        entry.holder = None
        entry.failures += failed
        if entry.failures >= MAX_DELIVERIES:
            self.dead.append(self.entries.pop(entry.sequence))
        else:
            self._offer(entry)

    def expire(self, now: float) -> bool:
        """End the locks whose time is over, and tell whether there were any."""
        over = [entry for entry in self.locked.values() if entry.until <= now] if not self.sessions else []
        for entry in over:
            self.unlock(entry, failed=True)
        for session in [session for session, (_, until) in self.owners.items() if until <= now]:
            self.leave(session)
        return bool(over)

    def leave(self, session: str) -> None:
        """End the lock of a session, and with it those of its entries."""
        self.owners.pop(session, None)
        self._ready[session] = self._ready.pop(session, [])  # it is the last to have its turn again
        for entry in [entry for entry in self.locked.values() if entry.session == session]:
            self.unlock(entry, failed=True)

    def accept(self, holder: object, wanted: str | None) -> str | None:
        """Lock a session, or if none is named the next that has something; None: there is none."""
        free = [session for session in self._ready if session not in self.owners and self._ready[session]]
        session = wanted if wanted is not None else next(iter(free), None)
        if session is None or session in self.owners:
            return None
        self.owners[session] = holder, time.time() + self.lock_seconds
        return session

    def clear(self) -> None:
        """Throw everything away; numbers go on."""
        self.entries.clear()
        self.locked.clear()
        self.dead.clear()
        self._ready.clear()

    def peek(self, start: int, count: int) -> list[Entry]:
        """Return the oldest entries from a number on, locked or not."""
        return [entry for number, entry in sorted(self.entries.items()) if number >= start][:count]

    def _offer(self, entry: Entry) -> None:
        heapq.heappush(self._ready.setdefault(entry.session, []), entry.sequence)


@define(eq=False)
class Topic:
    """What takes messages: each of its subscriptions gets a copy."""

    name: str
    subscriptions: dict[str, Subscription]
    detects_duplicates: bool = False
    transfers: Counter[int] = field(factory=Counter, init=False)
    _seen: set[str] = field(factory=set, init=False)

    def publish(self, messages: Sequence[Sent]) -> None:
        """Take messages, all or none."""
        self.transfers[len(messages)] += 1
        for sent in messages:
            if self.detects_duplicates and sent.message_id in self._seen:
                continue
            self._seen.add(sent.message_id)
            for subscription in self.subscriptions.values():
                subscription.append(sent)


class Store:
    """All topics by their names, and one lock for all of it."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.topics: dict[str, Topic] = {}

    def create(self, name: str, *subscriptions: str, duplicates: bool = False, **options: float | bool) -> Topic:
        """Make a topic, or make it anew, empty."""
        with self.lock:
            made = {subscription.lower(): Subscription(**options) for subscription in subscriptions}  # type: ignore[arg-type]
            self.topics[name.lower()] = topic = Topic(name, made, duplicates)
            return topic

    def subscription(self, path: str) -> Subscription | None:
        """Find a subscription by the address of a link: ``topic/subscriptions/name``."""
        topic, _, name = path.partition("/subscriptions/")
        return self.topics[topic].subscriptions.get(name) if topic in self.topics else None

    def every(self) -> Iterator[Subscription]:
        """Yield the subscriptions of all topics."""
        for topic in list(self.topics.values()):
            yield from topic.subscriptions.values()
