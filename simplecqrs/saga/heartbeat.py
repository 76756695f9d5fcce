"""The heartbeat of sagas in the foreground: while a step takes its time, its lease is made longer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Final
from uuid import UUID

if TYPE_CHECKING:
    from simplecqrs.mediator import Mediator

__all__ = ["beating"]

log = logging.getLogger("simplecqrs.saga")
NOTHING: Final = nullcontext()


def beating(bus: Mediator, saga_id: UUID, owner: str, lease: float) -> AbstractContextManager[None]:
    """Make a lease longer each third of its time, from a thread of its own, if there is still need for it by then."""
    if bus.sagas.keeps_objects:  # they end with this process, and each call has more time than any step
        return NOTHING
    return _beating(bus, saga_id, owner, lease)


@contextmanager
def _beating(bus: Mediator, saga_id: UUID, owner: str, lease: float) -> Generator[None, None, None]:
    ended = threading.Event()
    thread = threading.Thread(
        target=_beat, args=(bus, saga_id, owner, lease, ended), name="simplecqrs-saga", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _beat(bus: Mediator, saga_id: UUID, owner: str, lease: float, ended: threading.Event) -> None:
    while not ended.wait(lease / 3):
        try:
            with bus.in_thread():
                if not bus.sagas.renew(saga_id, owner, lease=lease):
                    log.warning("the saga %s was taken over by somebody else", saga_id)
                    return
        except Exception as error:
            log.warning("the lease of the saga %s could not be made longer", saga_id, exc_info=error)
