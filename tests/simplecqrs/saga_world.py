"""A world in which steps leave traces, and fail when they are told to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve, field, frozen

from simplecqrs import Mediator, Registry, Saga, Step
from simplecqrs.saga import MemorySagas, current_step

__all__ = ["Boom", "Clock", "Killed", "Trip", "World"]


@frozen
class Trip:
    """The state of a saga."""

    id: int = 0
    notes: tuple[str, ...] = ()
    hotel: str = ""
    flight: str = ""


class Boom(Exception):
    """What a step raises."""


class Killed(BaseException):
    """Stands for the end of the process."""


class Clock:
    """Tells a time that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@frozen
class World:
    """
    Makes steps, and knows what they did.

    Args:
        calls: what was called, in its order; what is undone has a minus.
        failing: what the next calls raise.
    """

    calls: list[str] = field(factory=list[str])
    failing: dict[str, list[BaseException]] = field(factory=dict[str, list[BaseException]])
    clock: Clock = field(factory=Clock)
    registry: Registry = field(factory=Registry)

    def fail(self, name: str, *errors: BaseException) -> None:
        """Let the next calls of this fail."""
        self.failing.setdefault(name, []).extend(errors or [Boom(name)])

    def act(self, name: str) -> Callable[[Trip], Trip]:
        """Make an act, or what undoes one."""

        def act(state: Trip) -> Trip:
            self.calls.append(name)
            errors = self.failing.get(name)
            if errors:
                raise errors.pop(0)
            return evolve(state, notes=(*state.notes, name))

        return act

    def step(self, name: str, **options: Any) -> Step[Trip]:
        """Make a step that can be undone."""
        return Step(name, **{"act": self.act(name), "compensate": self.act(f"-{name}"), **options})

    def keyed(self, keys: list[str]) -> Callable[[Trip], None]:
        """Make an act that keeps its idempotency keys."""
        return lambda _: keys.append(current_step().key)

    def saga(self, *steps: Any, **options: Any) -> Saga[Trip]:
        """Make a saga."""
        return Saga("trip", Trip, list(steps), **{"registry": self.registry, **options})

    def bus(self, **options: Any) -> Mediator:
        """Make a mediator that keeps sagas in memory."""
        return Mediator(self.registry, **{"sagas": MemorySagas(clock=self.clock), **options})
