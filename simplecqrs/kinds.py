"""What sort of message a class is, and what it is answered by."""

from __future__ import annotations

import typing
from typing import Any, Final, Literal

from simplecqrs.conversion.annotations import meanings_of
from simplecqrs.hints import resolve_in
from simplecqrs.messages import (
    Command,
    DomainEvent,
    ECSTEvent,
    Event,
    IntegrationEvent,
    Message,
    NotificationEvent,
    Query,
    Request,
    Stream,
)

__all__ = ["Kind", "answer_of", "kind_of"]

Kind = Literal[
    "command", "query", "stream", "domain event", "notification event", "ECST event", "integration event", "event"
]
#: The nearest base says it.
KINDS: Final[dict[type[Message], Kind]] = {
    Command: "command",
    Query: "query",
    Stream: "stream",
    DomainEvent: "domain event",
    NotificationEvent: "notification event",
    ECSTEvent: "ECST event",
    IntegrationEvent: "integration event",
    Event: "event",
}


def kind_of(message: type[Message]) -> Kind:
    """Return what sort of message a class is."""
    return next(kind for base, kind in KINDS.items() if issubclass(message, base))


def answer_of(message: type[Message]) -> Any:
    """Return the type in ``Command[...]``, of a stream that of its items; None of events, Any if it was not said."""
    for owner, meaning in meanings_of(message, ()):
        if owner is Request or owner is Stream:
            hint = next(iter(meaning.values()), Any)
            return resolve_in(message, hint.__forward_arg__ if isinstance(hint, typing.ForwardRef) else hint)
    return None
