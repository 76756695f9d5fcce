"""What a person may do to a stored saga: cancel, pause, resume, retry, skip; each with who and why in its log."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from simplecqrs.errors import InvalidSaga, SagaNotFound
from simplecqrs.saga.adopting import saga_named
from simplecqrs.saga.amending import change_stored
from simplecqrs.saga.beginning import begin_again, note, undoing
from simplecqrs.saga.machine import found, go_on
from simplecqrs.saga.records import SETTLED, Progress, Record, Run

if TYPE_CHECKING:
    from simplecqrs.mediator import Mediator
    from simplecqrs.saga.definition import Saga

__all__ = ["cancel", "pause", "resume", "retry", "skip", "turn_back"]

#: Changes a record and returns what is to be run; None: it stays as it is.
Change = Callable[["Saga[Any]", Record], "list[Run] | None"]


def cancel(bus: Mediator, saga_id: UUID, *, who: str, why: str) -> None:
    """
    Undo what a saga has done so far; what is being called is waited for.

    Raises:
        InvalidSaga: if it has ended, or has passed its pivot, or if nobody knows whether a step happened that cannot
            be undone.
    """
    _change(bus, saga_id, "cancel", lambda saga, now: turn_back(saga, now, f"cancelled by {who}: {why}"), (who, why))


def pause(bus: Mediator, saga_id: UUID, *, who: str, why: str) -> None:
    """Let a saga rest when what is being called has ended; one that has ended already stays as it is."""

    def change(_: Saga[Any], record: Record) -> list[Run] | None:
        if record.paused or record.status in SETTLED:
            return None
        record.paused = True
        return []

    _change(bus, saga_id, "pause", change, (who, why))


def resume(bus: Mediator, saga_id: UUID, *, who: str, why: str) -> None:
    """Let a saga that rests go on; one that does not rest stays as it is."""

    def change(saga: Saga[Any], record: Record) -> list[Run] | None:
        if not record.paused:
            return None
        record.paused = False
        # What is begun has a message with the consumer; a second one does no harm.
        return found(saga, record, is_left=not bus.sagas.has_consumer) if not record.owner else []

    _change(bus, saga_id, "resume", change, (who, why))


def retry(bus: Mediator, saga_id: UUID, *, who: str, why: str, step: str | None = None) -> None:
    """
    Call again what was given up, or what nobody knows the outcome of; of all its steps, if none is named.

    Raises:
        InvalidSaga: if there is nothing of that kind.
    """

    def change(saga: Saga[Any], record: Record) -> list[Run]:
        names = _given_up(saga, record, step)
        if not names and (step is not None or record.status != "FAILED"):
            what = f"{step!r} of the saga" if step is not None else "nothing of the saga"
            raise InvalidSaga(
                f"{what} {saga_id} was {'not ' if step is not None else ''}given up: it is {record.status}"
            )
        for name in names:
            known = record.progress[name] = record.progress[name]._replace(phase="ready", failures=0, pause=0.0)
            if saga.by_name[name].waits is not None:
                begin_again(saga, record, saga.by_name[name], known.action)
        _go_on_from(saga, record)
        return found(saga, record, is_left=not bus.sagas.has_consumer)

    _change(bus, saga_id, "retry", change, (who, why))


def skip(bus: Mediator, saga_id: UUID, *, who: str, why: str, step: str) -> None:
    """
    Count a step that was given up, that waits, or that nobody knows the outcome of, as settled by hand.

    It is not undone later.

    Raises:
        InvalidSaga: if it is none of these.
    """

    def change(saga: Saga[Any], record: Record) -> list[Run]:
        given_up, was_failed = _given_up(saga, record, step), record.status == "FAILED"
        name = saga.step(step).name
        known = record.progress.get(name)
        if known is None or not (given_up or known.phase in ("waiting", "ready")):
            raise InvalidSaga(f"{step!r} of the saga {saga_id} was not given up: it is {record.status}")
        record.progress[name] = known._replace(phase="skipped", state=None)
        _go_on_from(saga, record)
        return found(saga, record) if was_failed else go_on(saga, record)

    _change(bus, saga_id, "skip", change, (who, why))


def turn_back(saga: Saga[Any], record: Record, why: str) -> list[Run]:
    """Turn a saga round for a reason that is none of its steps'; raises InvalidSaga as ``cancel`` does."""
    stuck = any(known.phase == "stuck" for known in record.progress.values())
    if record.status in SETTLED or record.status == "COMPENSATING" or stuck:
        cure = "; retry or skip what could not be undone" if stuck else ""
        raise InvalidSaga(f"the saga {record.id} is {record.status}; there is nothing to cancel{cure}")
    if record.position > saga.pivot:
        raise InvalidSaga(f"the saga {record.id} has passed its pivot: it only goes forward; retry or skip its step")
    for name, known in record.progress.items():
        may_have_happened = known.phase == "unknown" or (known.phase == "ready" and known.unknown)
        if may_have_happened and saga.by_name[name].undoes(known.action) is None:
            raise InvalidSaga(
                f"nobody knows whether {name!r} of the saga {record.id} happened, and it cannot be undone; look, and "
                "skip it or retry it"
            )
    was_failed = record.status == "FAILED"
    record.cancelled, record.paused, record.status = True, False, "RUNNING"
    record.error = record.error or why
    for name, known in record.progress.items():
        record.progress[name] = _dropped(known)
    return found(saga, record) if was_failed else go_on(saga, record)


def _dropped(known: Progress) -> Progress:
    """Return a step that is not begun any more; what may have happened is undone as well."""
    if known.phase not in ("ready", "waiting", "unknown"):
        return known
    return known._replace(phase="failed", unknown=known.unknown or known.phase == "unknown")


def _given_up(saga: Saga[Any], record: Record, step: str | None) -> list[str]:
    """Return the steps that wait for a person: what could not be undone, else what could not be done."""
    if step is not None and saga.knows(step) is None:
        raise InvalidSaga(f"{saga.name!r} has no step {step!r}; it has {', '.join(map(repr, saga.by_name))}")
    if record.status not in ("FAILED", "UNKNOWN"):
        return []
    phases = {name: known.phase for name, known in record.progress.items()}
    stuck = [name for name, phase in phases.items() if phase == "stuck"]
    forward = [
        name
        for name, phase in phases.items()
        if phase == "unknown" or (phase == "failed" and saga.index_of(saga.by_name[name]) > saga.pivot)
    ]
    return [name for name in stuck or forward if step is None or saga.knows(step) == name]


def _go_on_from(saga: Saga[Any], record: Record) -> None:
    """Let a saga that was given up go on in the direction in which it went."""
    back = any(undoing(known.action) for known in record.progress.values())
    record.status, record.recoveries = ("COMPENSATING" if back else "RUNNING"), 0
    if back:
        record.position = max(saga.index_of(saga.by_name[name]) for name in record.progress)
    elif not any(known.phase == "failed" for known in record.progress.values()):
        record.error = ""


def _change(bus: Mediator, saga_id: UUID, action: str, change: Change, person: tuple[str, str]) -> None:
    """Change a stored saga, with who and why in its log."""
    stored = bus.sagas.load(saga_id)
    if stored is None:
        raise SagaNotFound(f"there is no saga {saga_id}")
    saga = saga_named(bus, stored.saga)

    def noted(record: Record) -> list[Run] | None:
        note(record, "", action, "asked", error=person[1], who=person[0])
        return change(saga, record)

    change_stored(bus, saga, saga_id, noted)
