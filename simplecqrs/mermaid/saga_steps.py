"""What pictures say of a saga's steps: what is called, and what is said of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from simplecqrs.errors import InvalidSaga
from simplecqrs.saga import NO_COMPENSATION, Saga, Step, SyncSagaStep
from simplecqrs.titles import title

__all__ = ["called", "failing_steps", "remarks", "step_class", "undone_by"]


def called(step: Step[Any], action: str) -> str:
    """Name what an action of a step calls; empty if there is nothing to call."""
    if action == "act" and step.waits is not None:
        return f"waits for {title(step.waits.event)}"
    call = step.call_of(action)
    if call is None or call is NO_COMPENSATION:
        return ""
    cls = step_class(call)
    if cls is not None:
        return f"{title(cls)}.{'compensate' if action.startswith('undo') else 'act'}"
    return title(call)


def step_class(call: Any) -> Any:
    """Return what a step calls if that is a ``SyncSagaStep``; else None."""
    found: Any = call
    return found if isinstance(call, type) and issubclass(call, SyncSagaStep) else None


def undone_by(step: Step[Any]) -> str:
    """Name what undoes a step, and what does so after its fallback, if that is something else."""
    own = called(step, "undo act")
    other = called(step, "undo fallback") if step.fallback is not None else own
    if own == other or not other:
        return own
    return f"{own} or {other}" if own else other


def remarks(step: Step[Any]) -> list[str]:
    """Return what is special about a step."""
    said: list[str] = []
    if step.waits is not None:
        said.append(f"by {step.waits.key}")
        if step.waits.timeout is not None:
            said.append(f"for {str(step.waits.timeout).removesuffix(', 0:00:00')} at most")
    if step.retry is not None and step.retry.attempts > 1:
        said.append(f"{step.retry.attempts} attempts")
    if step.breaker is not None:
        said.append("behind a breaker")
    if step.pivot:
        said.append("from here on only forward")
    if not step.idempotent:
        said.append("never asked twice")
    return said


def failing_steps(saga: Saga[Any], failing: Collection[str] | None) -> Sequence[Step[Any]]:
    """
    Return the steps whose failure is to be shown, in their order; None: all of them.

    Raises:
        InvalidSaga: if there is no such step.
    """
    if failing is None:
        return list(saga.by_name.values())
    if unknown := [name for name in failing if saga.knows(name) is None]:
        raise InvalidSaga(f"{saga.name!r} has no step {unknown[0]!r}; it has {', '.join(map(repr, saga.by_name))}")
    wanted = {saga.knows(name) for name in failing}
    return [step for name, step in saga.by_name.items() if name in wanted]
