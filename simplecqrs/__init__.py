"""
CQRS for Python, synchronous: commands, queries and events, their handlers, and a mediator between them.

>>> from attrs import frozen
>>> from simplecqrs import Command, Mediator, Registry
>>> registry = Registry()
>>> @frozen
... class Double(Command[int]):
...     number: int
>>> @registry.handles(Double)
... def double(command: Double) -> int:
...     return command.number * 2
>>> Mediator(registry).send(Double(21))
42
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simplecqrs.ambient import context, current
from simplecqrs.backoff import Retry
from simplecqrs.errors import CQRSError
from simplecqrs.handlers import Publish, SyncEventHandler, SyncRequestHandler
from simplecqrs.mediator import Mediator
from simplecqrs.messages import (
    UNSET,
    Command,
    DomainEvent,
    ECSTEvent,
    IntegrationEvent,
    Message,
    NotificationEvent,
    Query,
    Unset,
    message,
)
from simplecqrs.metadata import Metadata
from simplecqrs.pipeline import around
from simplecqrs.registry import Registry, handles

if TYPE_CHECKING:
    from simplecqrs.codec import load
    from simplecqrs.envelope import Envelope

__all__ = [
    "UNSET",
    "CQRSError",
    "Command",
    "DomainEvent",
    "ECSTEvent",
    "Envelope",
    "IntegrationEvent",
    "Mediator",
    "Message",
    "Metadata",
    "NotificationEvent",
    "Publish",
    "Query",
    "Registry",
    "Retry",
    "SyncEventHandler",
    "SyncRequestHandler",
    "Unset",
    "around",
    "context",
    "current",
    "handles",
    "load",
    "message",
]


def __getattr__(name: str) -> Any:
    """Import at first use what a plain ``send`` does not need."""
    if name == "load":
        from simplecqrs.codec import load

        return load
    if name == "Envelope":
        from simplecqrs.envelope import Envelope

        return Envelope
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
