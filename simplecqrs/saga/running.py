"""Sagas run in the foreground: from their beginning, or from where somebody has left them; to the end, or watched."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from uuid import UUID, uuid4

from simplecqrs.backoff import Retry
from simplecqrs.errors import InvalidSaga, SagaBusy
from simplecqrs.log_fields import about_saga
from simplecqrs.metadata import uuid7
from simplecqrs.saga.adopting import adopt, carry, way_of
from simplecqrs.saga.beginning import note
from simplecqrs.saga.foreground import Foreground, finished
from simplecqrs.saga.heartbeat import lease_of
from simplecqrs.saga.kept import HERE
from simplecqrs.saga.machine import expired, found, go_on
from simplecqrs.saga.memory import MemorySagas, numbers
from simplecqrs.saga.operating import turn_back
from simplecqrs.saga.quick import begun_quickly, run_quickly
from simplecqrs.saga.records import ENDED, Record, Run
from simplecqrs.saga.results import SagaResult, StepResult

if TYPE_CHECKING:
    from simplecqrs.mediator import Mediator
    from simplecqrs.saga.definition import Saga

__all__ = ["Steps", "begun", "run", "taken_over"]

S = TypeVar("S")
#: A saga that is ours, and what is to be run of it; nothing: it stays as it is.
Taken = tuple[Record, "list[Run] | None"]

logger = logging.getLogger("simplecqrs.saga")


def run(bus: Mediator, saga: Saga[S], state: S, saga_id: UUID | None, patience: float) -> SagaResult[S]:
    """Run a saga as far as it can be run now."""
    sagas, way = bus.sagas, way_of(bus, saga)
    if saga.is_plain and type(sagas) is MemorySagas and (sketch := begun_quickly(saga, sagas, state, saga_id)):
        try:
            left_over = run_quickly(bus, way, sketch, sagas)
        except BaseException:
            sagas.release(sketch.id, HERE, due=0.0)
            raise
        if left_over is None:
            return SagaResult(sketch.id, "COMPLETED", sketch.state)
        record, runs, cause = left_over
        return Foreground(bus, saga, record, patience, cause).to_the_end(runs)
    record, left = begun(bus, saga, state, saga_id)
    return finished(record, None) if left is None else Foreground(bus, saga, record, patience).to_the_end(left)


def begun(bus: Mediator, saga: Saga[S], state: S, saga_id: UUID | None, *, ahead: bool = True) -> Taken:
    """
    Store a new saga that is ours; if there is one of its id, take that over.

    Args:
        ahead: whether each step follows at once on the one before.
    """
    way_of(bus, saga)  # or raise at once
    sagas = bus.sagas
    record = saga.new(saga_id or uuid7(), state)
    record.owner, record.ahead = _owner(bus), ahead
    carry(record)
    runs = go_on(saga, record)
    create = sagas.begin if isinstance(sagas, MemorySagas) else sagas.create
    if create(record, lease=lease_of(bus, saga)):
        return record, runs
    return taken_over(bus, saga, record.id, ahead=ahead)


def _owner(bus: Mediator) -> str:
    return f"here {next(numbers)}" if isinstance(bus.sagas, MemorySagas) else uuid4().hex


def taken_over(
    bus: Mediator, saga: Saga[Any], saga_id: UUID, *, take_overs: Retry | None = None, ahead: bool = True
) -> Taken:
    """
    Take a stored saga over that nobody works on; one that has ended, or waits, stays as it is.

    Args:
        take_overs: how often that may be done with one that does not go on; None: it is not counted.
        ahead: as in ``begun``.

    Raises:
        SagaNotFound: if there is none.
        SagaBusy: if somebody works on it.
        SagaChanged: if its definition does not fit it any more.
    """
    record = adopt(bus, saga, saga_id)
    if record.ended or _is_asleep(bus, record):
        return record, None
    owner = _owner(bus)
    if bus.sagas.claim(saga_id, owner, lease=lease_of(bus, saga)) is None:
        record = adopt(bus, saga, saga_id)
        if record.ended:  # just now
            return record, None
        raise SagaBusy(f"somebody else works on the saga {saga_id}; it can be taken over when their lease has ended")
    try:
        return _begun_again(bus, saga, saga_id, take_overs, ahead=ahead)
    except BaseException:
        bus.sagas.release(saga_id, owner, due=0.0)
        raise


def _begun_again(bus: Mediator, saga: Saga[Any], saga_id: UUID, take_overs: Retry | None, *, ahead: bool) -> Taken:
    record = adopt(bus, saga, saga_id)
    record.ahead = ahead
    if take_overs is not None and not record.paused:
        record.recoveries += 1
        if take_overs.exhausted(record.recoveries - 1):
            _give_up(bus, record, take_overs)
            return record, None
    runs = _to_do(bus, saga, record)
    bus.sagas.save(record, lease=lease_of(bus, saga))
    # Whoever has left it has waited until its next attempt was due, or somebody asks for it now.
    return record, [run._replace(pause=0.0) for run in runs]


def _give_up(bus: Mediator, record: Record, take_overs: Retry) -> None:
    record.status = "FAILED"
    text = f"it was taken over {take_overs.attempts} times, and did not go on"
    note(record, "", "recover", "failed", attempt=record.recoveries - 1, error=text)
    record.error = record.error or text
    bus.sagas.save(record, lease=None)


def _is_asleep(bus: Mediator, record: Record) -> bool:
    """Tell whether a saga rests, or waits for what has not come, and has time."""
    if record.paused and not record.owner:
        return True
    if record.status != "WAITING" or bus.sagas.overdue(record.id):
        return False
    waiting = [name for name, known in record.progress.items() if known.phase == "waiting"]
    return all(bus.sagas.arrived(record.id, name) is None for name in waiting)


def _to_do(bus: Mediator, saga: Saga[Any], record: Record) -> list[Run]:
    """Go on with what was begun, or give up a step whose time to wait is over, if its event has not come after all."""
    if record.status == "WAITING" and not record.paused:
        for name in bus.sagas.overdue(record.id):
            known = saga.knows(name)
            if known is not None and bus.sagas.arrived(record.id, name) is None:
                return expired(saga, record, saga.by_name[known])
    return found(saga, record)


class Steps(Generic[S]):
    """
    What ``saga.steps`` returns: iterates over the calls of a saga's steps, and runs it by that.

    Attributes:
        saga_id: the saga's.
        result: where it is, when all was iterated over, or the body of the ``with`` statement has failed.
    """

    def __init__(self, bus: Mediator, saga: Saga[S], state: S, saga_id: UUID | None, patience: float) -> None:
        self._bus = bus
        self._saga = saga
        self._patience = patience
        self.saga_id = saga_id or uuid7()
        self.result: SagaResult[S] | None = None
        self._calls = self._run(state)

    def __iter__(self) -> Iterator[StepResult[S]]:
        return self

    def __next__(self) -> StepResult[S]:
        return next(self._calls)

    def __enter__(self) -> Steps[S]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        if isinstance(error, Exception):
            try:
                self._undo(error)
            except Exception:
                logger.exception("the saga %s could not be undone", self.saga_id, extra=about_saga(self.saga_id))

    def close(self) -> None:
        """Let go of the saga: it goes on when somebody runs it again, or recovers it."""
        self._calls.close()

    def _run(self, state: S) -> Generator[StepResult[S], None, None]:
        record, runs = begun(self._bus, self._saga, state, self.saga_id, ahead=False)
        if runs is None:
            self.result = finished(record, None)
            return
        self.result = yield from Foreground(self._bus, self._saga, record, self._patience).steps(runs)

    def _undo(self, error: Exception) -> None:
        """Undo what was done, since whoever watches has failed; after the pivot it goes on when it is recovered."""
        record = self._bus.sagas.load(self.saga_id)
        if record is None or record.status in ENDED:
            return
        record, runs = taken_over(self._bus, self._saga, self.saga_id, ahead=False)
        if runs is None:
            return
        try:
            runs = turn_back(self._saga, record, f"{type(error).__name__}: {error}")
        except InvalidSaga:
            self._bus.sagas.release(record.id, record.owner, due=0.0)
            return
        self._bus.sagas.save(record, lease=lease_of(self._bus, self._saga))
        self.result = Foreground(self._bus, self._saga, record, self._patience).to_the_end(runs)
