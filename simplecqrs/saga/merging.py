"""One state of several: what the steps of a ``Parallel`` have made of the state before it."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from simplecqrs.errors import InvalidSaga

__all__ = ["merged"]


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
        for name in _fields(state):
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


def _fields(state: Any) -> list[str]:
    kind: type[Any] = state.__class__
    if attrs.has(kind):
        return [field.name for field in attrs.fields(kind)]
    if dataclasses.is_dataclass(state):
        return [field.name for field in dataclasses.fields(state)]
    return [*(getattr(kind, "__struct_fields__", None) or vars(state))]


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
