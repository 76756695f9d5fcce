"""Sagas in memory against the same steps called by hand, one after the other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Final

from attrs import evolve, frozen

from benchmarks.measure import Call, Times, interleaved, median_ratio
from benchmarks.report import Line, show
from simplecqrs import Mediator, Registry, Saga, Step

__all__ = ["run"]


@frozen
class Order:
    """The state of a saga."""

    number: int
    is_paid: bool = False


def step(state: Order) -> Order:
    """Do a step."""
    return state


def undo(state: Order) -> None:
    """Undo one."""


def failing(state: Order) -> Order:
    """Fail, so that the fallback is called."""
    raise ConnectionError


def paying(state: Order) -> Order:
    """Make a new state, as steps do."""
    return evolve(state, is_paid=True)


#: The steps of a saga: what each calls, what undoes it, and what is called in its place when it fails.
Plan = tuple[tuple[Callable[[Order], Order], Callable[[Order], None], Callable[[Order], Order] | None], ...]
PLANS: Final[dict[str, Plan]] = {
    "one step": ((step, undo, None),),
    "three steps": ((step, undo, None),) * 3,
    "three steps with new states": ((paying, undo, None),) * 3,
    "three steps, one by its fallback": ((step, undo, None), (failing, undo, step), (step, undo, None)),
}
#: Microseconds of each.
GOALS: Final = {"three steps": 10.0}


def by_hand(plan: Plan, state: Order) -> Order:
    """Do what a saga does, as one would write it for oneself: nothing is kept, and nothing outlives a crash."""
    done: list[Callable[[Order], None]] = []
    for act, compensate, fallback in plan:
        try:
            state = _tried(act, fallback, state)
        except Exception:
            for undone in reversed(done):
                undone(state)
            raise
        done.append(compensate)
    return state


def _tried(act: Callable[[Order], Order], fallback: Callable[[Order], Order] | None, state: Order) -> Order:
    try:
        return act(state)
    except Exception:
        if fallback is None:
            raise
        return fallback(state)


def saga(name: str, plan: Plan, registry: Registry) -> Saga[Order]:
    """Define a saga."""
    steps = [Step(f"step {n}", act, undone, fallback=other) for n, (act, undone, other) in enumerate(plan)]
    return Saga(name.replace(" ", "-").replace(",", ""), Order, steps, registry=registry)


def run(*, full: bool) -> list[Line]:
    """Measure and print."""
    rounds, number = (60, 1000) if full else (30, 300)
    registry = Registry()
    sagas = {name: saga(name, plan, registry) for name, plan in PLANS.items()}
    bus, state = Mediator(registry), Order(1)
    subjects = {name: _running(each, bus, state, number) for name, each in sagas.items()}
    subjects |= {f"{name} by hand": _by_hand(plan, state, number) for name, plan in PLANS.items()}
    times = interleaved(subjects, rounds=rounds, clock=time.thread_time)
    lines = [
        Line(
            f"saga.run in memory, {name}", _microseconds(times, name, number), GOALS.get(name), unit="us",
            detail=f"by hand {_microseconds(times, f'{name} by hand', number):.2f} us, "
            f"{median_ratio(times, name, f'{name} by hand'):.0f} x",
        )
        for name in PLANS
    ]  # fmt: skip
    show("sagas", lines, notes={"rounds": f"{rounds} of {number:,} sagas each; medians of processor time"})
    return lines


def _running(each: Saga[Order], bus: Mediator, state: Order, number: int) -> Call:
    def call() -> None:
        for _ in range(number):
            each.run(bus, state)

    return call


def _by_hand(plan: Plan, state: Order, number: int) -> Call:
    def call() -> None:
        for _ in range(number):
            by_hand(plan, state)

    return call


def _microseconds(times: Times, name: str, number: int) -> float:
    return statistics.median(times[name]) / number * 1e6
