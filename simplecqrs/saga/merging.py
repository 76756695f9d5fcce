"""One state of several: what the steps of a ``Parallel`` have made of the state before it."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from simplecqrs.errors import InvalidSaga
from simplecqrs.saga.beginning import LONGEST_ERROR, note
from simplecqrs.saga.records import Record
from simplecqrs.saga.states import field_names

if TYPE_CHECKING:
    from simplecqrs.saga.definition import Saga
    from simplecqrs.saga.step import Step

__all__ = ["join", "merged"]


def merged(before: Any, states: Sequence[Any], merge: Callable[[Any, Sequence[Any]], Any] | None) -> Any:
    """
    Return the state before with all that the others have changed in it, in their order.

    Raises:
        InvalidSaga: if two of them have changed a field to different values.
    """
    if merge is not None:
        return merge(before, states)
    changes: dict[str, Any] = {}
    for state in states:
        for name in field_names(state.__class__) or [*getattr(state, "__dict__", ())]:
            value = getattr(state, name)
            if value == getattr(before, name):
                continue
            if name in changes and changes[name] != value:
                raise InvalidSaga(
                    f"two steps that run in parallel have set {type(state).__qualname__}.{name}, to {changes[name]!r} "
                    f"and {value!r}; say what becomes of that: Parallel(..., merge=...)"
                )
            changes[name] = value
    return _changed(before, changes)


def _changed(state: Any, changes: dict[str, Any]) -> Any:
    kind: type[Any] = state.__class__
    if attrs.has(kind):
        return attrs.evolve(state, **{_alias(kind, name): value for name, value in changes.items()})
    if dataclasses.is_dataclass(state) and not isinstance(state, type):
        return dataclasses.replace(state, **changes)
    new = copy.copy(state)
    for name, value in changes.items():
        setattr(new, name, value)
    return new


def _alias(cls: type[Any], name: str) -> str:
    return str(getattr(attrs.fields(cls), name).alias)


def join(saga: Saga[Any], record: Record, group: Sequence[Step[Any]]) -> bool:
    """Make one state of those that the steps of a Parallel have returned; if that fails, the last of them has."""
    states = [record.progress[step.name].state for step in group] if len(group) > 1 else []
    returned = [state for state in states if state is not None]
    if not returned:
        return True
    try:
        record.state = merged(record.state, returned, saga.merge_of(group[0]))
    except Exception as error:  # noqa: BLE001 - a merge is the user's code; what was done is undone
        text = f"{type(error).__name__}: {error}"[:LONGEST_ERROR]
        record.error = record.error or f"{group[-1].name}: {text}"
        last = record.progress[group[-1].name]
        record.progress[group[-1].name] = last._replace(phase="failed", unknown=True, error=text)
        note(record, group[-1].name, "merge", "failed", error=text)
        return False
    for step in group:
        record.progress[step.name] = record.progress[step.name]._replace(state=None)
    return True
