"""The envelopes of one call to Kafka: as records, and what became of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from attrs import define, field

from simplecqrs.brokers.formats import WireFormat
from simplecqrs.brokers.kafka_records import Record, record_of, size_of
from simplecqrs.brokers.kafka_settings import MOST
from simplecqrs.envelope import Envelope
from simplecqrs.transport import ACCEPTED, UNKNOWN, Receipt, order_of, refused

__all__ = ["Batch"]


@define
class Batch:
    """
    What one call publishes.

    Args:
        largest: bytes of a record, and of a wave.
        closed: topics that cannot be written to, and why.

    Attributes:
        records: what is to be sent, by its place in the call; a key only until its first that is not.
        unsent: why others are not.
    """

    wire: WireFormat
    prefix: str
    largest: int
    closed: Mapping[str, str]
    records: dict[int, Record] = field(factory=dict[int, Record], init=False)
    unsent: dict[int, str] = field(factory=dict[int, str], init=False)
    _stopped: set[tuple[str, str]] = field(factory=set[tuple[str, str]], init=False)
    #: Bytes of each record; empty where all of them fit into one wave.
    _sizes: dict[int, int] = field(factory=dict[int, int], init=False)

    def add(self, envelopes: Sequence[Envelope]) -> None:
        """Make records of envelopes."""
        topics = {topic: f"{self.prefix}{topic}" for topic in {envelope.topic for envelope in envelopes}}
        wire, closed, records, stopped = self.wire, self.closed, self.records, self._stopped
        for place, envelope in enumerate(envelopes):
            if stopped and order_of(envelope) in stopped:
                continue
            topic = topics[envelope.topic]
            if closed and topic in closed:
                self._leave(place, envelope, closed[topic])
                continue
            try:
                records[place] = record_of(envelope, wire, topic)
            except ValueError as error:
                self._leave(place, envelope, f"{topic}: {error}")
        if size_of(records.values()) > self.largest:
            self._measure(envelopes)

    def waves(self) -> Iterator[Sequence[int]]:
        """Return the places of records, in their order, in as many parts as fit into one batch each."""
        if not self._sizes:
            places = list(self.records)
            yield from (places[start : start + MOST] for start in range(0, len(places), MOST))
            return
        wave, left = list[int](), self.largest
        for place, size in self._sizes.items():
            if wave and (size > left or len(wave) == MOST):
                yield wave
                wave, left = [], self.largest
            wave.append(place)
            left -= size
        yield wave

    def _measure(self, envelopes: Sequence[Envelope]) -> None:
        """Take out what is too large for a record, and what follows of its key; not what came before a failure."""
        stopped = self._stopped = set[tuple[str, str]]()
        for place, record in list(self.records.items()):
            size = size_of([record])
            if order_of(envelopes[place]) in stopped:
                del self.records[place]
            elif size > self.largest:
                limit = f"the limit is {self.largest}, see message.max.bytes"
                self._leave(place, envelopes[place], f"{record.topic}: it has {size} bytes; {limit}")
                del self.records[place]
            else:
                self._sizes[place] = size

    def _leave(self, place: int, envelope: Envelope, reason: str) -> None:
        """Note why an envelope is not sent; what follows of its key is not sent either."""
        self.unsent[place] = reason
        if envelope.key:
            self._stopped.add(order_of(envelope))

    def receipts(
        self, envelopes: Sequence[Envelope], known: Mapping[int, Receipt], unsent: Mapping[int, str]
    ) -> list[Receipt]:
        """
        Return a receipt for each envelope.

        Args:
            known: what became of records.
            unsent: why the producer itself would not have some of them.
        """
        unsent = {**self.unsent, **unsent}
        if len(known) == len(envelopes) and all(receipt is ACCEPTED for receipt in known.values()):
            return [ACCEPTED] * len(envelopes)
        receipts, stopped = list[Receipt](), set[tuple[str, str]]()
        for place, envelope in enumerate(envelopes):
            receipt = known.get(place, UNKNOWN)
            if place in unsent and not (envelope.key and order_of(envelope) in stopped):
                receipt = refused(unsent[place])
            if receipt.status != "accepted" and envelope.key:
                stopped.add(order_of(envelope))
            receipts.append(receipt)
        return receipts
