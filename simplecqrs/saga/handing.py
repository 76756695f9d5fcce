"""Sagas that are stored for a worker to run."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from simplecqrs.errors import SagaNotFound
from simplecqrs.metadata import uuid7
from simplecqrs.saga.adopting import carry, way_of
from simplecqrs.saga.machine import go_on

if TYPE_CHECKING:
    from simplecqrs.mediator import Mediator
    from simplecqrs.saga.definition import Saga

__all__ = ["start"]

S = TypeVar("S")


def start(bus: Mediator, saga: Saga[S], state: S, saga_id: UUID | None) -> UUID:
    """Store a saga for a worker, unless there is one of its id."""
    way_of(bus, saga)  # or raise at once
    record = saga.new(saga_id or uuid7(), state)
    carry(record)
    record.ahead = bus.sagas.has_consumer
    runs = go_on(saga, record)
    if bus.sagas.create(record, lease=None):
        bus.sagas.later(record, runs)
        return record.id
    stored = bus.sagas.load(record.id)
    if stored is not None and stored.saga != saga.name:
        raise SagaNotFound(f"{record.id} is a saga {stored.saga!r}, not {saga.name!r}; give each an id of its own")
    return record.id
