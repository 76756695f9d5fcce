"""Sagas that are stored for a worker to run."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from simplecqrs.metadata import uuid7
from simplecqrs.saga.adopting import carry
from simplecqrs.saga.machine import go_on

if TYPE_CHECKING:
    from simplecqrs.mediator import Mediator
    from simplecqrs.saga.definition import Saga

__all__ = ["start"]

S = TypeVar("S")


def start(bus: Mediator, saga: Saga[S], state: S, saga_id: UUID | None) -> UUID:
    """Store a saga for a worker, unless there is one of its id."""
    record = saga.new(saga_id or uuid7(), state)
    carry(record)
    record.ahead = bus.sagas.has_consumer
    runs = go_on(saga, record)
    if bus.sagas.create(record, lease=None):
        bus.sagas.later(record, runs)
    return record.id
