"""Stored sagas and their definitions: found by name, and compared before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from simplecqrs.dispatch import stack, top
from simplecqrs.errors import SagaChanged, SagaNotFound
from simplecqrs.handlers import is_combined
from simplecqrs.metadata import active_context
from simplecqrs.saga.records import SETTLED, Record
from simplecqrs.saga.run_step import StepCalls
from simplecqrs.saga.states import unpack

if TYPE_CHECKING:
    from simplecqrs.mediator import Mediator
    from simplecqrs.saga.definition import Saga

__all__ = ["adopt", "carry", "saga_named", "sagas_of", "way_of"]


def sagas_of(bus: Mediator) -> dict[str, Saga[Any]]:
    """Return the definitions that a mediator knows, by their names."""
    handlers = [r.handler for r in bus.registrations() if is_combined(r.handler)]
    return {handler.saga.name: handler.saga for handler in handlers if isinstance(handler, StepCalls)}


def saga_named(bus: Mediator, name: str) -> Saga[Any]:
    """Return a definition; raises SagaNotFound."""
    found = sagas_of(bus)
    if name not in found:
        known = ", ".join(sorted(found)) or "none"
        raise SagaNotFound(f"there is no saga {name!r}; known are: {known}; is its module imported?")
    return found[name]


def way_of(bus: Mediator, saga: Saga[Any]) -> Callable[[Any], Any]:
    """Return what a saga's steps go through; raise SagaNotFound before one begins whose steps would find no handler."""
    way = bus.way_of(saga.message)
    if way is None:
        raise SagaNotFound(
            f"the mediator does not know {saga!r}, which is in another registry than its own: Saga(..., registry=...)"
        )
    return way


def adopt(bus: Mediator, saga: Saga[Any], saga_id: UUID, *, lock: bool = False) -> Record:
    """
    Return a stored saga as its definition is now.

    Raises:
        SagaNotFound: if there is none of this id, or if it is one of another definition.
        SagaChanged: if it has gone through steps that the definition lacks now, or that of a newer release has it.
    """
    record = bus.sagas.load(saga_id, lock=lock)
    if record is None:
        raise SagaNotFound(f"there is no saga {saga_id}")
    if record.saga != saga.name:
        raise SagaNotFound(f"{saga_id} is a saga {record.saga!r}, not {saga.name!r}")
    if record.fingerprint != saga.fingerprint and record.status not in SETTLED:
        bus.refuse_newer_saga(saga.name, record.fingerprint)
        _fit(saga, record)
    unpack(record, saga.state, bus.sagas.codec)
    return record


def _fit(saga: Saga[Any], record: Record) -> None:
    lost = [name for name in record.progress if saga.knows(name) is None]
    if lost:
        raise SagaChanged(
            f"the saga {record.id} has gone through {', '.join(map(repr, lost))}, which {saga.name!r} lacks now; keep "
            "a step until no saga has it, or say under which name it goes on: Step(..., aliases=[...])"
        )
    record.progress = {saga.step(name).name: known for name, known in record.progress.items()}
    places = [(saga.index_of(saga.by_name[name]), known.phase) for name, known in record.progress.items()]
    begun = [place for place, phase in places if phase not in ("done", "undone", "skipped")]
    # Steps that are new before those that were begun are not run: what comes after them has happened already.
    last = max((place for place, _ in places), default=0)
    record.position = last if record.status == "COMPENSATING" or not begun else min(begun)
    record.fingerprint = saga.fingerprint


def carry(record: Record) -> None:
    """Give a new saga what the message in whose handler it is begun carries, and what ``context(...)`` has set."""
    if stack.frames:
        metadata = top(stack.frames).metadata
        record.correlation_id, record.headers = metadata.correlation_id, metadata.headers
    within = active_context()
    if within is not None:
        record.correlation_id = within.correlation_id or record.correlation_id
        record.headers = {**record.headers, **within.headers}
