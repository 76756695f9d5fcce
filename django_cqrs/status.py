"""The state of all queues, for people and for monitoring, at a cost that does not grow with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from attrs import field, frozen

from django_cqrs.alarms import Limits, alarms_of, crowds_of
from django_cqrs.brokers import broker_names
from django_cqrs.causes import count_causes
from django_cqrs.inspection import DjangoInspection
from django_cqrs.promises import UNKNOWN, ask
from django_cqrs.pulse_status import (
    ConsumerStatus,
    FlowStatus,
    WorkerStatus,
    consumers_of,
    flows_of,
    pulse_alarms,
    workers_of,
)
from django_cqrs.relay import aliases
from django_cqrs.saga_status import SagaCount, saga_alarms, saga_counts
from django_cqrs.storage import TableStatus, read_storage, storage_alarms
from simplecqrs.letters import BlockedKey
from simplecqrs.queue import Box

__all__ = ["BrokerStatus", "CauseStatus", "KeyStatus", "QueueStatus", "Status", "read_status"]

#: Causes and keys that are told.
CAUSES, KEYS = 5, 5


@frozen
class QueueStatus:
    """
    How much waits in one queue; numbers stop at 10,001.

    Args:
        oldest: seconds that the first one has waited.
        next_due: seconds until the next scheduled one is due.
    """

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
class CauseStatus:
    """What many dead letters died of; of the newest 10,000 of each database."""

    database: str
    box: str
    queue: str
    cause: str
    count: int


@frozen
class KeyStatus:
    """A blocked key with many followers; ``since`` in seconds."""

    database: str
    box: Box
    queue: str
    topic: str
    key: str
    waiting: int
    since: float
    cause: str


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
    causes: list[CauseStatus] = field(factory=list[CauseStatus])
    keys: list[KeyStatus] = field(factory=list[KeyStatus])
    alarms: list[str] = field(factory=list[str])
    sagas: list[SagaCount] = field(factory=list[SagaCount])
    flows: list[FlowStatus] = field(factory=list[FlowStatus])
    workers: list[WorkerStatus] = field(factory=list[WorkerStatus])
    consumers: list[ConsumerStatus] = field(factory=list[ConsumerStatus])
    storage: list[TableStatus] = field(factory=list[TableStatus])


def read_status(limits: Limits | None = None, *, promise: Callable[[str], str] = ask) -> Status:
    """
    Read the state of all queues; brokers that are down are said to be so.

    Args:
        promise: tells what a broker's acknowledgement is worth.
    """
    found = {alias: DjangoInspection(alias) for alias in aliases()}
    backlogs = {alias: inspection.backlogs() for alias, inspection in found.items()}
    queues = [
        QueueStatus(alias, b.box, b.queue, b.pending, b.parked, b.blocked, b.dead, b.oldest, b.scheduled, b.next_due)
        for alias, each in backlogs.items()
        for b in each
    ]
    brokers = [BrokerStatus(name, promise(name)) for name in broker_names()]
    causes = sorted((cause for i in found.values() for cause in _causes(i)), key=lambda cause: -cause.count)
    crowds = {alias: crowds_of(inspection) for alias, inspection in found.items()}
    keys = sorted((key for i in found.values() for key in _keys(i, crowds[i.alias])), key=lambda key: -key.waiting)
    limits = limits or Limits()
    alarms = [alarm for alias, i in found.items() for alarm in alarms_of(i, backlogs[alias], limits, crowds[alias])]
    alarms += [alarm for alias in found for alarm in pulse_alarms(alias, backlogs[alias], limits)]
    alarms += [alarm for i in found.values() for alarm in saga_alarms(i, limits)]
    storage = [table for alias in found for table in read_storage(alias)]
    alarms += storage_alarms(storage, limits.full)
    silent = [b for b in brokers if b.promise.startswith(UNKNOWN)]
    alarms += [f"the broker {b.name!r} cannot be asked: {b.promise.removeprefix(UNKNOWN)}" for b in silent]
    sagas = [count for alias in found for count in saga_counts(alias)]
    flows = [flow for alias in found for flow in flows_of(alias)]
    there = {alias: workers_of(alias) for alias in found}
    consuming = [c for alias in found for c in consumers_of(alias, backlogs[alias], there[alias])]
    working = [worker for alias in found for worker in there[alias]]
    return Status(queues, brokers, causes[:CAUSES], keys[:KEYS], alarms, sagas, flows, working, consuming, storage)


def _causes(inspection: DjangoInspection) -> Iterator[CauseStatus]:
    causes, _ = count_causes(inspection.alias, most=CAUSES, named=False)
    for found in causes:
        yield CauseStatus(inspection.alias, found.box, found.queue, found.cause, found.count)


def _keys(inspection: DjangoInspection, crowds: Iterable[BlockedKey]) -> Iterator[KeyStatus]:
    """Tell which keys have followers."""
    for found in crowds:
        if found.key and found.waiting > 1:
            age = (inspection.now() - found.since).total_seconds()
            yield KeyStatus(
                inspection.alias, found.box, found.queue, found.topic, found.key, found.waiting, age, found.cause
            )
