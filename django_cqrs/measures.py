"""The metrics: what is measured, by what names, and how it is read from the database; adapters make the formats."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Final, Literal, NamedTuple

from attrs import frozen
from django.db import Error, close_old_connections
from django.utils import timezone

from django_cqrs.brokers import INBOXES, broker_names
from django_cqrs.consumers import consumer_names
from django_cqrs.mediator import project_mediator
from django_cqrs.pausing import pauses
from django_cqrs.relay import aliases
from django_cqrs.tallies import Flow, ever, lately
from django_cqrs.totals import backlogs_of, sagas_of_all
from django_cqrs.workers import WorkerState, workers
from simplecqrs.letters import Backlog

__all__ = ["MEASURES", "Measure", "Reader", "Sample", "reader"]

log = logging.getLogger("django_cqrs")

#: Seconds for which what was read is good: several metrics, and several who ask, make one reading.
GOOD = 1.0
#: Seconds that one who asks waits for another one's reading; whoever scrapes waits for ten.
PATIENCE = 8.0
#: The time of which the longest wait is told.
LATELY: Final = timedelta(minutes=5)
QUEUE, JOB = ("database", "box", "queue"), ("database", "job")


@frozen
class Measure:
    """
    One metric.

    Args:
        name: with underscores, without a prefix, and without what a format adds to it.
        kind: ``sums`` are a number and a sum of seconds.
        unit: as UCUM writes it.
        labels: the names of what tells its samples apart.
    """

    name: str
    kind: Literal["gauge", "counter", "sums"]
    unit: str
    labels: tuple[str, ...]
    help: str


class Sample(NamedTuple):
    """A value, and what tells it apart; ``number`` is how many things it is the sum of."""

    labels: tuple[str, ...]
    value: float
    number: int = 0


def _gauge(name: str, unit: str, text: str, labels: tuple[str, ...] = QUEUE) -> Measure:
    return Measure(name, "gauge", unit, labels, text)


#: Gauges that are read of a backlog.
BACKLOG: Final[Mapping[Measure, Callable[[Backlog], float]]] = {
    _gauge("pending_messages", "{message}", "Messages that wait and never failed, up to 10,001"): lambda b: b.pending,
    _gauge("oldest_pending_seconds", "s", "How long the oldest of them has waited"): lambda b: b.oldest or 0.0,
    _gauge("parked_messages", "{message}", "Messages that failed, or wait behind such a one"): lambda b: b.parked,
    _gauge("blocked_keys", "{key}", "Order keys that wait for a retry or for an operator"): lambda b: b.blocked,
    _gauge("dead_messages", "{message}", "Dead letters, up to 10,001"): lambda b: b.dead,
    _gauge("scheduled_messages", "{message}", "Messages that are not due yet"): lambda b: b.scheduled,
    _gauge("overdue_seconds", "s", "How long the first scheduled one has been due"): lambda b: max(
        0.0, -(b.next_due or 0.0)
    ),
}
#: Counters, by what is tallied.
COUNTED: Final[Mapping[str, Measure]] = {
    what: Measure(name, "counter", unit, QUEUE, text)
    for what, name, unit, text in (
        ("published", "published_messages", "{message}", "Events that a broker has accepted, or that had expired"),
        ("received", "received_messages", "{message}", "Messages that have passed the door of an inbox"),
        ("handled", "handled_messages", "{message}", "Messages whose handlers are done"),
        ("failed", "failed_attempts", "{attempt}", "Attempts that failed"),
        ("dead", "given_up_messages", "{message}", "Messages that were given up"),
        ("discarded", "discarded_messages", "{message}", "Messages that their policy dropped"),
        ("unclaimed", "unclaimed_messages", "{message}", "Messages that nobody handles, or has subscribed to"),
        ("expired", "expired_messages", "{message}", "Messages that came too late to be of use"),
        ("seen", "seen_messages", "{message}", "Messages that came a second time"),
        ("pauses", "pauses", "{pause}", "How often a consumer was stopped for a while"),
        ("awaited", "looks_for_release", "{look}", "How often a message was looked at that waits for another release"),
        ("wakeups", "wakeups", "{wakeup}", "How often a waiting loop was told of work"),
        ("lost", "losses", "{loss}", "How often something may have been lost on the way from a broker"),
        ("late", "late_rows", "{row}", "Rows that only the sweep found"),
        ("mismatch", "mismatched_messages", "{message}", "Messages with the id of another one"),
        ("outdated", "outdated_messages", "{message}", "Messages older than the memory of ids"),
    )
}
CRITICAL = Measure("critical_time_seconds", "sums", "s", QUEUE, "From when messages were stored until they were done")
LONGEST = _gauge("critical_time_max_seconds", "s", "The longest of these of the last five minutes")
ALIVE = _gauge("workers_alive", "{worker}", "Processes that do a job", JOB)
SILENT = _gauge("workers_silent", "{worker}", "Processes that did it, and have said nothing for a minute", JOB)
AGE = _gauge("loop_age_seconds", "s", "How long the slowest step that is being done has made no progress", JOB)
PAUSED = _gauge("paused", "{job}", "1 while a relay's breaker is open, or a consumer pauses", JOB)
SAGAS = _gauge("sagas", "{saga}", "Sagas in a status, up to 10,001", ("database", "status"))
UP = _gauge("up", "{database}", "1 if the database could be read", ("database",))
#: All of them.
MEASURES: Final = (
    *BACKLOG, *COUNTED.values(), CRITICAL, LONGEST, ALIVE, SILENT, AGE, PAUSED, SAGAS, UP,
)  # fmt: skip

Readings = Mapping[Measure, Sequence[Sample]]


class Reader:
    """
    Reads all that is measured, from the database, at a cost that has a bound.

    Args:
        seconds: for which what was read is good.
        patience: seconds to wait for somebody else's reading.
    """

    def __init__(self, seconds: float = GOOD, *, patience: float = PATIENCE) -> None:
        self._seconds = seconds
        self._patience = patience
        self._lock = threading.Lock()
        self._read: Readings = {}
        self._at = float("-inf")

    def read(self) -> Readings:
        """
        Return the samples of each metric; one reading at a time, and what was read a moment ago is good.

        While a reading hangs, others that are asked for do not: they tell that the databases could not be read.
        """
        if not self._lock.acquire(timeout=self._patience):
            log.warning("nothing can be measured: somebody has been reading for more than %g s", self._patience)
            return {measure: [] for measure in MEASURES} | {UP: [Sample((alias,), 0) for alias in aliases()]}
        try:
            if time.monotonic() - self._at >= self._seconds:
                self._read, self._at = _read(), time.monotonic()
            return self._read
        finally:
            self._lock.release()


#: Whoever asks in this process shares it.
reader = Reader()


def _read() -> Readings:
    found: dict[Measure, list[Sample]] = {measure: [] for measure in MEASURES}
    close_old_connections()  # as Django does around a request; here may be a thread of somebody else's
    for alias in aliases():
        try:
            samples = list(_of_alias(alias))
        except Error as error:
            log.warning("%r cannot be measured: %s", alias, error)
            samples = [(UP, Sample((alias,), 0))]
        for measure, sample in samples:
            found[measure].append(sample)
    close_old_connections()
    return found


def _of_alias(alias: str) -> Iterator[tuple[Measure, Sample]]:
    """Go through all samples of one database."""
    backlogs: dict[tuple[str, str], Backlog] = {(b.box, b.queue): b for b in backlogs_of(alias)}
    totals: dict[tuple[str, str], Flow] = {(flow.box, flow.queue): flow for flow in ever(alias)}
    for box, queue in sorted({*backlogs, *totals, *_known(alias)}):
        labels = (alias, box, queue)
        backlog = backlogs.get((box, queue), Backlog("inbox" if box == "inbox" else "outbox", queue, 0, 0, 0, 0))
        for measure, value in BACKLOG.items():
            yield measure, Sample(labels, value(backlog))
        flow = totals.get((box, queue))
        for what, measure in COUNTED.items():
            yield measure, Sample(labels, 0 if flow is None else flow.counts.get(what, 0))
        if flow is not None:
            yield CRITICAL, Sample(labels, flow.seconds, flow.done)
    for flow in lately(alias, timezone.now() - LATELY):
        yield LONGEST, Sample((alias, flow.box, flow.queue), flow.longest)
    yield from _of_jobs(alias)
    for status, count in sagas_of_all(alias).items():
        yield SAGAS, Sample((alias, status), count)
    yield UP, Sample((alias,), 1)


def _known(alias: str) -> Iterator[tuple[str, str]]:
    """Go through the queues that the project has; those that are empty have a 0, from which an increase is seen."""
    yield from (("outbox", name) for name in broker_names())
    if alias == INBOXES:
        yield from (("inbox", name) for name in consumer_names(project_mediator()))


def _of_jobs(alias: str) -> Iterator[tuple[Measure, Sample]]:
    jobs: dict[str, list[WorkerState]] = {}
    for state in workers(alias):
        jobs.setdefault(state.job, []).append(state)
    stopped = {f"consumer {row.queue}" for row in pauses(alias, "inbox")[:100]}
    for job in sorted({*jobs, *stopped}):
        there = jobs.get(job, [])
        alive = [state for state in there if state.is_alive]
        pausing = job in stopped or any(state.trouble for state in alive)
        yield ALIVE, Sample((alias, job), len(alive))
        yield SILENT, Sample((alias, job), len(there) - len(alive))
        yield AGE, Sample((alias, job), max((state.age for state in alive), default=0.0))
        yield PAUSED, Sample((alias, job), int(pausing))
