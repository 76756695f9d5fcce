"""
The quick way of a saga in memory: as long as each step is done at its first attempt, and nobody else asks for anything.

It leaves the same record and the same log as the long way does, and gives over to that whenever something else happens.
What is given over begins with a call that is stored as begun, as it is after a crash.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from simplecqrs.dispatch import stack
from simplecqrs.metadata import active_context, uuid7
from simplecqrs.saga.adopting import refuse_unknown_saga
from simplecqrs.saga.beginning import FIRST
from simplecqrs.saga.machine import DONE, succeeded
from simplecqrs.saga.memory import NEVER, Kept, MemorySagas
from simplecqrs.saga.performing import Store, settle_failure, store_outcome, unanswered
from simplecqrs.saga.records import Record, Run

if TYPE_CHECKING:
    from simplecqrs.mediator import Mediator
    from simplecqrs.saga.definition import Saga

__all__ = ["begun_quickly", "run_quickly"]

_now = time.time
#: Who works on sagas that go the quick way.  Whoever takes one over has another name, and makes a copy of the record.
HERE: Final = "here"


def begun_quickly(
    bus: Mediator, saga: Saga[Any], sagas: MemorySagas, state: Any, saga_id: UUID | None
) -> tuple[Record, Kept] | None:
    """Begin a new saga; None: it has to go the long way."""
    if stack.frames or active_context() is not None:  # there may be something to carry
        return None
    refuse_unknown_saga(bus, saga)
    first = saga.singles[0]
    record = Record(saga_id or uuid7(), saga.name, state, "RUNNING", {first: FIRST}, 0, 1, saga.fingerprint, owner=HERE)
    kept = Kept(record, NEVER, [(first, "act", "started", _now(), 1, "", "")], [])
    return (record, kept) if sagas.put(kept) else None


def run_quickly(bus: Mediator, saga: Saga[Any], sagas: MemorySagas, kept: Kept) -> tuple[list[Run], Exception | None]:
    """
    Call the steps of a new saga, whose first one is begun.

    Returns:
        What is left for the long way to do, and what a step has raised.
    """
    record, lock = kept.record, sagas.changing
    send, kind, state = bus.send, saga.message, record.state
    progress, log, last = record.progress, kept.log, len(saga.singles) - 1
    for index, step in enumerate(saga.singles):
        message = kind(saga.name, record.id, step, "act", 1, False, state)
        try:
            send(message)
            if not message.acted:
                raise unanswered(saga.first_runs[step])
        except Exception as error:  # noqa: BLE001 - it is the step's, and is stored
            return _failed(bus, saga, record, message, sagas, error), error
        with lock:
            if kept.record is not record:  # somebody has changed it
                return _given_over(bus, saga, record, message, sagas), None
            if message.returned is not None:
                record.state = state = message.returned
            log.append((step, "act", "completed", _now(), 1, "", ""))
            progress[step] = DONE
            record.version += 1
            record.position = index + 1
            if index == last:
                record.status = "COMPLETED"
                sagas.settle(kept)
            else:
                _begin(saga.singles[index + 1], log, progress)
    return [], None


def _begin(step: str, log: list[Any], progress: dict[str, Any]) -> None:
    log.append((step, "act", "started", _now(), 1, "", ""))
    progress[step] = FIRST


def _failed(  # noqa: PLR0917 - they are what a call is about
    bus: Mediator, saga: Saga[Any], record: Record, message: Any, sagas: MemorySagas, error: Exception
) -> list[Run]:
    run = saga.first_runs[message.step]
    return settle_failure(bus, saga, record, run, _storing(sagas), message, None, error)[0]


def _given_over(bus: Mediator, saga: Saga[Any], record: Record, message: Any, sagas: MemorySagas) -> list[Run]:
    step, run = saga.by_name[message.step], saga.first_runs[message.step]
    returned = message.returned
    return store_outcome(bus, saga, record, run, _storing(sagas), lambda now: succeeded(saga, now, step, returned))


def _storing(sagas: MemorySagas) -> Store:
    def store(record: Record, _: list[Run]) -> None:
        sagas.save(record, lease=NEVER)

    return store
