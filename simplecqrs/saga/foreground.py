"""A saga run in this thread, which holds it by a lease."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from simplecqrs.errors import SagaMovedOn
from simplecqrs.log_fields import about_saga
from simplecqrs.saga.beginning import begin_ready, is_current, undoing
from simplecqrs.saga.heartbeat import beating, lease_of
from simplecqrs.saga.machine import found
from simplecqrs.saga.performing import assign, changing, loaded, perform
from simplecqrs.saga.records import Record, Run
from simplecqrs.saga.results import SagaResult, StepResult
from simplecqrs.saga.waiting import take_early
from simplecqrs.workers import Raised, Workers

if TYPE_CHECKING:
    from simplecqrs.mediator import Mediator
    from simplecqrs.saga.definition import Saga

__all__ = ["Foreground", "finished"]

S = TypeVar("S")

logger = logging.getLogger("simplecqrs.saga")


class Foreground(Generic[S]):
    """
    Whoever runs a saga that is theirs.

    Args:
        record: its owner is the lease's.
        patience: seconds to wait in all for what is due later.
        cause: what has failed first, if that was before.
    """

    def __init__(
        self, bus: Mediator, saga: Saga[S], record: Record, patience: float, cause: Exception | None = None
    ) -> None:
        self._bus = bus
        self._saga = saga
        self._record = record
        self._owner = record.owner
        self._lease = lease_of(bus, saga)
        self._patience = patience
        self._left = False
        self._cause = cause
        self._watched: list[StepResult[S]] | None = None

    def to_the_end(self, runs: Sequence[Run]) -> SagaResult[S]:
        """Do what is to be run, until there is nothing more."""
        record = self._record
        try:
            with beating(self._bus, record.id, self._owner, self._lease):
                while runs := runs or self._more():
                    runs = self._turn(runs)
        except BaseException:
            self._let_go()
            raise
        return finished(record, self._cause)

    def steps(self, runs: Sequence[Run]) -> Generator[StepResult[S], None, SagaResult[S]]:
        """Do the same, and show each call of a step; what is closed early is let go of."""
        record, self._watched = self._record, []
        try:
            with beating(self._bus, record.id, self._owner, self._lease):
                while runs := runs or self._more():
                    runs = self._turn(runs)
                    shown, self._watched = self._watched, []
                    yield from shown
        except BaseException:
            self._let_go()
            raise
        return finished(record, self._cause)

    def _turn(self, runs: Sequence[Run]) -> Sequence[Run]:
        """Do what is to be run now, and return what is next."""
        if len(runs) == 1 and runs[0].begun:
            return self._call(self._record, runs[0])
        now = [run for run in runs if run.begun or run.pause <= 0]
        if not now:
            return self._wait(runs)
        later = [run for run in runs if run not in now]
        if len(now) == 1:
            return [*self._call(self._record, now[0]), *later]
        following = [*self._call_all(now), *later]
        return [run for run in following if is_current(self._record, run)]

    def _wait(self, runs: Sequence[Run]) -> Sequence[Run]:
        """Wait until the first of what is ready may be begun; what would take too long is left to others."""
        pause = min(run.pause for run in runs)
        if pause > self._patience:
            self._leave(due=pause)
            return []
        self._patience -= pause
        time.sleep(pause)
        return [run._replace(pause=run.pause - pause) for run in runs]

    def _more(self) -> Sequence[Run]:
        """Return what is to be run when there seems to be nothing; nothing: that is all."""
        record = self._record
        if record.ended or self._left:
            return []
        if record.status == "WAITING":
            return self._take_early()
        try:
            return self._rest() if record.paused else self._found()
        except SagaMovedOn:  # a person may have changed it
            self._read_again()
            return self._more()

    def _found(self) -> Sequence[Run]:
        """Return what a person, or an event, has left for us to do."""
        with changing(self._bus):
            runs = found(self._saga, self._record)
            if runs:
                self._store(self._record, [])
                return runs
        self._leave(due=0.0)
        return runs

    def _rest(self) -> Sequence[Run]:
        self._record.owner = ""
        self._bus.sagas.save(self._record, lease=None)
        self._left = True
        return []

    def _take_early(self) -> Sequence[Run]:
        """Take what came before a step waited for it; else the saga is nobody's until it comes."""
        try:
            with changing(self._bus):
                runs = take_early(self._bus, self._saga, self._record, self._store_as_ours)
        except SagaMovedOn:  # it came just now, and whoever handed it in has gone on
            assign(self._record, loaded(self._bus, self._saga, self._record))
            self._left = True
            return []
        return runs if runs or self._record.status == "WAITING" else self._more()

    def _call_all(self, runs: Sequence[Run]) -> list[Run]:
        """Do several at the same time, each on a copy of the record, which it brings up to date when it stores."""
        threads = len(runs) if self._bus.sagas.parallel else 1
        calls = [partial(self._alone, run) for run in runs]
        outcomes = Workers(threads, self._bus.in_thread).run(calls, stop=False)
        for outcome in outcomes:
            if isinstance(outcome, Raised):
                raise outcome.error
        assign(self._record, loaded(self._bus, self._saga, self._record))
        return [run for following in outcomes for run in following]

    def _alone(self, run: Run) -> Sequence[Run]:
        record = loaded(self._bus, self._saga, self._record)
        record.ahead = self._record.ahead
        return self._call(record, run)

    def _call(self, record: Record, run: Run) -> Sequence[Run]:
        if not run.begun:
            begun = self._begin(record, run)
            if begun is None:
                return []
            run = begun
        runs, error = perform(self._bus, self._saga, record, run, self._store)
        if error is not None and self._cause is None and not undoing(run.action):
            self._cause = error
        if self._watched is not None:
            result = StepResult(
                record.id, run.step, run.action, "completed" if error is None else "failed", run.attempt, record.state,
                error,
            )  # fmt: skip
            self._watched.append(result)
        return runs

    def _begin(self, record: Record, run: Run) -> Run | None:
        """Begin what is ready, and store that; None: it is not to be begun any more."""
        while is_current(record, run) and not record.paused:
            try:
                with changing(self._bus):
                    begun = begin_ready(record, self._saga.by_name[run.step])
                    self._store(record, [])
            except SagaMovedOn:
                self._read_again(record)
                continue
            return begun
        return None

    def _read_again(self, record: Record | None = None) -> None:
        """Make a record what is stored; raises SagaMovedOn if that is not ours any more."""
        record = record or self._record
        now = loaded(self._bus, self._saga, record)
        if now.owner != self._owner:
            raise SagaMovedOn(f"somebody else has taken over the saga {record.id}")
        assign(record, now)

    def _store(self, record: Record, _: Sequence[Run]) -> None:
        self._bus.sagas.save(record, lease=self._lease)

    def _store_as_ours(self, record: Record, runs: Sequence[Run]) -> None:
        record.owner = self._owner
        self._store(record, runs)

    def _leave(self, *, due: float) -> None:
        self._left = True
        self._bus.sagas.release(self._record.id, self._owner, due=due)

    def _let_go(self) -> None:
        """Let others take over at once what has failed here, or was closed early."""
        try:
            self._leave(due=0.0)
        except Exception:
            logger.exception(
                "the saga %s could not be let go of; it is taken over later",
                self._record.id,
                extra=about_saga(self._record.id, saga=self._record.saga),
            )


def finished(record: Record, cause: Exception | None) -> SagaResult[Any]:
    """Return where a saga is now."""
    if record.status == "COMPLETED":
        return SagaResult(record.id, record.status, record.state)
    return SagaResult(record.id, record.status, record.state, record.error, cause)
