"""The state of all queues, for people and for monitoring."""

from __future__ import annotations

from attrs import frozen

from django_cqrs.brokers import broker, broker_names
from django_cqrs.inspection import DjangoInspection
from django_cqrs.relay import aliases
from simplecqrs.errors import CQRSError
from simplecqrs.queue import Box

__all__ = ["BrokerStatus", "QueueStatus", "Status", "read_status"]


@frozen
class QueueStatus:
    """How much waits in one queue; ``oldest`` and ``next_due`` are seconds, back and ahead of now."""

    database: str
    box: Box
    queue: str
    pending: int
    parked: int
    blocked: int
    dead: int
    oldest: float | None
    scheduled: int
    next_due: float | None


@frozen
class BrokerStatus:
    """What a broker's acknowledgement is worth, or why nobody knows."""

    name: str
    promise: str


@frozen
class Status:
    """All of it."""

    queues: list[QueueStatus]
    brokers: list[BrokerStatus]
    warnings: list[str]


def read_status() -> Status:
    """Read the state of all queues; brokers that are down are said to be so."""
    queues = [
        QueueStatus(alias, b.box, b.queue, b.pending, b.parked, b.blocked, b.dead, b.oldest, b.scheduled, b.next_due)
        for alias in aliases()
        for b in DjangoInspection(alias).backlogs()
    ]
    known = broker_names()
    warnings = [
        f"{q.pending + q.parked + q.scheduled:,} events wait for the broker {q.queue!r}, "
        "which is not in BROKERS any more"
        for q in queues
        if q.box == "outbox" and q.queue not in known
    ]
    return Status(queues, [BrokerStatus(name, _promise(name)) for name in known], warnings)


def _promise(name: str) -> str:
    try:
        return broker(name).promise
    except CQRSError as error:
        return f"not known: {error}"
