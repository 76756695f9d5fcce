"""One call of a step: through the pipeline, and what it came to stored; in its unit of work, where that can be."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from attrs import fields

from simplecqrs.ambient import context
from simplecqrs.errors import InvalidSaga, SagaMovedOn
from simplecqrs.log_fields import about_run
from simplecqrs.saga.amending import TRIES
from simplecqrs.saga.beginning import is_current
from simplecqrs.saga.machine import failed, succeeded
from simplecqrs.saga.memory import MemorySagas
from simplecqrs.saga.records import Record, Run
from simplecqrs.saga.states import fresh, unpack

if TYPE_CHECKING:
    from simplecqrs.mediator import Mediator
    from simplecqrs.saga.definition import Saga
    from simplecqrs.saga.run_step import RunStep

__all__ = ["Apply", "Store", "assign", "changing", "loaded", "perform", "settle_failure", "store_outcome", "unanswered"]

#: Changes a record, and returns what is to be run next.
Apply = Callable[[Record], list[Run]]
#: Stores a record, with what is to be run next.
Store = Callable[[Record, list[Run]], None]
NOTHING: Final = nullcontext()
FIELDS = tuple(field.name for field in fields(Record) if field.name != "ahead")

logger = logging.getLogger("simplecqrs.saga")


def perform(
    bus: Mediator, saga: Saga[Any], record: Record, run: Run, store: Store
) -> tuple[list[Run], Exception | None]:
    """
    Call what is begun of a step, and have stored what it came to; the record is changed to that.

    Returns:
        What is to be run next, and what the call raised.

    Raises:
        SagaMovedOn: if somebody else has taken it up meanwhile; what the call wrote here is rolled back.
    """
    name, action, attempt, _, _ = run
    inside = _Inside(bus, saga, record, run, store) if bus.sagas.joins else None
    message = saga.message(saga.name, record.id, name, action, attempt, record.progress[name].unknown, None, inside)
    try:
        message.state = given = record.state if saga.is_frozen else fresh(record.state, bus.sagas.codec)
        if record.correlation_id or record.headers:
            with context(correlation_id=record.correlation_id or None, **record.headers):
                bus.send(message)
        else:
            bus.send(message)
        if not message.acted:
            raise unanswered(run)
    except Exception as error:  # noqa: BLE001 - it is the step's, and is stored
        return settle_failure(bus, saga, record, run, store, message, inside, error)
    if inside is not None:
        return inside.outcome(), None
    new = given if message.returned is None and not saga.is_frozen else message.returned
    step = saga.by_name[name]
    try:
        return store_outcome(bus, saga, record, run, store, lambda now: succeeded(saga, now, step, new)), None
    except SagaMovedOn:
        raise
    except Exception as error:  # noqa: BLE001 - what was done and could not be stored is asked again, with its key
        assign(record, loaded(bus, saga, record))
        return settle_failure(bus, saga, record, run, store, message, inside, error)


class _Inside:
    """Stores what a step has returned in its unit of work."""

    def __init__(self, bus: Mediator, saga: Saga[Any], record: Record, run: Run, store: Store) -> None:
        self._about = (bus, saga, record, run, store)
        self._tried = False
        self._runs: list[Run] | None = None
        self._version = 0
        self._lost: SagaMovedOn | None = None

    def __call__(self, given: Any, returned: Any) -> None:
        bus, saga, record, run, store = self._about
        if self._tried and self.is_stored():  # a middleware calls again what was not rolled back
            return
        self._tried, self._runs = True, None
        new = given if returned is None and not saga.is_frozen else returned
        step = saga.by_name[run.step]
        try:
            self._runs = store_outcome(bus, saga, record, run, store, lambda now: succeeded(saga, now, step, new))
        except SagaMovedOn as error:
            self._lost = error
            raise
        self._version = record.version

    def outcome(self) -> list[Run]:
        """Return what is to be run next; raises SagaMovedOn if it was not ours any more."""
        if self._lost is not None:
            raise self._lost
        return self._runs or []

    def is_stored(self) -> bool:
        """Tell whether the outcome is stored whatever has failed since; if not, make the record what is stored."""
        if self._lost is not None:
            raise self._lost
        if not self._tried:
            return False
        bus, saga, record, _, _ = self._about
        now = loaded(bus, saga, record)
        if self._runs is not None and now.version == self._version:
            return True
        assign(record, now)
        return False


def settle_failure(  # noqa: PLR0917 - they are what a call is about
    bus: Mediator, saga: Saga[Any], record: Record, run: Run, store: Store, message: RunStep,
    inside: _Inside | None, error: Exception,
) -> tuple[list[Run], Exception | None]:  # fmt: skip
    if inside is not None and inside.is_stored():
        text, facts = "%s of the saga %s is done; what came after its commit failed", about_run(record, run)
        logger.error(text, run, record.id, exc_info=error, extra=facts)
        return inside.outcome(), None
    step = saga.by_name[run.step]
    unknown = message.acted or isinstance(error, step.unknown_on)
    apply: Apply = lambda now: failed(saga, now, step, error, unknown=unknown)  # noqa: E731
    return store_outcome(bus, saga, record, run, store, apply), error


def unanswered(run: Run) -> InvalidSaga:
    """Return what is to be raised for a call of which nobody says how it ended."""
    return InvalidSaga(
        f"{run.action} of the step {run.step!r} was not called, or a middleware has swallowed how it ended; let it "
        "call what it surrounds, and raise what that raises"
    )


def store_outcome(  # noqa: PLR0917 - they are what a call is about
    bus: Mediator, saga: Saga[Any], record: Record, run: Run, store: Store, apply: Apply
) -> list[Run]:
    """
    Apply an outcome to a record and store it; if it was changed meanwhile, to what it is now.

    A person may have paused it, and the other steps of a Parallel have outcomes of their own.  But what was begun
    since by somebody else is theirs.
    """
    with changing(bus):
        return _applied(bus, saga, record, run, store, apply)


def _applied(  # noqa: PLR0917
    bus: Mediator, saga: Saga[Any], record: Record, run: Run, store: Store, apply: Apply
) -> list[Run]:
    owner = record.owner
    for tries in range(1, TRIES + 1):
        before, runs = record.version, apply(record)
        try:
            store(record, runs)
        except SagaMovedOn:
            now = loaded(bus, saga, record, lock=True)
            ours = now.owner == owner and is_current(now, run._replace(begun=True))
            if now.version == before or not ours or tries == TRIES:
                raise
            assign(record, now)
            continue
        return runs
    raise AssertionError("unreachable: the last try returns or raises")


def changing(bus: Mediator) -> AbstractContextManager[object]:
    """Keep others from reading a record that is kept as it is, while it is changed."""
    sagas = bus.sagas
    return sagas.changing if isinstance(sagas, MemorySagas) else NOTHING


def loaded(bus: Mediator, saga: Saga[Any], record: Record, *, lock: bool = False) -> Record:
    """Return a saga as it is stored now; raises SagaMovedOn if it is not there any more."""
    now = bus.sagas.load(record.id, lock=lock)
    if now is None:
        raise SagaMovedOn(f"the saga {record.id} was deleted")
    unpack(now, saga.state, bus.sagas.codec)
    return now


def assign(record: Record, now: Record) -> None:
    """Make a record what another one is."""
    for name in FIELDS:
        setattr(record, name, getattr(now, name))
