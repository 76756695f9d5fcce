"""Sagas in memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import define

from simplecqrs.saga import MemorySagas
from tests.contracts.sagas import SagaContract


@define
class Clock:
    """A clock that is moved by hand."""

    now: float = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


class TestMemorySagas(SagaContract):
    """Sagas in a dict."""

    @pytest.fixture
    def clock(self) -> Clock:
        """Return a clock that stands still."""
        return Clock()

    @pytest.fixture
    def sagas(self, clock: Clock) -> MemorySagas:
        """Return an empty storage."""
        return MemorySagas(clock=clock)

    @pytest.fixture
    def pass_time(self, clock: Clock) -> Callable[[float], None]:
        """Return what moves the clock."""
        return clock.move
