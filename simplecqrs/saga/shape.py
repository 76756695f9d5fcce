"""What is wrong with a saga's definition: names, pivots, and steps that cannot be undone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from simplecqrs.saga.step import Parallel, Step, is_step, is_wait, steps_of

__all__ = ["shape_problems"]


def shape_problems(name: Any, state: Any, parts: Sequence[Any]) -> list[str]:
    """Return everything that is wrong with a definition, each with its cure."""
    problems = [*_of_the_whole(name, state, parts)]
    if problems:
        return problems
    groups = [steps_of(part) for part in parts]
    steps = [step for group in groups for step in group]
    return [*_of_names(steps), *_of_pivots(groups), *(text for step in steps for text in _of_step(step))]


def _of_the_whole(name: Any, state: Any, parts: Sequence[Any]) -> Iterator[str]:
    if not isinstance(name, str) or not 0 < len(name) <= 100 or ":" in name or name != name.strip():
        yield f"its name is 1 to 100 characters without a colon, not {name!r}"
    if not isinstance(state, type):
        yield f"its state is a class, not {state!r}"
    if not parts:
        yield "it has no steps"
    for part in parts:
        if not isinstance(part, (Step, Parallel)):
            yield f"{part!r} is no Step and no Parallel"


def _of_names(steps: Sequence[Step[Any]]) -> Iterator[str]:
    owners: dict[str, str] = {}
    for step in steps:
        for known in (step.name, *step.aliases):
            if known in owners:
                yield f"the step name {known!r} is there twice, and what is stored under it could belong to either"
            owners[known] = step.name


def _of_pivots(groups: Sequence[Sequence[Step[Any]]]) -> Iterator[str]:
    pivots = [index for index, group in enumerate(groups) if any(step.pivot for step in group)]
    if len(pivots) > 1 or any(sum(step.pivot for step in group) > 1 for group in groups):
        yield "it has two pivots; after the first one it only goes forward, so the second one is a step like others"
    if any(len(groups[index]) > 1 for index in pivots):
        yield "its pivot is in a Parallel, whose other steps may fail when it is done; make it a step of its own"
    last = pivots[0] if pivots else len(groups) - 1
    for index, group in enumerate(groups):
        for step in group:
            undo = step.undoes("act")
            if index < last and undo is None:
                yield (
                    f"the step {step.name!r} cannot be undone: give it compensate=, or say that it needs none: "
                    "compensate=NO_COMPENSATION"
                )
            if index > last and step.compensate is not None:
                yield f"the step {step.name!r} comes after the pivot, so its compensate= would never be called"


def _of_step(step: Step[Any]) -> Iterator[str]:
    where = f"the step {step.name!r}"
    if is_wait(step.act) and (step.fallback or step.breaker or step.retry or not step.idempotent):
        yield f"{where} waits for an event: fallback=, breaker=, retry= and idempotent= mean nothing there"
    if step.breaker is not None and step.fallback is None:
        yield f"{where} has a breaker and no fallback to call when it is open"
    inner = step.fallback
    if is_step(inner) and (is_wait(inner.act) or inner.fallback or inner.breaker or inner.pivot):
        yield f"{where}: its fallback is a step that waits, is a pivot, or has a fallback or a breaker of its own"
