"""The port of wire formats: how an envelope becomes what a broker carries, and is read again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from attrs import field, frozen

from simplecqrs.envelope import Envelope
from simplecqrs.metadata import NO_HEADERS
from simplecqrs.transport import Garbage

__all__ = ["Parcel", "WireFormat"]


@frozen(slots=False)  # which is made in half of the time, and that for each event
class Parcel:
    """
    What a broker carries: a body, and what stands beside it.

    Args:
        body: the bytes of the message.
        content_type: of the body.
        attributes: headers (Kafka, RabbitMQ) or application properties (AMQP 1.0), as they stand on the wire.
    """

    body: bytes = field(repr=False)
    content_type: str = ""
    attributes: Mapping[str, str] = field(default=NO_HEADERS)


class WireFormat(Protocol):
    """Writes envelopes for a broker and reads what comes from one; threads may share it."""

    def write(self, envelope: Envelope, /) -> Parcel:
        """
        Return an envelope as a broker is to carry it; its topic and key are the adapter's matter as well.

        Raises:
            ValueError: if the format cannot say it; the adapter refuses the envelope with this reason.
        """
        ...

    def read(self, parcel: Parcel, /, *, topic: str, max_bytes: int) -> Envelope | Garbage:
        """
        Return the envelope that a parcel holds, or as garbage what holds none.  Raises nothing, whatever came.

        Args:
            topic: where it came from.
            max_bytes: of the body, and of all attributes together; what is larger is garbage, cut to this size.
        """
        ...
