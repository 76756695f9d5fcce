"""What the operations page of the admin shows, read at a cost that has a bound and without waiting for a broker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from attrs import frozen
from django.utils import timezone
from django.utils.safestring import SafeString

from django_cqrs.brokers import broker_names
from django_cqrs.conf import settings
from django_cqrs.consumers import consumer_names
from django_cqrs.mediator import project_mediator
from django_cqrs.models import Saga, Tally
from django_cqrs.pausing import pauses
from django_cqrs.promises import UNKNOWN, promises
from django_cqrs.pulse_status import ConsumerStatus, FlowStatus, WorkerStatus
from django_cqrs.relay import aliases
from django_cqrs.saga_status import STUCK, trouble_of
from django_cqrs.sparkline import sparkline
from django_cqrs.status import QueueStatus, Status, read_status
from django_cqrs.storage import TableStatus
from django_cqrs.tallies import EVER, an_hour_ago
from simplecqrs.letters import cause_of
from simplecqrs.queue import DATABASE, DEFERRED, SAGAS

__all__ = ["ConsumerLine", "Operations", "QueueLine", "RouteLine", "StuckSaga", "WorkerLine", "read_operations"]

#: Sagas that wait for a person and are named, of each status and alias.
NAMED = 3
#: Tables whose sizes are told, of each alias.
LARGEST = 5
#: Minutes of a sparkline; the one that has just begun is left out.
MINUTES = 60
#: What is counted as done, of either box.
DONE = ("published", "handled")
#: What the acknowledgements of brokers mean.
WORTH = {
    "stored": "stored: it survives a restart of the broker",
    "memory": "in memory: a crash of the broker may lose it",
    "none": "nothing: nobody keeps it",
}
#: A queue: alias, box, name.
Place = tuple[str, str, str]


@frozen
class QueueLine:
    """A queue: what waits there, if anything does, and what went through in the last hour, if anything did."""

    database: str
    box: str
    queue: str
    waits: QueueStatus | None
    flow: FlowStatus | None
    spark: SafeString


@frozen
class RouteLine:
    """
    A broker on an alias, what is routed to it, and how it goes.

    Args:
        worth: what its acknowledgement is worth.
        topics: the patterns of ROUTES that lead to it.
        is_known: whether it could be asked.
        workers: how many relays are alive.
        breaker: for what they pause; empty: they do not.
    """

    broker: str
    topics: Sequence[str]
    worth: str
    is_known: bool
    workers: int
    breaker: str


@frozen
class ConsumerLine:
    """
    A consumer, and how far it is behind.

    Args:
        source: the broker that it reads from.
        trouble: why it does not work as it should; empty: it does.
    """

    found: ConsumerStatus
    source: str
    waits: QueueStatus | None
    trouble: str


@frozen
class WorkerLine:
    """A job, by whom it is done, who of them has fallen silent, and for what it pauses."""

    job: str
    alive: Sequence[WorkerStatus]
    silent: Sequence[WorkerStatus]
    troubles: Sequence[str]

    @property
    def slowest(self) -> float:
        """Return the longest time that one of them has been in a step, in seconds."""
        return max((worker.age for worker in self.alive), default=0.0)


@frozen
class StuckSaga:
    """A saga that waits for a person."""

    database: str
    id: str
    saga: str
    status: str
    trouble: str


@frozen
class Operations:
    """All of it."""

    status: Status
    queues: Sequence[QueueLine]
    routes: Sequence[RouteLine]
    consumers: Sequence[ConsumerLine]
    workers: Sequence[WorkerLine]
    stuck: Sequence[StuckSaga]
    storage: Sequence[TableStatus]
    several: bool


def read_operations() -> Operations:
    """Read all that the page shows."""
    said = promises(broker_names())
    status = read_status(promise=said.__getitem__)
    waiting: dict[Place, QueueStatus] = {(q.database, q.box, q.queue): q for q in status.queues}
    return Operations(
        status=status,
        queues=list(_queues(status, waiting)),
        routes=list(_routes(status, said)),
        consumers=list(_consumers(status, waiting)),
        workers=list(_workers(status)),
        stuck=[saga for alias in aliases() for saga in _stuck(alias)],
        storage=[table for alias in aliases() for table in _largest(status, alias)],
        several=len(aliases()) > 1,
    )


def _queues(status: Status, waiting: Mapping[Place, QueueStatus]) -> Iterator[QueueLine]:
    flows = {(flow.database, flow.box, flow.queue): flow for flow in status.flows}
    now = timezone.now()
    minutes = {alias: _minutes(alias, now) for alias in aliases()}
    for place in sorted({*waiting, *flows}, key=lambda place: (place[0], place[1] != "outbox", place[2])):
        database, *where = place
        numbers = minutes[database].get(tuple(where), [])
        said = f"messages done in each minute of the last hour, {max(numbers, default=0):,} at most"
        spark = sparkline(numbers, title=said) if numbers else SafeString("")
        yield QueueLine(*place, waiting.get(place), flows.get(place), spark)


def _minutes(alias: str, now: datetime) -> dict[tuple[str, ...], list[int]]:
    """Return how much was done in each minute of the last hour, the earliest first."""
    since = an_hour_ago(now)
    found: dict[tuple[str, ...], list[int]] = {}
    until = min(since + timedelta(minutes=MINUTES), EVER)
    rows = Tally.objects.using(alias).filter(minute__gte=since, minute__lt=until, what__in=DONE)
    for minute, box, queue, number in rows.values_list("minute", "box", "queue", "number"):
        numbers = found.setdefault((box, queue), [0] * MINUTES)
        numbers[int((minute - since).total_seconds()) // 60] += number
    return found


def _routes(status: Status, said: Mapping[str, str]) -> Iterator[RouteLine]:
    found = settings()
    for name in broker_names():
        topics = [pattern for pattern, names in found.routes.items() if name in names]
        if name == DATABASE:
            topics += ["domain events", "what no pattern fits" if found.routes else "everything else"]
        there = [w for w in status.workers if w.alive and (w.box, w.queue) == ("outbox", name)]
        yield RouteLine(
            broker=name,
            topics=topics,
            worth=WORTH.get(said[name], said[name]),
            is_known=not said[name].startswith(UNKNOWN),
            workers=len(there),
            breaker="; ".join(dict.fromkeys(cause_of(worker.trouble) for worker in there if worker.trouble)),
        )


def _consumers(status: Status, waiting: Mapping[Place, QueueStatus]) -> Iterator[ConsumerLine]:
    paused = {(alias, pause.queue): pause.error for alias in aliases() for pause in pauses(alias, "inbox")}
    for found in status.consumers:
        there = [w for w in status.workers if w.alive and w.trouble and w.box == "inbox" and w.queue == found.name]
        pause = paused.get((found.database, found.name))
        troubles = ([f"pauses: {cause_of(pause)}"] if pause else []) + [cause_of(worker.trouble) for worker in there]
        yield ConsumerLine(
            found=found,
            source="this project" if found.name in {DEFERRED, SAGAS} else found.broker,
            waits=waiting.get((found.database, "inbox", found.name)),
            trouble="; ".join(dict.fromkeys(troubles)),
        )
    known = consumer_names(project_mediator())
    for (database, box, queue), waits in waiting.items():
        if box == "inbox" and queue not in known:
            gone = ConsumerStatus(queue, database, "", "", 0, 0, 0)
            yield ConsumerLine(gone, "", waits, "it has no handler any more")


def _workers(status: Status) -> Iterator[WorkerLine]:
    for job in dict.fromkeys(worker.job for worker in status.workers):
        doing = [worker for worker in status.workers if worker.job == job]
        alive = [worker for worker in doing if worker.alive]
        troubles = dict.fromkeys(cause_of(worker.trouble) for worker in alive if worker.trouble)
        yield WorkerLine(job, alive, [worker for worker in doing if not worker.alive], [*troubles])


def _largest(status: Status, alias: str) -> list[TableStatus]:
    """Return the size of a database, and of our largest tables there."""
    return [table for table in status.storage if table.database == alias][: 1 + LARGEST]


def _stuck(alias: str) -> Iterator[StuckSaga]:
    """Name those that were left to a person for longest."""
    for status in STUCK:
        found = Saga.objects.using(alias).filter(status=status).order_by("created_at")
        for row in found.only("id", "saga", "error", "progress", "status")[:NAMED]:
            yield StuckSaga(alias, str(row.id), row.saga, row.status, trouble_of(row))
