"""What a consumer's handlers do with a message that came from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from simplecqrs.messages import Event, Message, Query, Stream
from simplecqrs.registration import Options, Registration

if TYPE_CHECKING:
    from simplecqrs.envelope import Envelope
    from simplecqrs.vocabulary import Vocabulary
    from simplecqrs.wiring import Wiring

__all__ = ["consumer_options", "receive"]


def consumer_options(
    kind: type[Message], consumer: str, wiring: Wiring, registrations: Sequence[Registration]
) -> Options | None:
    """Return what was said where a consumer's handlers of a message were registered; None: it has none."""
    if issubclass(kind, (Query, Stream)):  # nobody waits for its answer
        return None
    if not issubclass(kind, Event):
        return next((r.options for r in registrations if kind in r.messages), None)
    subscribed = wiring.events.consumer_calls(kind, consumer)
    return subscribed[0][0].options if subscribed else None


def receive(envelope: Envelope, consumer: str, wiring: Wiring, vocabulary: Vocabulary) -> None:
    """Handle a message that came from elsewhere, all handlers of a consumer in one unit of work."""
    message = vocabulary.decode(envelope)
    if isinstance(message, Event):
        calls = [call for _, call in wiring.events.consumer_calls(type(message), consumer)]
        wiring.events.receive(message, envelope.metadata, calls)
    else:
        wiring.receive(message, envelope.metadata)
