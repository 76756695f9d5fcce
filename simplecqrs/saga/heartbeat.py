"""The heartbeat of sagas in the foreground: while a step takes its time, its lease is made longer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from simplecqrs.log_fields import about_saga

if TYPE_CHECKING:
    from simplecqrs.mediator import Mediator
    from simplecqrs.saga.definition import Saga

__all__ = ["beating", "lease_of"]

log = logging.getLogger("simplecqrs.saga")
NOTHING: Final = nullcontext()
NEVER_OVER: Final = float("inf")


def lease_of(bus: Mediator, saga: Saga[Any]) -> float:
    """Return for how many seconds a saga is held: for ever, where whoever holds it cannot end without letting go."""
    return NEVER_OVER if bus.sagas.keeps_objects else saga.lease


def beating(bus: Mediator, saga_id: UUID, owner: str, lease: float) -> AbstractContextManager[None]:
    """Make a lease longer each third of its time, from a thread of its own, if there is still need for it by then."""
    if bus.sagas.keeps_objects:  # they end with this process
        return NOTHING
    return _beating(bus, saga_id, owner, lease)


@contextmanager
def _beating(bus: Mediator, saga_id: UUID, owner: str, lease: float) -> Generator[None, None, None]:
    ended = threading.Event()
    thread = threading.Thread(
        target=_beat, args=(bus, saga_id, owner, lease, ended), kwargs={"at": bus.in_thread()},
        name="simplecqrs-saga", daemon=True,
    )  # fmt: skip
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _beat(
    bus: Mediator, saga_id: UUID, owner: str, lease: float, ended: threading.Event, *, at: AbstractContextManager[Any]
) -> None:
    while not ended.wait(lease / 3):
        try:
            with at:
                if not bus.sagas.renew(saga_id, owner, lease=lease):
                    log.warning("the saga %s was taken over by somebody else", saga_id, extra=about_saga(saga_id))
                    return
        except Exception as error:
            log.warning(
                "the lease of the saga %s could not be made longer", saga_id, exc_info=error, extra=about_saga(saga_id)
            )
