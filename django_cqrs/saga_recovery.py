"""Sagas that nobody works on: whose worker did not come back, or whose time to wait is over."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID

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
        saga: only sagas of this name.
        chosen: asked for interval, batch and so on.
        tell: is told what became of each.
        clock: seconds.
    """

    mediator: DjangoMediator
    clock: Callable[[], float] = time.monotonic
    saga: str | None = field(default=None, kw_only=True)
    chosen: Callable[[], SagaSettings] = field(default=recovery_settings, kw_only=True)
    tell: Callable[[Recovered], object] = field(default=lambda recovered: None, kw_only=True)
    name: str = field(default="recovery of sagas", init=False)
    _due: deque[UUID] = field(factory=deque[UUID], init=False)
    _look_at: float = field(default=float("-inf"), init=False)

    @property
    def timeout(self) -> float:
        """Return how many seconds one saga may take before the watchdog wonders where it is."""
        known = self.mediator.saga_definitions.values()
        return max((sum(step.timeout for step in saga.by_name.values()) for saga in known), default=0.0)

    def step(self) -> int:
        """Take over the next one that is due, so that who is to stop need not wait for a whole batch; 0: none is."""
        if not self._due and self.clock() >= self._look_at:
            self._look()
        while self._due:
            found = self.chosen()
            recovered = recovery.take_over(
                self.mediator, self._due.popleft(), take_overs=found.take_overs, patience=found.patience
            )
            if recovered is not None:
                self.tell(recovered)
                return 1
        return 0

    def _look(self) -> None:
        found = self.chosen()
        self._due.extend(self.mediator.sagas.stale(limit=found.batch, saga=self.saga))
        if not self._due:
            self._look_at = self.clock() + found.interval
