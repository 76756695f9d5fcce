"""What went through lately and who works where, for people and for monitoring; no broker is asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta

from attrs import frozen
from django.utils import timezone

from django_cqrs.alarms import Limits
from django_cqrs.brokers import INBOXES
from django_cqrs.conf import settings
from django_cqrs.consumers import consumer_names
from django_cqrs.inbox import lanes_of
from django_cqrs.management.letters import count_of
from django_cqrs.mediator import project_mediator
from django_cqrs.tallies import Flow, an_hour_ago, lately
from django_cqrs.workers import FETCHER, TICKS, WorkerState, workers
from simplecqrs.letters import Backlog, cause_of

__all__ = ["ConsumerStatus", "FlowStatus", "WorkerStatus", "consumers_of", "flows_of", "pulse_alarms", "workers_of"]

#: The time over which the critical time is averaged for an alarm.
LATELY = timedelta(minutes=5)


@frozen
class FlowStatus:
    """
    What a queue did in the last hour.

    Args:
        done: messages that were shipped, or handled.
        received: messages that came in; of inboxes that are filled by fetchers or relays.
        failed: attempts.
        critical: seconds from when a message was stored until it was done, on average; None if none was done.
        longest: of these.
        counts: of all that was counted.
    """

    database: str
    box: str
    queue: str
    done: int
    received: int
    failed: int
    dead: int
    critical: float | None
    longest: float | None
    counts: Mapping[str, int]


@frozen
class WorkerStatus:
    """
    A job of a process.

    Args:
        pid: 0 for ticks of a task queue, or of cron.
        up: seconds since it began.
        silent: seconds since it has said anything.
        age: seconds that its step had made no progress then.
        trouble: for what it pauses.
    """

    database: str
    host: str
    pid: int
    job: str
    box: str
    queue: str
    alive: bool
    up: float
    silent: float
    age: float
    trouble: str


@frozen
class ConsumerStatus:
    """
    A consumer, where it works and how broadly.

    Args:
        lanes: of its inbox; so many messages can be worked at a time.
        busy: lanes in which something waits.
        workers: jobs of processes that work it and are alive.
    """

    name: str
    database: str
    broker: str
    engine: str
    lanes: int
    busy: int
    workers: int


def flows_of(alias: str) -> list[FlowStatus]:
    """Return what each queue of an alias did in the last hour."""
    return [_flow(alias, flow) for flow in lately(alias, an_hour_ago(timezone.now()))]


def _flow(alias: str, flow: Flow) -> FlowStatus:
    received, failed, dead = (flow.counts.get(what, 0) for what in ("received", "failed", "dead"))
    longest = flow.longest if flow.done else None
    return FlowStatus(
        alias, flow.box, flow.queue, flow.done, received, failed, dead, flow.critical, longest, flow.counts
    )


def workers_of(alias: str) -> list[WorkerStatus]:
    """Return who has worked on an alias in the last hour."""
    return [
        WorkerStatus(
            alias, w.host, w.pid, w.job, w.box, w.queue, w.is_alive, w.up, w.silent, w.age, w.trouble
        )
        for w in workers(alias)
    ]  # fmt: skip


def consumers_of(alias: str, backlogs: Iterable[Backlog], there: Sequence[WorkerStatus]) -> Iterator[ConsumerStatus]:
    """Go through the consumers that have an inbox on an alias: those of the project, or those that have rows there."""
    busy = {backlog.queue: backlog.lanes for backlog in backlogs if backlog.box == "inbox"}
    for name in consumer_names(project_mediator()):
        if alias == INBOXES or name in busy:
            working = [w for w in there if w.alive and w.job == f"consumer {name}"]
            found = settings().consumer(name)
            yield ConsumerStatus(
                name, alias, found.broker, found.engine, lanes_of(name, alias), busy.get(name, 0), len(working)
            )


def pulse_alarms(alias: str, backlogs: Iterable[Backlog], limits: Limits) -> Iterator[str]:
    """Tell of queues that nobody works, of who pauses, and of what takes too long."""
    states = workers(alias)
    for backlog in backlogs:
        yield from _unattended(backlog, states, limits)
    yield from _unfetched(states, limits)
    yield from dict.fromkeys(
        f"{state.job} ({state.who}) pauses: {cause_of(state.trouble)}"
        for state in states
        if state.is_alive and state.trouble
    )
    if limits.critical is not None:
        for flow in lately(alias, timezone.now() - LATELY):
            if flow.critical is not None and flow.critical > limits.critical:
                yield (
                    f"{flow.box} {flow.queue}: the critical time of the last five minutes is {flow.critical:,.1f} s; "
                    "more workers, or quicker handlers?"
                )


def _unfetched(states: Sequence[WorkerState], limits: Limits) -> Iterator[str]:
    """Tell of consumers to whom nobody brings anything any more: what waits for them does so in their broker."""
    jobs: dict[str, WorkerState] = {}
    for state in states:
        if state.box == "inbox" and state.job.startswith(FETCHER):
            jobs[state.job] = min(jobs.get(state.job, state), state, key=lambda one: one.silent)
    for job, last in jobs.items():
        # Ticks may come as seldom as somebody likes; a daemon that ends in order leaves no row.
        if last.pid != TICKS and last.silent > limits.silent:
            silent = f"{last.silent:,.0f} s"
            yield f"{job}: {last.who} has been silent for {silent}, and nobody else fetches for {last.queue}"


def _unattended(backlog: Backlog, states: Sequence[WorkerState], limits: Limits) -> Iterator[str]:
    """Tell of a queue that has work and no worker."""
    there = [state for state in states if state.works and (state.box, state.queue) == (backlog.box, backlog.queue)]
    if backlog.oldest is None or backlog.oldest <= limits.silent or any(s.silent <= limits.silent for s in there):
        return
    last = min(there, key=lambda state: state.silent, default=None)
    who = "nobody works there" if last is None else f"{last.who} has been silent for {last.silent:,.0f} s"
    yield f"{backlog.box} {backlog.queue}: {count_of(backlog.pending)} messages wait, and {who}"
