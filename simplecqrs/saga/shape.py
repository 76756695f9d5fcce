"""What is wrong with a saga's definition: names, pivots, and steps that cannot be undone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from simplecqrs.saga.states import field_names
from simplecqrs.saga.step import NO_COMPENSATION, Parallel, Step, is_step, is_step_class, is_wait, steps_of

__all__ = ["shape_problems"]


def shape_problems(name: Any, state: Any, parts: Sequence[Any]) -> list[str]:
    """Return everything that is wrong with a definition, each with its cure."""
    problems = [*_of_the_whole(name, state, parts)]
    if problems:
        return problems
    groups = [steps_of(part) for part in parts]
    steps = [step for group in groups for step in group]
    return [
        *_of_names(steps),
        *_of_pivots(groups),
        *(text for step in steps for text in _of_step(step)),
        *(text for step in steps for text in _of_waits(step, state)),
    ]


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
            if index < last and step.undoes("act") is None:
                yield (
                    f"the step {step.name!r} cannot be undone: give it compensate=, or say that it needs none: "
                    "compensate=NO_COMPENSATION"
                )
            elif index < last and step.fallback is not None and step.undoes("fallback") is None:
                yield (
                    f"the fallback of the step {step.name!r} cannot be undone: make it a Step with compensate= of its "
                    "own, or give the step compensate="
                )
            if index > last and step.compensate is not None:
                yield f"the step {step.name!r} comes after the pivot, so its compensate= would never be called"


def _of_step(step: Step[Any]) -> Iterator[str]:
    where = f"the step {step.name!r}"
    yield from _of_calls(step, where)
    if is_wait(step.act) and (step.fallback or step.breaker or step.retry or not step.idempotent):
        yield f"{where} waits for an event: fallback=, breaker=, retry= and idempotent= mean nothing there"
    if step.breaker is not None and step.fallback is None:
        yield f"{where} has a breaker and no fallback to call when it is open"
    inner = step.fallback
    if is_step(inner) and (is_wait(inner.act) or inner.fallback or inner.breaker or inner.pivot):
        yield f"{where}: its fallback is a step that waits, is a pivot, or has a fallback or a breaker of its own"


def _of_calls(step: Step[Any], where: str) -> Iterator[str]:
    act: Any = step.act
    inner: Any = step.fallback
    undo: Any = step.compensate
    if not is_wait(act) and not callable(act):
        yield f"{where}: its act is a function, a SyncSagaStep or wait_for(...), not {act!r}"
    if inner is not None and not is_step(inner) and not callable(inner):
        yield f"{where}: its fallback is a function, a SyncSagaStep or a Step, not {inner!r}"
    if undo is not None and undo is not NO_COMPENSATION and (not callable(undo) or isinstance(undo, type)):
        yield f"{where}: its compensate is a function or NO_COMPENSATION, not {undo!r}"
    if is_step_class(act) and undo is not None and step.undoes("act") is act:
        yield f"{where} has two ways of being undone: compensate= and {act.__qualname__}.compensate; keep one"


def _of_waits(step: Step[Any], state: type[Any]) -> Iterator[str]:
    """Say what an event, or the state, of a step that waits lacks, where it can be seen."""
    waits = step.waits
    if waits is None:
        return
    known = field_names(waits.event)
    if known and waits.key not in known and not hasattr(waits.event, waits.key):
        yield f"{waits.event.__qualname__} has no field {waits.key!r}, by which the step {step.name!r} would know it"
    known = field_names(state)
    if waits.of is None and known and waits.key not in known and not hasattr(state, waits.key):
        yield (
            f"{state.__qualname__} has no field {waits.key!r}, for which the step {step.name!r} waits; say what it is: "
            "wait_for(..., of=lambda state: ...)"
        )
