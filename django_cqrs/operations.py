"""What the operations page of the admin shows, read at a cost that has a bound and without waiting for a broker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from attrs import frozen

from django_cqrs.brokers import INBOXES, broker_names
from django_cqrs.conf import settings
from django_cqrs.consumers import consumer_names
from django_cqrs.mediator import project_mediator
from django_cqrs.models import Saga, Subscription
from django_cqrs.pausing import pauses
from django_cqrs.promises import UNKNOWN, promises
from django_cqrs.relay import aliases
from django_cqrs.saga_status import STUCK, trouble_of
from django_cqrs.status import QueueStatus, Status, read_status
from simplecqrs.letters import cause_of
from simplecqrs.queue import DATABASE, DEFERRED, LANES, SAGAS

__all__ = ["ConsumerLine", "Operations", "RouteLine", "StuckSaga", "read_operations"]

#: Sagas that wait for a person and are named, of each status and alias.
NAMED = 3
#: What the acknowledgements of brokers mean.
WORTH = {
    "stored": "stored: it survives a restart of the broker",
    "memory": "in memory: a crash of the broker may lose it",
    "none": "nothing: nobody keeps it",
}


@frozen
class RouteLine:
    """
    A broker, what is routed to it, and how it goes.

    Args:
        worth: what its acknowledgement is worth.
        topics: the patterns of ROUTES that lead to it.
        is_known: whether it could be asked.
    """

    broker: str
    topics: Sequence[str]
    worth: str
    is_known: bool
    queues: Sequence[QueueStatus]

    @property
    def oldest(self) -> float | None:
        """Return how many seconds the first event has waited for it."""
        return max((queue.oldest for queue in self.queues if queue.oldest is not None), default=None)

    @property
    def pending(self) -> int:
        """Return how many events wait for it."""
        return sum(queue.pending for queue in self.queues)


@frozen
class ConsumerLine:
    """
    A consumer, and how far it is behind.

    Args:
        paused: why it pauses as a whole; empty: it does not.
        is_gone: messages wait for it, and it has no handler any more.
    """

    name: str
    source: str
    engine: str
    lanes: int
    queues: Sequence[QueueStatus]
    paused: str = ""
    is_gone: bool = False

    @property
    def oldest(self) -> float | None:
        """Return how many seconds the first message has waited for it."""
        return max((queue.oldest for queue in self.queues if queue.oldest is not None), default=None)

    @property
    def pending(self) -> int:
        """Return how many messages wait for it."""
        return sum(queue.pending for queue in self.queues)


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
    routes: Sequence[RouteLine]
    consumers: Sequence[ConsumerLine]
    stuck: Sequence[StuckSaga]
    several: bool


def read_operations() -> Operations:
    """Read all that the page shows."""
    said = promises(broker_names())
    status = read_status(promise=said.__getitem__)
    return Operations(
        status=status,
        routes=list(_routes(status, said)),
        consumers=list(_consumers(status)),
        stuck=[saga for alias in aliases() for saga in _stuck(alias)],
        several=len(aliases()) > 1,
    )


def _routes(status: Status, said: Mapping[str, str]) -> Iterator[RouteLine]:
    found = settings()
    for name in broker_names():
        topics = [pattern for pattern, names in found.routes.items() if name in names]
        if name == DATABASE:
            topics += ["domain events", "what no pattern fits" if found.routes else "everything else"]
        promise = said[name]
        yield RouteLine(
            broker=name,
            topics=topics,
            worth=WORTH.get(promise, promise),
            is_known=not promise.startswith(UNKNOWN),
            queues=[queue for queue in status.queues if (queue.box, queue.queue) == ("outbox", name)],
        )


def _consumers(status: Status) -> Iterator[ConsumerLine]:
    known = consumer_names(project_mediator())
    lanes = dict(Subscription.objects.using(INBOXES).values_list("consumer", "lanes"))
    paused = {pause.queue: cause_of(pause.error) for alias in aliases() for pause in pauses(alias, "inbox")}
    waiting = [queue for queue in status.queues if queue.box == "inbox"]
    for name in dict.fromkeys([*known, *(queue.queue for queue in waiting)]):
        found = settings().consumer(name)
        yield ConsumerLine(
            name=name,
            source="this project" if name in {DEFERRED, SAGAS} else found.broker,
            engine=found.engine,
            lanes=LANES if name in {DEFERRED, SAGAS} else lanes.get(name, found.lanes),
            queues=[queue for queue in waiting if queue.queue == name],
            paused=paused.get(name, ""),
            is_gone=name not in known,
        )


def _stuck(alias: str) -> Iterator[StuckSaga]:
    """Name those that were left to a person for longest."""
    for status in STUCK:
        found = Saga.objects.using(alias).filter(status=status).order_by("created_at")
        for row in found.only("id", "saga", "error", "progress", "status")[:NAMED]:
            yield StuckSaga(alias, str(row.id), row.saga, row.status, trouble_of(row))
