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
from simplecqrs.errors import CQRSError, OutcomeUnknown
from simplecqrs.handlers import Publish, SyncEventHandler, SyncRequestHandler, SyncStreamHandler
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
    Stream,
    Unset,
    message,
)
from simplecqrs.metadata import Metadata
from simplecqrs.pipeline import around
from simplecqrs.registry import Registry, handles

if TYPE_CHECKING:
    from simplecqrs.chains import NOT_MINE, NotMine, chain
    from simplecqrs.codec import load
    from simplecqrs.envelope import Envelope
    from simplecqrs.fallbacks import fallback
    from simplecqrs.saga import (
        NO_COMPENSATION,
        Parallel,
        Saga,
        SagaResult,
        Step,
        StepResult,
        SyncSagaStep,
        current_step,
        wait_for,
    )
    from simplecqrs.upcasting import upcasts

__all__ = [
    "NOT_MINE",
    "NO_COMPENSATION",
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
    "NotMine",
    "NotificationEvent",
    "OutcomeUnknown",
    "Parallel",
    "Publish",
    "Query",
    "Registry",
    "Retry",
    "Saga",
    "SagaResult",
    "Step",
    "StepResult",
    "Stream",
    "SyncEventHandler",
    "SyncRequestHandler",
    "SyncSagaStep",
    "SyncStreamHandler",
    "Unset",
    "around",
    "chain",
    "context",
    "current",
    "current_step",
    "fallback",
    "handles",
    "load",
    "message",
    "upcasts",
    "wait_for",
]


#: What a plain ``send`` does not need is imported at first use.
_LATE = {
    "NOT_MINE": "simplecqrs.chains",
    "NotMine": "simplecqrs.chains",
    "chain": "simplecqrs.chains",
    "fallback": "simplecqrs.fallbacks",
    "load": "simplecqrs.codec",
    "Envelope": "simplecqrs.envelope",
    "upcasts": "simplecqrs.upcasting",
    **dict.fromkeys(
        (
            "NO_COMPENSATION",
            "Parallel",
            "Saga",
            "SagaResult",
            "Step",
            "StepResult",
            "SyncSagaStep",
            "current_step",
            "wait_for",
        ),
        "simplecqrs.saga",
    ),
}


def __getattr__(name: str) -> Any:
    """Import what is asked for the first time."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_LATE[name]), name)
    return value
