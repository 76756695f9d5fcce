"""
A Kafka topic, as a consumer reads it.

Nobody is a member of a group here, so nothing is ever rebalanced and nobody is thrown out for being slow: the lock on
the feed's name says who fetches.  A consumer is a group in name only, under which the server keeps its offsets.  What
these say is the truth at each fetch, whoever has committed them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Final, TypeAlias

from simplecqrs.brokers.kafka_client import Client
from simplecqrs.brokers.kafka_reader import Reader
from simplecqrs.brokers.kafka_watch import Watch, read_mark
from simplecqrs.errors import BrokerDown
from simplecqrs.transport import Delivery

__all__ = ["Asking", "KafkaFeed"]

#: Turns what goes wrong with the client library into ``BrokerDown``.
Asking: TypeAlias = Callable[[], AbstractContextManager[None]]

#: Seconds to wait for what must be on its way, and for what may be.
PATIENCE, GLANCE = 0.5, 0.005
#: Seconds after a glance in vain until the next one: what comes meanwhile is handed over when it is there.
RARELY: Final = 1.0
#: Seconds between two looks at where we are, while nothing comes.
LOOK: Final = 1.0
#: Seconds for which somebody may still commit what was fetched before, without looking where we are.
SETTLE: Final = LOOK + 0.5
#: Seconds between two looks at which partitions there are; and while there are none.
PARTITIONS, NO_PARTITIONS = 30.0, 1.0


class KafkaFeed:
    """
    One topic with all its partitions, as one consumer reads it.

    Args:
        name: the topic's on the server.
        group: under which the server keeps the consumer's offsets.
        connect: makes a client of the group.
        reading: makes a reader of the topic of it.
        asking: see ``Asking``.
    """

    def __init__(
        self,
        name: str,
        group: str,
        *,
        connect: Callable[[], Client],
        reading: Callable[[Client], Reader],
        asking: Asking,
    ) -> None:
        self.name = name
        self._connect = connect
        self._reading = reading
        self._asking = asking
        self._reader: Reader | None = None
        self._glanced = 0.0
        self._watch = Watch(name, group)

    def join(self) -> None:
        """Find out which partitions there are, and where the consumer is in them.  Raises BrokerDown."""
        with self._asking():
            self._open()

    def expect(self) -> None:
        """Take the time to glance again: something is on its way."""
        self._glanced = 0.0

    def close(self) -> None:
        """Let go of the connection.  The next call opens it again."""
        self._reader = None

    @property
    def lost(self) -> int:
        """Count what is known to be gone before it was stored on our side."""
        return self._watch.lost

    @property
    def mark(self) -> str:
        """Tell how far it is acknowledged, partition by partition."""
        return self._watch.mark(self._reader.places if self._reader is not None else {})

    def compare(self, mark: str, /) -> None:
        """Sound an alarm if partitions are shorter than they were."""
        with self._asking():
            reader = self._open()
            self._watch.compare(mark, reader.places, reader.offsets)

    def rewind(self, since: datetime | None, /) -> None:
        """Commit the offsets of a time, or the first ones; this waits until nobody can be about to commit others."""
        with self._asking():
            reader = self._open()
            _put_for_good(reader, reader.offsets.at(reader.places, since))

    def rewind_to(self, mark: str, /) -> None:
        """Commit the offsets of a mark, and the first ones of partitions that it does not name; see ``rewind``."""
        with self._asking():
            reader, known = self._open(), read_mark(mark)
            first = reader.offsets.at([p for p in reader.places if p not in known], None)
            _put_for_good(reader, {p: known[p] if p in known else first[p] for p in reader.places})

    def fetch(self, limit: int, /) -> Sequence[Delivery]:
        """Return what is not stored on our side, of each partition in its order."""
        with self._asking():
            reader = self._read(self._open(), limit)
            if reader.held or time.monotonic() - reader.looked > LOOK:
                reader.look()
                reader = self._read(reader, limit)
        found = [(p, offset, place.entries[offset]) for p, place in reader.places.items() for offset in place.open()]
        return [Delivery(f"{p}:{offset}", content) for p, offset, content in found[:limit]]

    def acknowledge(self, deliveries: Sequence[Delivery], /) -> None:
        """Commit offsets: the first that is not stored, and as metadata what is stored beyond it."""
        stored = dict[int, list[int]]()
        for delivery in deliveries:
            partition, _, offset = delivery.id.partition(":")
            stored.setdefault(int(partition), []).append(int(offset))
        with self._asking():
            if stored:
                self._acknowledge(stored)

    def _acknowledge(self, stored: Mapping[int, list[int]]) -> None:
        reader = self._open()
        if time.monotonic() - reader.looked > LOOK:
            reader.look()  # others may have gone on, if we were stopped, and are not to be sent back
        places = {p: reader.places[p] for p in stored if p in reader.places}
        reader.offsets.commit({p: place for p, place in places.items() if place.acknowledge(stored[p])})

    def _open(self) -> Reader:
        """Connect, if need be, and look for partitions, if it is time to; new ones are read from their beginning."""
        reader = self._reader
        if reader is None or not reader.is_usable:
            reader = self._open_anew()
        if time.monotonic() - reader.found > (PARTITIONS if reader.places else NO_PARTITIONS) and not reader.find():
            reader = self._open_anew()
        return reader

    def _open_anew(self) -> Reader:
        self.close()
        reader = self._reader = self._reading(self._connect())
        reader.find()
        return reader

    def _read(self, reader: Reader, limit: int) -> Reader:
        """Read until there is as much as is wanted, or nothing more; return what has read it."""
        until = time.monotonic() + PATIENCE
        while (room := limit - reader.held) > 0 and reader.places:
            if reader.lost:
                reader = self._make_good(reader)
                continue
            messages = reader.consume(room)
            if not messages and not reader.held:
                messages = self._wait(reader, until)
            if not messages:
                break
            troubles = reader.take(messages)
            if troubles and not reader.held:
                raise BrokerDown(f"{self.name}: {troubles[0]}")
        return reader

    def _wait(self, reader: Reader, until: float) -> Sequence[Any]:
        """Wait for a message: long where something must come, else only for what arrives just now."""
        now = time.monotonic()
        glance = GLANCE if now - self._glanced > RARELY else 0.0
        patience = glance if reader.is_at_end else max(until - now, 0.0)
        messages = reader.consume(1, patience)
        if not messages:
            if patience:
                self._glanced = time.monotonic()
            reader.give_up()
        return messages

    def _make_good(self, reader: Reader) -> Reader:
        """Go on where there is something, if the server has dropped what we are to read."""
        for partition in reader.lost & reader.places.keys():
            place = reader.places[partition]
            first, end = reader.offsets.range(partition)
            reader.put({partition: first})
            self._watch.tell(partition, place, first, end)
        return self._open_anew()


def _put_for_good(reader: Reader, wanted: Mapping[int, int]) -> None:
    """Put the consumer elsewhere, and once more if somebody has put it back meanwhile."""
    reader.put(wanted)
    settle()
    if {p: done for p, (done, _) in reader.offsets.known(reader.places).items()} != wanted:
        reader.put(wanted)
    reader.look(anew=True)


def settle() -> None:
    """Wait until whoever has fetched before has committed that, or will look where we are before."""
    threading.Event().wait(SETTLE)
