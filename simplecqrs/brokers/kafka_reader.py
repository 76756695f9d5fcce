"""
The partitions of a Kafka topic, as one client reads them.

They are assigned once in the life of a client, and then sought.  Before its version 2.16, librdkafka ends the process
if it is told to let go of a partition while it does so: by a second assignment, and a third one or its end soon after.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from simplecqrs.brokers.kafka_client import Client
from simplecqrs.brokers.kafka_offsets import Offsets
from simplecqrs.brokers.kafka_places import Place
from simplecqrs.envelope import Envelope
from simplecqrs.errors import BrokerDown
from simplecqrs.transport import Garbage

__all__ = ["Reader"]


class Reader:
    """
    What a client has read of a topic.

    Args:
        client: a consumer.
        name: the topic's on the server.
        spot: makes what the client library takes for a place: of topic, partition, offset and metadata.
        content: makes of a message what it holds.
        timeout: seconds that the server may take for an answer.

    Attributes:
        offsets: what the server keeps.
        places: where we are, by partition.
        found: when the partitions were looked for last, in monotonic seconds.
        looked: when the server was asked last where we are.
        lost: partitions of which the server has dropped what we were to read.
    """

    def __init__(
        self,
        client: Client,
        name: str,
        *,
        spot: Callable[..., Any],
        content: Callable[[Any], Envelope | Garbage],
        timeout: float,
    ) -> None:
        self._client = client
        self._name = name
        self._spot = spot
        self._content = content
        self._timeout = timeout
        self._is_assigned = False
        self.offsets = Offsets(client.handle, name, spot=spot, timeout=timeout)
        self.places: dict[int, Place] = {}
        self.found = self.looked = float("-inf")
        self.lost: set[int] = set()

    @property
    def is_usable(self) -> bool:
        """Tell whether this process has made the client, and it is not stuck."""
        return self._client.is_ours and not self.offsets.is_stuck

    @property
    def held(self) -> int:
        """Count what was read and is not stored."""
        return sum(len(place.open()) for place in self.places.values())

    @property
    def is_at_end(self) -> bool:
        """Tell whether nothing more is there, as far as is known, or has come for a while."""
        return all(place.at_end or self._is_all(p, place) for p, place in self.places.items())

    def find(self) -> bool:
        """Find out which partitions there are, and where we are in them; false if they are others than before."""
        found = self._client.handle.list_topics(self._name, timeout=self._timeout).topics[self._name]
        if found.error is not None and found.error.name() != "UNKNOWN_TOPIC_OR_PART":
            raise BrokerDown(f"{self._name}: {found.error.str()}")
        if not self._is_assigned:
            self.places = {partition: Place() for partition in sorted(found.partitions)}
            self.look()
        self.found = time.monotonic()
        return set(found.partitions) == set(self.places)

    def look(self, *, anew: bool = False) -> None:
        """Ask the server where we are, and read from there if that is elsewhere; all, if nothing is read yet."""
        if not self.places:
            return
        known = self.offsets.known(self.places)
        self.looked = time.monotonic()
        anew = anew or not self._is_assigned
        self._go([p for p, (done, ahead) in known.items() if not self.places[p].believe(done, ahead) or anew])

    def put(self, wanted: Mapping[int, int]) -> None:
        """Commit offsets, whatever was read."""
        self.offsets.commit({partition: Place(offset) for partition, offset in wanted.items()})

    def consume(self, limit: int, patience: float = 0.0) -> Sequence[Any]:
        """Return messages, and what stands for one; wait for the first of them, in seconds."""
        messages: Sequence[Any] = self._client.handle.consume(limit, patience)
        return messages

    def take(self, messages: Iterable[Any]) -> list[str]:
        """Take messages, or what stands for one; return what is wrong."""
        return [trouble for trouble in map(self._take, messages) if trouble]

    def give_up(self) -> None:
        """Take what has not come for a while for the end."""
        for place in self.places.values():
            place.at_end = True

    def _go(self, partitions: Sequence[int]) -> None:
        """Read on elsewhere in some partitions, at first in all."""
        for partition in partitions:
            self.places[partition].go_to(self.places[partition].done)
        spots = [self._spot(self._name, p, self.places[p].start) for p in partitions]
        if not self._is_assigned:
            self._client.handle.assign(spots)
            self._is_assigned = bool(spots)
            return
        for spot in spots:
            self._client.handle.seek(spot)

    def _is_all(self, partition: int, place: Place) -> bool:
        """Tell whether we had all that was there at the last answer: that nothing more is comes as late as anything."""
        return 0 <= self.offsets.end(partition) <= place.next

    def _take(self, message: Any) -> str:
        error, place = message.error(), self.places.get(message.partition())
        if error is None:
            if place is not None:
                place.take(message.offset(), self._content(message))
            return ""
        if error.name() == "_PARTITION_EOF":
            if place is not None:
                place.at_end = True
        elif error.name() in ("_AUTO_OFFSET_RESET", "OFFSET_OUT_OF_RANGE"):
            self.lost.add(message.partition())
        elif error.name() in ("UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION"):
            self.found = float("-inf")
        else:
            return str(error.str())
        return ""
