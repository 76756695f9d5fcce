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

from simplecqrs.brokers.formats import WireFormat
from simplecqrs.brokers.kafka_client import Client
from simplecqrs.brokers.kafka_offsets import Offsets
from simplecqrs.brokers.kafka_places import Place
from simplecqrs.brokers.kafka_records import content_of
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
        topic: the name without the prefix.
        connect: makes a client of the group.
        spot: makes what the client library takes for a place: of topic, partition, offset and metadata.
        asking: see ``Asking``.
        timeout: seconds that the server may take for an answer.
    """

    def __init__(
        self,
        name: str,
        group: str,
        *,
        topic: str,
        connect: Callable[[], Client],
        spot: Callable[..., Any],
        asking: Asking,
        wire: WireFormat,
        max_bytes: int,
        timeout: float,
    ) -> None:
        self.name = name
        self._group = group
        self._topic = topic
        self._connect = connect
        self._spot = spot
        self._asking = asking
        self._wire = wire
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._client: Client | None = None
        self._offsets: Offsets | None = None
        self._places: dict[int, Place] = {}
        self._is_assigned = False
        self._looked = self._counted = self._glanced = 0.0
        self._lost: set[int] = set()
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
        self._client = self._offsets = None
        self._places = {}
        self._is_assigned = False

    @property
    def lost(self) -> int:
        """Count what is known to be gone before it was stored on our side."""
        return self._watch.lost

    @property
    def mark(self) -> str:
        """Tell how far it is acknowledged, partition by partition."""
        return self._watch.mark(self._places)

    def compare(self, mark: str, /) -> None:
        """Sound an alarm if partitions are shorter than they were."""
        with self._asking():
            self._watch.compare(mark, self._places, self._open())

    def rewind(self, since: datetime | None, /) -> None:
        """Commit the offsets of a time, or the first ones; this waits until nobody can be about to commit others."""
        with self._asking():
            self._put_for_good(self._open().at(self._places, since))

    def rewind_to(self, mark: str, /) -> None:
        """Commit the offsets of a mark, and the first ones of partitions that it does not name; see ``rewind``."""
        with self._asking():
            known = read_mark(mark)
            first = self._open().at([p for p in self._places if p not in known], None)
            self._put_for_good({p: known[p] if p in known else first[p] for p in self._places})

    def _put_for_good(self, wanted: Mapping[int, int]) -> None:
        self._put(wanted)
        settle()
        assert self._offsets is not None
        if {p: done for p, (done, _) in self._offsets.known(self._places).items()} != wanted:
            self._put(wanted)
        self._look(anew=True)

    def _put(self, wanted: Mapping[int, int]) -> None:
        assert self._offsets is not None
        self._offsets.commit({partition: Place(offset) for partition, offset in wanted.items()})

    def fetch(self, limit: int, /) -> Sequence[Delivery]:
        """Return what is not stored on our side, of each partition in its order."""
        with self._asking():
            self._open()
            self._read(limit)
            if self._held() or time.monotonic() - self._looked > LOOK:
                self._look()
                self._read(limit)
        found = [(p, offset, place.entries[offset]) for p, place in self._places.items() for offset in place.open()]
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
        offsets = self._open()
        if time.monotonic() - self._looked > LOOK:
            self._look()  # others may have gone on, if we were stopped, and are not to be sent back
        places = {p: self._places[p] for p in stored if p in self._places}
        offsets.commit({p: place for p, place in places.items() if place.acknowledge(stored[p])})

    def _open(self) -> Offsets:
        """Connect, if need be, and look at the partitions, if it is time to."""
        if self._client is None or not self._client.is_ours or self._offsets is None or self._offsets.is_stuck:
            self.close()
            self._client = self._connect()
            self._offsets = Offsets(self._client.handle, self.name, spot=self._spot, timeout=self._timeout)
            self._counted = 0.0
        if time.monotonic() - self._counted > (PARTITIONS if self._places else NO_PARTITIONS):
            self._count()
        return self._offsets

    def _count(self) -> None:
        """Find out which partitions there are; new ones are read from their beginning."""
        found = self._handle.list_topics(self.name, timeout=self._timeout).topics[self.name]
        if found.error is not None and found.error.name() != "UNKNOWN_TOPIC_OR_PART":
            raise BrokerDown(f"{self.name}: {found.error.str()}")
        self._counted = time.monotonic()
        if self._places and set(found.partitions) != set(self._places):
            self._open_anew()
        elif not self._places:
            self._places = {partition: Place() for partition in sorted(found.partitions)}
            self._look()

    def _open_anew(self) -> None:
        self.close()
        self._open()

    def _look(self, *, anew: bool = False) -> None:
        """Ask the server where we are, and read from there if that is elsewhere; all, if nothing is read yet."""
        if not self._places:
            return
        assert self._offsets is not None
        known = self._offsets.known(self._places)
        self._looked = time.monotonic()
        anew = anew or not self._is_assigned
        self._go([p for p, (done, ahead) in known.items() if not self._places[p].believe(done, ahead) or anew])

    def _go(self, partitions: Sequence[int]) -> None:
        """
        Read on elsewhere in some partitions, at first in all.

        They are assigned once in the life of a client.  Before its version 2.16, librdkafka ends the process if it is
        told to let go of a partition while it does so: by a second assignment, and a third one or its end soon after.
        """
        for partition in partitions:
            self._places[partition].go_to(self._places[partition].done)
        spots = [self._spot(self.name, p, self._places[p].start) for p in partitions]
        if not self._is_assigned:
            self._handle.assign(spots)
            self._is_assigned = bool(spots)
            return
        for spot in spots:
            self._handle.seek(spot)

    @property
    def _handle(self) -> Any:
        assert self._client is not None
        return self._client.handle

    def _held(self) -> int:
        return sum(len(place.open()) for place in self._places.values())

    def _read(self, limit: int) -> None:
        """Read until there is as much as is wanted, or nothing more."""
        until = time.monotonic() + PATIENCE
        room = limit - self._held()
        while room > 0 and self._places:
            messages = self._handle.consume(room, 0)
            if not messages:
                if self._held():
                    return
                messages = self._wait(until)
                if not messages:
                    return
            trouble = [error for error in map(self._take, messages) if error]
            self._make_good()
            room = limit - self._held()
            if trouble and not self._held():
                raise BrokerDown(f"{self.name}: {trouble[0]}")

    def _wait(self, until: float) -> Sequence[Any]:
        """Wait for a message: long where something must come, else only for what arrives just now."""
        now = time.monotonic()
        if all(place.at_end or self._is_all(p, place) for p, place in self._places.items()):
            patience = GLANCE if now - self._glanced > RARELY else 0.0
        else:
            patience = max(until - now, 0.0)
        messages: Sequence[Any] = self._handle.consume(1, patience)
        if not messages:
            if patience:
                self._glanced = time.monotonic()
            for place in self._places.values():
                place.at_end = True
        return messages

    def _is_all(self, partition: int, place: Place) -> bool:
        """Tell whether we had all that was there at the last answer: that nothing more is comes as late as anything."""
        assert self._offsets is not None
        return 0 <= self._offsets.end(partition) <= place.next

    def _take(self, message: Any) -> str:
        """Take a message, or what stands for one; return what is wrong."""
        error, place = message.error(), self._places.get(message.partition())
        if error is None:
            if place is not None:
                content = content_of(message, self._wire, topic=self._topic, max_bytes=self._max_bytes)
                place.take(message.offset(), content)
            return ""
        if error.name() == "_PARTITION_EOF":
            if place is not None:
                place.at_end = True
        elif error.name() in ("_AUTO_OFFSET_RESET", "OFFSET_OUT_OF_RANGE"):
            self._lost.add(message.partition())
        elif error.name() in ("UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION"):
            self._counted = 0.0
        else:
            return str(error.str())
        return ""

    def _make_good(self) -> None:
        """Go on where there is something, if the server has dropped what we are to read."""
        lost = {p: self._places[p] for p in self._lost if p in self._places}
        self._lost.clear()
        for partition, place in lost.items():
            assert self._offsets is not None
            first, end = self._offsets.range(partition)
            self._watch.tell(partition, place, first, end)
            place.done, place.ahead = first, set()
            self._offsets.commit({partition: place})
        if lost:
            self._open_anew()


def settle() -> None:
    """Wait until whoever has fetched before has committed that, or will look where we are before."""
    threading.Event().wait(SETTLE)
