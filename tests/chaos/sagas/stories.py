"""The sagas that are run under fire: one for each shape."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import evolve, frozen
from django.db.models import Sum

from simplecqrs import NotificationEvent, Registry, Retry
from simplecqrs.saga import NO_COMPENSATION, Parallel, Saga, Step, current_step, wait_for
from tests.chaos.project.models import SagaEffect
from tests.chaos.project.way import WAY
from tests.chaos.sagas.judging import Call, step_name
from tests.chaos.sagas.shapes import Shape

__all__ = ["AT_ONCE", "CALLS", "Came", "Tale", "make_story", "net", "write"]

#: The attempt of a step after the pivot that works.
AT_LAST = 3
AT_ONCE = Retry(5, first=0, jitter=0)
#: Written before anything else is done, and not taken back by any transaction.
CALLS = Path(os.environ.get("CHAOS_FOLDER", "/nonexistent")) / "calls.jsonl"


@frozen
class Tale:
    """The state: the places that were done."""

    name: str = "one"
    done: tuple[int, ...] = ()


@frozen
class Came(NotificationEvent, topic="came", key="name"):
    """What a step waits for."""

    name: str


StepCall = Callable[[Tale], Tale | None]


def make_story(registry: Registry, shape: Shape) -> Saga[Tale]:
    """Make the saga of a shape."""
    steps: list[Any] = [_step(shape, place) for place in range(shape.steps)]
    if shape.together:
        steps[:2] = [Parallel(*steps[:2], merge=_merge)]
    return Saga(shape.name, Tale, steps, compensation_retry=Retry(2, first=0, jitter=0), registry=registry)


def _merge(before: Tale, states: Any) -> Tale:
    return evolve(before, done=tuple(sorted({place for state in states for place in state.done})))


def _step(shape: Shape, place: int) -> Step[Tale]:
    if place == shape.waits:
        return Step(step_name(place), wait_for(Came, key="name", then=lambda tale, _: _add(tale, place)))
    forward = place > shape.last_way_back
    backup = shape.fallback != "none" and place == shape.failing
    return Step(
        step_name(place),
        _act(shape, place),
        None if forward else _undo(shape, place) if shape.has_undo(place) else NO_COMPENSATION,
        fallback=_fallback(shape, place) if backup else None,
        pivot=place == shape.pivot,
        retry=AT_ONCE if forward else None,
        idempotent=place != shape.once,
    )


def _act(shape: Shape, place: int) -> StepCall:
    def act(state: Tale) -> Tale:
        _note(place)
        WAY.come_to("act:before")
        if place == shape.failing and (place <= shape.last_way_back or current_step().attempt < AT_LAST):
            raise RuntimeError("a planted failure")
        return _done(state, place, "act")

    return act


def _fallback(shape: Shape, place: int) -> StepCall:
    def fallback(state: Tale) -> Tale:
        _note(place)
        if shape.fallback == "fails":
            raise RuntimeError("a planted failure of the fallback")
        return _done(state, place, "fallback")

    return fallback


def _undo(shape: Shape, place: int) -> StepCall:
    def undo(_: Tale) -> None:
        _note(place)
        WAY.come_to("undo:before")
        planted = shape.failing is not None and place == shape.failing - 1
        if planted and (shape.undo == "fails" or (shape.undo == "fails once" and current_step().attempt == 1)):
            raise RuntimeError("a planted failure of undoing")
        # It has to succeed as well if what it undoes never happened.
        write(place, "undo", -net(place))
        WAY.come_to("undo:after")

    return undo


def _done(state: Tale, place: int, what: str) -> Tale:
    write(place, what, 1)
    WAY.come_to("act:after")
    return _add(state, place)


def _add(state: Tale, place: int) -> Tale:
    return evolve(state, done=(*state.done, place))


def _note(place: int) -> None:
    """Write down that a step is called; and so, that dying now is not the same as dying before."""
    step = current_step()
    with CALLS.open("a") as file:
        file.write(json.dumps(Call(place, step.action, step.attempt, step.unknown)) + "\n")
    WAY.moved = True


def write(place: int, what: str, n: int) -> None:
    """Write an effect."""
    SagaEffect.objects.create(saga=current_step().saga_id, place=place, what=what, n=n)


def net(place: int) -> int:
    """Return what is there of a step of the saga that is being run."""
    mine = SagaEffect.objects.filter(saga=current_step().saga_id, place=place)
    found: int | None = mine.aggregate(total=Sum("n"))["total"]
    return found or 0
