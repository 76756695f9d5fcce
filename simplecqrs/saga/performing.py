"""One call of a step: through the pipeline, and what it came to stored in its unit of work."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from attrs import fields

from simplecqrs.ambient import context
from simplecqrs.errors import SagaMovedOn
from simplecqrs.saga.machine import failed, succeeded
from simplecqrs.saga.records import Record, Run
from simplecqrs.saga.states import fresh, unpack

if TYPE_CHECKING:
    from simplecqrs.mediator import Mediator
    from simplecqrs.saga.definition import Saga
    from simplecqrs.saga.run_step import RunStep

__all__ = ["Apply", "Store", "assign", "loaded", "perform", "store_outcome"]

#: Changes a record, and returns what is to be run next.
Apply = Callable[[Record], list[Run]]
#: Stores a record, with what is to be run next.
Store = Callable[[Record, list[Run]], None]
#: How often somebody who has just changed a saga is given way to, where no lock holds him up.
TRIES: Final = 10
FIELDS = tuple(field.name for field in fields(Record))


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
    step, outcomes, done = saga.by_name[run.step], list[list[Run]](), False
    given = record.state if saga.is_frozen else fresh(record.state, bus.sagas.codec)
    known = record.progress[run.step]

    def finish(returned: Any) -> None:
        nonlocal done
        if done:  # a middleware calls again what was rolled back
            assign(record, loaded(bus, saga, record))
        done = True
        new = given if returned is None and not saga.is_frozen else returned
        outcomes.append(store_outcome(bus, saga, record, run, store, lambda now: succeeded(saga, now, step, new)))

    message = saga.message(saga.name, record.id, run.step, run.action, run.attempt, known.unknown, given, finish)
    try:
        _send(bus, record, message)
    except SagaMovedOn:
        raise
    except Exception as error:  # noqa: BLE001 - it is the step's, and is stored
        unknown = done or isinstance(error, step.unknown_on)
        if done:  # and then could not be stored, or not be committed
            assign(record, loaded(bus, saga, record))
        cause = error  # an except clause forgets its name
        outcome = store_outcome(
            bus, saga, record, run, store, lambda now: failed(saga, now, step, cause, unknown=unknown)
        )
        return outcome, error
    return outcomes[-1], None


def _send(bus: Mediator, record: Record, message: RunStep) -> None:
    if record.correlation_id or record.headers:
        with context(correlation_id=record.correlation_id or None, **record.headers):
            bus.send(message)
    else:
        bus.send(message)


def store_outcome(  # noqa: PLR0917 - they are what a call is about
    bus: Mediator, saga: Saga[Any], record: Record, run: Run, store: Store, apply: Apply
) -> list[Run]:
    """
    Apply an outcome to a record and store it; if it was changed meanwhile, to what it is now.

    A person may have paused it, and the other steps of a Parallel have outcomes of their own.  But what was begun
    since by somebody else is theirs.
    """
    runs = apply(record)
    for _ in range(TRIES):
        before = record.version
        try:
            store(record, runs)
            return runs
        except SagaMovedOn:
            now = loaded(bus, saga, record, lock=True)
            known = now.progress.get(run.step)
            ours = known is not None and known[:3] == ("started", run.action, run.attempt)
            if now.version == before or not ours or now.owner != record.owner:
                raise
            assign(record, now)
            runs = apply(record)
    store(record, runs)
    return runs


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
