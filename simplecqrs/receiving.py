"""What a consumer's handlers do with a message that came from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from simplecqrs.errors import CommandRefused
from simplecqrs.messages import Event, Query, Stream
from simplecqrs.registration import Options

if TYPE_CHECKING:
    from simplecqrs.envelope import Envelope
    from simplecqrs.vocabulary import Vocabulary
    from simplecqrs.wiring import Wiring

__all__ = ["consumer_options", "receive"]


def consumer_options(envelope: Envelope, consumer: str, wiring: Wiring, vocabulary: Vocabulary) -> Options | None:
    """Return what was said where a consumer's handlers of a message were registered; None: it has none."""
    try:
        kind = vocabulary.find(envelope.name)
    except LookupError:
        return None
    if issubclass(kind, (Query, Stream)):  # nobody waits for its answer
        return None
    if not issubclass(kind, Event):
        return wiring.request_options.get(kind)
    said = [registration.options for registration, _ in wiring.events.consumer_calls(kind, consumer)]
    return _together(said) if len(said) > 1 else next(iter(said), None)


def _together(said: Sequence[Options]) -> Options:
    """Put together what was said of handlers that succeed or fail as one: of each the first that says something."""
    return evolve(
        said[0],
        retry=next((options.retry for options in said if options.retry is not None), None),
        on_dead=next((options.on_dead for options in said if options.on_dead is not None), None),
        on_error={cls: fate for options in reversed(said) for cls, fate in options.on_error.items()},
    )


def receive(envelope: Envelope, consumer: str, wiring: Wiring, vocabulary: Vocabulary, *, allow_commands: bool) -> None:
    """
    Handle a message that came from elsewhere, all handlers of a consumer in one unit of work.

    Raises:
        CommandRefused: if it is a command and these are not allowed; what the envelope says it is does not count.
    """
    if not allow_commands and not issubclass(vocabulary.find(envelope.name), Event):
        raise CommandRefused(
            f"{envelope.name} is a command, and {consumer} takes events only; whoever can write to its broker could "
            "give commands: if that is meant, say allow_commands"
        )
    message = vocabulary.decode(envelope)
    if isinstance(message, Event):
        calls = [call for _, call in wiring.events.consumer_calls(type(message), consumer)]
        wiring.events.receive(message, envelope.metadata, calls)
    else:
        wiring.receive(message, envelope.metadata)
