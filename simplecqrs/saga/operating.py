"""What a person may do to a stored saga: cancel, pause, resume, retry, skip; each with who and why in its log."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from simplecqrs.errors import InvalidSaga, SagaMovedOn, SagaNotFound
from simplecqrs.saga.adopting import adopt, saga_named
from simplecqrs.saga.machine import found, go_on, note, undoing
from simplecqrs.saga.records import Record, Run

if TYPE_CHECKING:
    from simplecqrs.mediator import Mediator
    from simplecqrs.saga.definition import Saga

__all__ = ["cancel", "pause", "resume", "retry", "skip"]

#: How often somebody who has just changed a saga is given way to.
TRIES = 10

Change = Callable[["Saga[Any]", Record], list[Run]]


def cancel(bus: Mediator, saga_id: UUID, *, who: str, why: str) -> None:
    """
    Undo what a saga has done so far; what is being called is waited for.

    Raises:
        InvalidSaga: if it has ended, or has passed its pivot.
    """

    def change(saga: Saga[Any], record: Record) -> list[Run]:
        if record.status in ("COMPLETED", "COMPENSATED", "CANCELLED", "COMPENSATING"):
            raise InvalidSaga(f"the saga {saga_id} is {record.status}; there is nothing to cancel")
        if record.position > saga.pivot:
            raise InvalidSaga(f"the saga {saga_id} has passed its pivot: it only goes forward; retry or skip its step")
        record.cancelled, record.paused, record.status = True, False, "RUNNING"
        record.error = record.error or f"cancelled by {who}: {why}"
        for name, known in record.progress.items():
            if known.phase in ("ready", "waiting", "unknown", "failed"):
                # What may have happened is undone as well.
                record.progress[name] = known._replace(
                    phase="failed", unknown=known.unknown or known.phase == "unknown"
                )
        return go_on(saga, record)

    _change(bus, saga_id, "cancel", change, who=who, why=why)


def pause(bus: Mediator, saga_id: UUID, *, who: str, why: str) -> None:
    """Let a saga rest when what is being called has ended; one that has ended already stays as it is."""

    def change(_: Saga[Any], record: Record) -> list[Run]:
        record.paused = True
        return []

    _change(bus, saga_id, "pause", change, who=who, why=why)


def resume(bus: Mediator, saga_id: UUID, *, who: str, why: str) -> None:
    """Let a saga that rests go on; one that does not rest stays as it is."""

    def change(saga: Saga[Any], record: Record) -> list[Run]:
        if not record.paused:
            return []
        record.paused = False
        # What is begun has a message with the consumer; a second one does no harm.
        return found(saga, record, is_left=not bus.sagas.has_consumer) if not record.owner else []

    _change(bus, saga_id, "resume", change, who=who, why=why)


def retry(bus: Mediator, saga_id: UUID, *, who: str, why: str, step: str | None = None) -> None:
    """
    Call again what was given up, or what nobody knows the outcome of; of all its steps, if none is named.

    Raises:
        InvalidSaga: if there is nothing of that kind.
    """

    def change(saga: Saga[Any], record: Record) -> list[Run]:
        again = _given_up(saga, record, step, f"nothing of the saga {saga_id} was given up")
        for name in again:
            known = record.progress[name]
            record.progress[name] = known._replace(phase="ready", failures=0, pause=0.0)
        stuck = any(undoing(record.progress[name].action) for name in again)
        record.status, record.recoveries = ("COMPENSATING" if stuck else "RUNNING"), 0
        record.position = max(saga.index_of(saga.by_name[name]) for name in record.progress)
        return found(saga, record, is_left=not bus.sagas.has_consumer)

    _change(bus, saga_id, "retry", change, who=who, why=why)


def skip(bus: Mediator, saga_id: UUID, *, who: str, why: str, step: str) -> None:
    """
    Count a step that was given up, that waits, or that nobody knows the outcome of, as settled by hand.

    It is not undone later.

    Raises:
        InvalidSaga: if it is none of these.
    """

    def change(saga: Saga[Any], record: Record) -> list[Run]:
        [name] = _given_up(saga, record, step, f"{step!r} of the saga {saga_id} was not given up", waiting=True)
        stuck = undoing(record.progress[name].action)
        record.progress[name] = record.progress[name]._replace(phase="skipped")
        record.status, record.recoveries = ("COMPENSATING" if stuck else "RUNNING"), 0
        return go_on(saga, record)

    _change(bus, saga_id, "skip", change, who=who, why=why)


def _given_up(saga: Saga[Any], record: Record, step: str | None, complaint: str, *, waiting: bool = False) -> list[str]:
    if step is not None and saga.knows(step) is None:
        raise InvalidSaga(f"{saga.name!r} has no step {step!r}; it has {', '.join(map(repr, saga.by_name))}")
    phases = {"unknown", "stuck"}
    if record.status == "FAILED":
        phases.add("failed")
    if waiting:
        phases |= {"waiting", "ready"}
    found_here = [
        name
        for name, known in record.progress.items()
        if known.phase in phases and (step is None or saga.step(step).name == name)
    ]
    if not found_here:
        raise InvalidSaga(f"{complaint}: it is {record.status}")
    return found_here


def _change(bus: Mediator, saga_id: UUID, action: str, change: Change, *, who: str, why: str) -> None:
    """Change a stored saga, and have done later what follows from that; give way to whoever has just changed it."""
    for tries in range(1, TRIES + 1):
        stored = bus.sagas.load(saga_id)
        if stored is None:
            raise SagaNotFound(f"there is no saga {saga_id}")
        saga = saga_named(bus, stored.saga)
        record = adopt(bus, saga, saga_id, lock=True)
        record.ahead = bus.sagas.has_consumer
        note(record, "", action, "asked", error=why, who=who)
        runs = change(saga, record)
        try:
            bus.sagas.save(record, lease=saga.lease if record.owner else None)
        except SagaMovedOn:
            if tries == TRIES:
                raise
            continue
        bus.sagas.later(record, runs)
        return
