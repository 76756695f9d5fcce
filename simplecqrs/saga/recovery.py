"""Sagas whose worker did not come back, or whose time has come: found, taken over, and run on."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from attrs import frozen

from simplecqrs.backoff import Retry
from simplecqrs.errors import SagaBusy, SagaNotFound
from simplecqrs.log_fields import about_saga
from simplecqrs.saga.adopting import saga_named
from simplecqrs.saga.foreground import Foreground, finished
from simplecqrs.saga.results import SagaResult
from simplecqrs.saga.running import taken_over

if TYPE_CHECKING:
    from simplecqrs.mediator import Mediator

__all__ = ["TAKE_OVERS", "Recovered", "recover", "recover_one", "take_over"]

logger = logging.getLogger("simplecqrs.saga")

#: How often a saga is taken over that does not go on, and the pauses in between.
TAKE_OVERS = Retry(5, first=5.0, cap=600.0)
#: Seconds for which a saga belongs to whoever looks at it before its definition is known.
SHORT = 60.0


@frozen
class Recovered:
    """
    What became of a saga that was taken over.

    Args:
        result: where it is now; None: it could not be run.
        error: why not.
    """

    saga_id: UUID
    result: SagaResult[Any] | None
    error: Exception | None = None


def recover(
    bus: Mediator,
    *,
    saga: str | None = None,
    limit: int = 100,
    take_overs: Retry = TAKE_OVERS,
    patience: float = 0.0,
) -> list[Recovered]:
    """
    Take over what nobody works on and is due, and run it on: what was begun is asked again, with the same key.

    Any number of processes may do this at the same time.

    Args:
        saga: only those of this definition.
        limit: sagas, at most.
        take_overs: how often a saga is taken over that does not go on, and when.  After that it is FAILED.
        patience: seconds to wait for attempts that are due later.
    """
    outcomes = [
        take_over(bus, saga_id, take_overs=take_overs, patience=patience)
        for saga_id in bus.sagas.stale(limit=limit, saga=saga)
    ]
    return [outcome for outcome in outcomes if outcome is not None]


def recover_one(
    bus: Mediator, saga_id: UUID, *, take_overs: Retry = TAKE_OVERS, patience: float = 30.0
) -> SagaResult[Any]:
    """
    Run a stored saga on that nobody works on; one that has ended, rests, or waits for what has not come, stays so.

    Raises:
        SagaNotFound: if there is none, or no definition of its name.
        SagaChanged: if its definition does not fit it any more.
        SagaBusy: if somebody works on it.
    """
    stored = bus.sagas.load(saga_id)
    if stored is None:
        raise SagaNotFound(f"there is no saga {saga_id}")
    definition = saga_named(bus, stored.saga)
    record, runs = taken_over(bus, definition, saga_id, take_overs=take_overs)
    return finished(record, None) if runs is None else Foreground(bus, definition, record, patience).to_the_end(runs)


def take_over(
    bus: Mediator, saga_id: UUID, *, take_overs: Retry = TAKE_OVERS, patience: float = 0.0
) -> Recovered | None:
    """Run one on that is due; what fails outside of its steps is told, and tried again later.  None: it is held."""
    try:
        return Recovered(saga_id, recover_one(bus, saga_id, take_overs=take_overs, patience=patience))
    except SagaBusy:  # another one was quicker
        return None
    except Exception as error:
        logger.exception("the saga %s could not be recovered", saga_id, extra=about_saga(saga_id))
        _put_off(bus, saga_id, take_overs)
        return Recovered(saga_id, None, error)


def _put_off(bus: Mediator, saga_id: UUID, take_overs: Retry) -> None:
    """Let others be recovered first: a definition that is not here is not here in a second either."""
    record, owner = bus.sagas.load(saga_id), uuid4().hex
    if record is not None and bus.sagas.claim(saga_id, owner, lease=SHORT) is not None:
        bus.sagas.release(saga_id, owner, due=take_overs.pause(record.recoveries + 1))
