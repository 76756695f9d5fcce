"""Events handed to a publisher at once: quick, and without a guarantee."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from simplecqrs.errors import NotPublished

if TYPE_CHECKING:
    from simplecqrs.envelope import Envelope
    from simplecqrs.transport import Publisher

__all__ = ["ship"]

#: Seconds that a publisher may take; as the relay's.
DEADLINE = 2.0


def ship(publisher: Publisher, envelopes: Sequence[Envelope]) -> None:
    """
    Hand over envelopes in one call.

    Raises:
        NotPublished: if the publisher did not accept all of them.
    """
    receipts = publisher.publish(envelopes, deadline=DEADLINE)
    lost = [
        f"{envelope.name} {envelope.id}: {receipt.reason or receipt.status}"
        for envelope, receipt in zip(envelopes, receipts, strict=True)
        if receipt.status != "accepted"
    ]
    if lost:
        raise NotPublished(f"the publisher did not accept {len(lost)} of {len(envelopes)}: {'; '.join(lost[:5])}")
