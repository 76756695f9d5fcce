"""What type hints say, each resolved on its own."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

__all__ = ["call_of", "classes_in", "hints_of", "is_async", "is_union", "resolve_in"]


def hints_of(target: Callable[..., Any]) -> dict[str, Any]:
    """
    Return the type hints of what a callable takes; those that cannot be resolved here stay strings.

    Those of a class are the ones of its ``__init__``.
    """
    while isinstance(target, partial):
        target = target.func
    if isinstance(target, type):
        return _init_hints(target)
    if not inspect.isroutine(target):
        target = call_of(target)
    return _resolved(target, getattr(inspect.unwrap(target), "__globals__", {}))


def _init_hints(cls: type[Any]) -> dict[str, Any]:
    """Resolve in the module of the class: an ``__init__`` that attrs has written belongs to none."""
    owner = next(c for c in cls.__mro__ if "__init__" in vars(c))
    module = sys.modules.get(owner.__module__)
    return _resolved(vars(owner)["__init__"], vars(module) if module is not None else {})


def _resolved(target: Any, names: Mapping[str, Any]) -> dict[str, Any]:
    hints = dict(getattr(inspect.unwrap(target), "__annotations__", {}))
    return {name: _resolve(hint, names) for name, hint in hints.items()}


def _resolve(hint: Any, names: Mapping[str, Any]) -> Any:
    """Resolve one hint at a time, so that one that is imported for checkers only does not hide the others."""
    try:
        return typing.get_type_hints(types.SimpleNamespace(__annotations__={"it": hint}), dict(names))["it"]
    except Exception:  # noqa: BLE001 - a hint may run any code
        return hint


def resolve_in(cls: type[Any], hint: Any) -> Any:
    """Resolve a hint that was written in a class; one that cannot be resolved stays a string."""
    module = sys.modules.get(cls.__module__)
    return _resolve(hint, vars(module) if module is not None else {})


def call_of(instance: object) -> Any:
    """Return the function that runs when an object is called."""
    return getattr(type(instance), "__call__", instance)  # noqa: B004 - the function itself is asked for


def is_async(target: Callable[..., Any]) -> bool:
    """Tell whether calling a function, a partial or an object gives something to await."""
    return any(
        inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called)
        for called in (target, call_of(target))
    )


def is_union(hint: Any) -> bool:
    """Tell whether a type hint is a union, written either way."""
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def classes_in(hint: Any) -> tuple[type[Any], ...] | None:
    """Return the classes of a type hint, those of a union; None if there is anything that is no plain class."""
    if is_union(hint):
        parts = [classes_in(part) for part in typing.get_args(hint)]
        return None if None in parts else tuple(cls for part in parts for cls in part or ())
    kind = typing.get_origin(hint) or hint
    if not isinstance(kind, type) or kind is Any or getattr(kind, "_is_protocol", False):
        return None
    return (kind,)
