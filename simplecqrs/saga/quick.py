"""
The quick way of a saga in memory: as long as each step is done at its first attempt, and nobody else asks for anything.

Only a sketch is kept of it.  When somebody has asked for more, or something else happens, the long way goes on with
what the sketch stands for: a call that is stored as begun, as it is after a crash.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from uuid import UUID

from simplecqrs.dispatch import stack
from simplecqrs.metadata import active_context, uuid7
from simplecqrs.pipeline import Call
from simplecqrs.saga.kept import NEVER, Sketch
from simplecqrs.saga.machine import succeeded
from simplecqrs.saga.memory import MemorySagas
from simplecqrs.saga.performing import Store, settle_failure, store_outcome, unanswered
from simplecqrs.saga.records import Record, Run

if TYPE_CHECKING:
    from simplecqrs.mediator import Mediator
    from simplecqrs.saga.definition import Saga

__all__ = ["begun_quickly", "run_quickly"]

_now = time.time


def begun_quickly(saga: Saga[Any], sagas: MemorySagas, state: Any, saga_id: UUID | None) -> Sketch | None:
    """Begin a new saga; None: it has to go the long way."""
    if stack.frames or active_context() is not None:  # there may be something to carry
        return None
    sketch = Sketch(saga_id or uuid7(), saga, state, [_now()])
    return sketch if sagas.put(sketch) else None


def run_quickly(
    bus: Mediator, way: Call, sketch: Sketch, sagas: MemorySagas
) -> tuple[Record, list[Run], Exception | None] | None:
    """
    Call the steps of a new saga, whose first one is begun.

    Args:
        way: what its messages go through.

    Returns:
        None if all are done; else its record, what is left for the long way to do, and what a step has raised.
    """
    saga, saga_id, times, lock = sketch.saga, sketch.id, sketch.times, sagas.changing
    kind, name, steps, state = saga.message, saga.name, saga.singles, sketch.state
    last = len(steps)
    for step in steps:
        message = kind(name, saga_id, step, "act", 1, False, state)
        try:
            way(message)
            if not message.acted:
                raise unanswered(saga.first_runs[step])
        except Exception as error:  # noqa: BLE001 - it is the step's, and is stored
            record = sagas.draw(sketch)
            return record, _failed(bus, saga, record, message, sagas, error), error
        with lock:
            if sketch.record is not None:  # somebody has asked for it
                return sketch.record, _given_over(bus, saga, sketch.record, message, sagas), None
            returned = message.returned
            if returned is not None:
                sketch.state = state = returned
            times.append(_now())
            if len(times) > last:
                sagas.ended(saga_id)
    return None


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
