"""A saga run in this thread, which holds it by a lease."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from uuid import UUID, uuid4

from simplecqrs.errors import SagaBusy
from simplecqrs.metadata import uuid7
from simplecqrs.saga.adopting import adopt, carry
from simplecqrs.saga.heartbeat import beating
from simplecqrs.saga.machine import begin_ready, found, go_on
from simplecqrs.saga.performing import assign, loaded, perform
from simplecqrs.saga.records import Record, Run
from simplecqrs.saga.results import SagaResult, StepResult
from simplecqrs.saga.waiting import take_early
from simplecqrs.workers import Raised, Workers

if TYPE_CHECKING:
    from simplecqrs.mediator import Mediator
    from simplecqrs.saga.definition import Saga

__all__ = ["Foreground", "finished", "run", "to_the_end", "watched"]

S = TypeVar("S")


def run(bus: Mediator, saga: Saga[S], state: S, saga_id: UUID | None, patience: float) -> SagaResult[S]:
    """Run a saga as far as it can be run now."""
    return to_the_end(watched(bus, saga, state, saga_id, patience))


def to_the_end(steps: Generator[object, None, SagaResult[S]]) -> SagaResult[S]:
    """Return what is left when nobody watches."""
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            return ended.value  # type: ignore[no-any-return]


def watched(
    bus: Mediator, saga: Saga[S], state: S, saga_id: UUID | None, patience: float
) -> Generator[StepResult[S], None, SagaResult[S]]:
    """Run a saga step by step, from its beginning or from where it is."""
    record = saga.new(saga_id or uuid7(), state)
    record.owner = uuid4().hex
    carry(record)
    runs = go_on(saga, record)
    if bus.sagas.create(record, lease=saga.lease):
        return (yield from Foreground(bus, saga, record, patience).steps(runs))
    return (yield from resumed(bus, saga, record.id, patience))


def resumed(
    bus: Mediator, saga: Saga[S], saga_id: UUID, patience: float
) -> Generator[StepResult[S], None, SagaResult[S]]:
    """
    Go on with a stored saga that nobody works on; one that has ended, or waits, stays as it is.

    Raises:
        SagaBusy: if somebody works on it.
        SagaChanged: if its definition does not fit it any more.
    """
    record = adopt(bus, saga, saga_id)
    if record.ended or record.paused or record.status == "WAITING":
        return finished(record, None)
    claimed = bus.sagas.claim(saga_id, uuid4().hex, lease=saga.lease)
    if claimed is None:
        raise SagaBusy(f"somebody else works on the saga {saga_id}; it can be taken over when their lease has ended")
    record = adopt(bus, saga, saga_id)
    runs = found(saga, record)
    bus.sagas.save(record, lease=saga.lease)
    return (yield from Foreground(bus, saga, record, patience).steps(runs))


class Foreground:
    """
    Whoever runs a saga that is theirs.

    Args:
        record: its owner is the lease's.
        patience: seconds to wait in all for what is due later.
    """

    def __init__(self, bus: Mediator, saga: Saga[Any], record: Record, patience: float) -> None:
        self._bus = bus
        self._saga = saga
        self._record = record
        self._patience = patience
        self._cause: Exception | None = None

    def steps(self, runs: Sequence[Run]) -> Generator[StepResult[Any], None, SagaResult[Any]]:
        """Do what is to be run, until there is nothing more; what is closed early is let go of."""
        record, due = self._record, 0.0
        try:
            with beating(self._bus, record.id, record.owner, self._saga.lease):
                while runs := [*runs] or take_early(self._bus, self._saga, record, self._store):
                    if not runs[0].begun and not self._waited(runs):
                        due = min(run.pause for run in runs)
                        break
                    results, runs = self._do(runs)
                    yield from results
        finally:
            if not record.ended:  # one that waits is held if its event has come, and was not taken here
                self._bus.sagas.release(record.id, record.owner, due=None if record.paused else due)
        return finished(record, self._cause)

    def _waited(self, runs: Sequence[Run]) -> bool:
        """Wait until what is ready may be begun; False: that would take too long, or it is to rest."""
        pause = max(run.pause for run in runs)
        if pause > self._patience or self._record.paused:
            return False
        self._patience -= pause
        time.sleep(pause)
        return True

    def _do(self, runs: Sequence[Run]) -> tuple[list[StepResult[Any]], list[Run]]:
        if len(runs) == 1:
            result, next_runs = self._call(self._record, runs[0])
            return [result], next_runs
        return self._do_all(runs)

    def _do_all(self, runs: Sequence[Run]) -> tuple[list[StepResult[Any]], list[Run]]:
        """Do several at the same time, each on a copy of the record, which it brings up to date when it stores."""
        threads = len(runs) if self._bus.sagas.parallel else 1
        calls = [partial(self._alone, run) for run in runs]
        outcomes = Workers(threads, self._bus.in_thread).run(calls, stop=False)
        for outcome in outcomes:
            if isinstance(outcome, Raised):
                raise outcome.error
        assign(self._record, loaded(self._bus, self._saga, self._record))
        return [result for result, _ in outcomes], [run for _, following in outcomes for run in following]

    def _alone(self, run: Run) -> tuple[StepResult[Any], list[Run]]:
        return self._call(loaded(self._bus, self._saga, self._record), run)

    def _call(self, record: Record, run: Run) -> tuple[StepResult[Any], list[Run]]:
        if not run.begun:
            run = begin_ready(record, self._saga.by_name[run.step])
            self._store(record, [])
        runs, error = perform(self._bus, self._saga, record, run, self._store)
        if error is not None and not run.action.startswith("undo"):
            self._cause = self._cause or error
        status: Literal["completed", "failed"] = "completed" if error is None else "failed"
        return StepResult(record.id, run.step, run.action, status, run.attempt, record.state, error), runs

    def _store(self, record: Record, _: Sequence[Run]) -> None:
        self._bus.sagas.save(record, lease=self._saga.lease)


def finished(record: Record, cause: Exception | None) -> SagaResult[Any]:
    """Return where a saga is now."""
    failed = record.status != "COMPLETED"
    return SagaResult(record.id, record.status, record.state, record.error if failed else "", cause if failed else None)
