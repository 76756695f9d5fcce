"""The state of all queues, for people and for monitoring, at a cost that does not grow with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from attrs import evolve, field, frozen

from django_cqrs.alarms import Limits, alarms_of, crowds_of
from django_cqrs.brokers import broker_names
from django_cqrs.causes import count_causes
from django_cqrs.inspection import DjangoInspection
from django_cqrs.places import SchemaPlace, places_of
from django_cqrs.positions import loss_alarms
from django_cqrs.probes import of_anything
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
from django_cqrs.schemas import has_tables
from django_cqrs.storage import TableStatus, read_storage, storage_alarms
from django_cqrs.totals import together
from simplecqrs.letters import BlockedKey
from simplecqrs.queue import Backlog, Box

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


@frozen
class _Here:
    """What there is to tell of one alias, or of a schema there, but for what processes and servers are about."""

    alias: str
    backlogs: Sequence[Backlog]
    queues: list[QueueStatus]
    causes: list[CauseStatus]
    keys: list[KeyStatus]
    sagas: list[SagaCount]
    alarms: list[str]


def read_status(
    limits: Limits | None = None, *, promise: Callable[[str], str] = ask, schemas: Sequence[str] = ()
) -> Status:
    """
    Read the state of all queues; brokers that are down are said to be so.

    Args:
        promise: tells what a broker's acknowledgement is worth.
        schemas: only these.  Default: all that have anything to tell.
    """
    limits = limits or Limits()
    here = [_read(place, limits) for place in places_of(aliases(), of_anything(), schemas)]
    brokers = [BrokerStatus(name, promise(name)) for name in broker_names()]
    homes = [alias for alias in aliases() if has_tables(alias)]
    backlogs = {alias: together(b for one in here if one.alias == alias for b in one.backlogs) for alias in homes}
    storage = [table for alias in homes for table in read_storage(alias)]
    there = {alias: workers_of(alias) for alias in homes}
    silent = [b for b in brokers if b.promise.startswith(UNKNOWN)]
    return Status(
        queues=[queue for one in here for queue in one.queues],
        brokers=brokers,
        causes=sorted((cause for one in here for cause in one.causes), key=lambda cause: -cause.count)[:CAUSES],
        keys=sorted((key for one in here for key in one.keys), key=lambda key: -key.waiting)[:KEYS],
        alarms=[
            *(alarm for one in here for alarm in one.alarms),
            *(alarm for alias in homes for alarm in pulse_alarms(alias, backlogs[alias], limits)),
            *(alarm for alias in homes for alarm in loss_alarms(alias)),
            *storage_alarms(storage, limits.full),
            *(f"the broker {b.name!r} cannot be asked: {b.promise.removeprefix(UNKNOWN)}" for b in silent),
        ],
        sagas=[count for one in here for count in one.sagas],
        flows=[flow for alias in homes for flow in flows_of(alias)],
        workers=[worker for alias in homes for worker in there[alias]],
        consumers=[c for alias in homes for c in consumers_of(alias, backlogs[alias], there[alias])],
        storage=storage,
    )


def _read(place: SchemaPlace, limits: Limits) -> _Here:
    with place.entered():
        found, where = DjangoInspection(place.alias), str(place)
        backlogs, crowds = found.backlogs(), crowds_of(found)
        return _Here(
            alias=place.alias,
            backlogs=backlogs,
            queues=[_queue(where, backlog) for backlog in backlogs],
            causes=[evolve(cause, database=where) for cause in _causes(found)],
            keys=[evolve(key, database=where) for key in _keys(found, crowds)],
            sagas=[evolve(count, database=where) for count in saga_counts(place.alias)],
            alarms=[
                alarm if place.schema is None else f"{where}: {alarm}"
                for alarm in (*alarms_of(found, backlogs, limits, crowds), *saga_alarms(found, limits))
            ],
        )


def _queue(where: str, b: Backlog) -> QueueStatus:
    return QueueStatus(where, b.box, b.queue, b.pending, b.parked, b.blocked, b.dead, b.oldest, b.scheduled, b.next_due)


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
