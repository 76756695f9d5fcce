"""A broker in memory over whose wire go parcels, in one of the formats."""

from __future__ import annotations

from collections.abc import Sequence

from simplecqrs.brokers.formats import Parcel, WireFormat
from simplecqrs.brokers.named_formats import named_format
from simplecqrs.envelope import Envelope
from simplecqrs.memory import MemoryBroker
from simplecqrs.transport import ACCEPTED, Garbage, Receipt, refused

__all__ = ["ParcelBroker"]


class ParcelBroker(MemoryBroker):
    """
    Write envelopes as parcels, and read them again for its feeds.

    Attributes:
        parcels: all that went over the wire, in its order.
    """

    def __init__(self, *, format: str | WireFormat = "cloudevents") -> None:  # noqa: A002 - what settings call it
        super().__init__()
        self._wire = named_format(format, prefix="ce_")
        self.parcels: list[Parcel] = []

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
        """Put envelopes on the wire, unless the format cannot say them."""
        return [self._send(envelope) for envelope in envelopes]

    def arrive(self, topic: str, parcel: Parcel) -> None:
        """Take a parcel off the wire, whoever has written it."""
        self.parcels.append(parcel)
        found = self._wire.read(parcel, topic=topic, max_bytes=2**20)
        if isinstance(found, Garbage):
            self.litter(topic, found)
        else:
            super().publish([found], deadline=1)

    def _send(self, envelope: Envelope) -> Receipt:
        try:
            parcel = self._wire.write(envelope)
        except ValueError as error:
            return refused(str(error))
        self.arrive(envelope.topic, parcel)
        return ACCEPTED
