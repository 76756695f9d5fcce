"""What went through lately and who works where, as lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django_cqrs.pulse_status import ConsumerStatus, FlowStatus, WorkerStatus

__all__ = ["consumer_lines", "flow_lines", "worker_lines"]

#: Processes that are named in a line.
NAMED = 5


def flow_lines(flows: Iterable[FlowStatus]) -> Iterator[str]:
    """Tell what each queue did in the last hour."""
    for flow in flows:
        critical = ""
        if flow.critical is not None:
            critical = f"; critical time {flow.critical:,.1f} s on average, {flow.longest or 0.0:,.1f} s at most"
        rest = f"{flow.received:,} came in, " if flow.received else ""  # what is stored here passes no door
        yield (
            f"last hour {flow.box} {flow.queue}: {flow.done:,} done, {rest}{flow.failed:,} failed, {flow.dead:,} dead"
            f"{critical}"
        )


def worker_lines(found: Iterable[WorkerStatus]) -> Iterator[str]:
    """Tell of each job who does it, and who has fallen silent."""
    jobs: dict[str, list[WorkerStatus]] = {}
    for worker in found:
        jobs.setdefault(worker.job, []).append(worker)
    for job, doing in jobs.items():
        alive, silent = [w for w in doing if w.alive], [w for w in doing if not w.alive]
        parts = [f"{len(alive)} alive ({_names(alive)})"] if alive else ["nobody is alive"]
        if silent:
            parts.append(f"{len(silent)} silent ({_names(silent)})")
        troubles = dict.fromkeys(f"PAUSED {w.trouble}" for w in alive if w.trouble)
        slow = max((w.age for w in alive), default=0.0)
        parts += [*troubles, *([f"in one step for {slow:,.0f} s"] if slow > 10 else [])]
        yield f"{job}: {'; '.join(parts)}"


def consumer_lines(found: Iterable[ConsumerStatus]) -> Iterator[str]:
    """Tell of each consumer how many of its lanes have work."""
    for consumer in found:
        yield (
            f"inbox {consumer.name}: {consumer.busy} of {consumer.lanes} lanes have work,"
            f" {_workers(consumer.workers)}; from {consumer.broker}, engine {consumer.engine}"
        )


def _workers(number: int) -> str:
    return "1 worker" if number == 1 else f"{number} workers"


def _names(found: list[WorkerStatus]) -> str:
    names = [_name(worker) for worker in found[:NAMED]]
    return ", ".join([*names, *(["..."] if len(found) > NAMED else [])])


def _name(worker: WorkerStatus) -> str:
    who = f"{worker.host} {worker.pid}" if worker.pid else f"{worker.host}, ticks"
    return who if worker.alive else f"{who} for {worker.silent:,.0f} s"
