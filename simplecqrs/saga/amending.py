"""A stored saga changed by somebody who does not run it: a person, or whoever hands an event in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from simplecqrs.errors import SagaMovedOn
from simplecqrs.saga.adopting import adopt
from simplecqrs.saga.heartbeat import lease_of
from simplecqrs.saga.records import Record, Run

if TYPE_CHECKING:
    from simplecqrs.mediator import Mediator
    from simplecqrs.saga.definition import Saga

__all__ = ["TRIES", "change_stored"]

#: How often somebody who has just changed a saga is given way to.
TRIES: Final = 10


def change_stored(bus: Mediator, saga: Saga[Any], saga_id: UUID, change: Callable[[Record], list[Run] | None]) -> None:
    """
    Change a stored saga, and have done later what follows from that; give way to whoever has just changed it.

    Args:
        change: changes the record and returns what is to be run; None: it stays as it is.

    Raises:
        SagaNotFound: if there is none.
        SagaMovedOn: if others change it all the time.
    """
    for tries in range(1, TRIES + 1):
        record = adopt(bus, saga, saga_id, lock=True)
        # What somebody works on stays theirs: they see it when they store next.
        record.ahead = bus.sagas.has_consumer and not record.owner
        runs = change(record)
        if runs is None:
            return
        try:
            bus.sagas.save(record, lease=lease_of(bus, saga) if record.owner else None)
        except SagaMovedOn:
            if tries == TRIES:
                raise
            continue
        bus.sagas.later(record, runs)
        return
