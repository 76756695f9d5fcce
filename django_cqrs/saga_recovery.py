"""Sagas that nobody works on: whose worker did not come back, or whose time to wait is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import define, field

from django_cqrs.conf import settings
from django_cqrs.entries import SagaSettings
from simplecqrs.saga import recovery
from simplecqrs.saga.recovery import Recovered

if TYPE_CHECKING:
    from django_cqrs.mediator import DjangoMediator

__all__ = ["Recovering", "recover", "recovery_settings"]


def recovery_settings() -> SagaSettings:
    """Return the setting SAGAS."""
    return settings().sagas or SagaSettings()


def recover(mediator: DjangoMediator, *, saga: str | None = None, limit: int | None = None) -> list[Recovered]:
    """
    Take over what nobody works on and is due, and run it on, as the setting SAGAS says.

    Any number of processes may do this at the same time.

    Args:
        saga: only sagas of this name.
        limit: at most so many.
    """
    found = recovery_settings()
    return recovery.recover(
        mediator, saga=saga, limit=limit or found.batch, take_overs=found.take_overs, patience=found.patience
    )


@define
class Recovering:
    """
    Look now and then for sagas that nobody works on, and run them on; a look that finds none costs one statement.

    Args:
        clock: seconds.
    """

    mediator: DjangoMediator
    clock: Callable[[], float] = time.monotonic
    name: str = field(default="recovery of sagas", init=False)
    _look_at: float = field(default=float("-inf"), init=False)

    def step(self) -> int:
        """Take over what is due, and return how many sagas those were."""
        now = self.clock()
        if now < self._look_at:
            return 0
        found = recover(self.mediator)
        if not found:
            self._look_at = now + recovery_settings().interval
        return len(found)
