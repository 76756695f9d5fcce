"""Type hints of fields: what they are about, and what type parameters stand for."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from typing import Any, cast

from simplecqrs.errors import InvalidMessage
from simplecqrs.hints import is_union
from simplecqrs.messages import Unset

__all__ = ["bare", "class_of", "is_unset", "label", "may_be_unset", "meanings_of", "members", "resolved_hints"]


def bare(hint: Any) -> Any:
    """Return what an annotation or a new type is about."""
    while True:
        if typing.get_origin(hint) is typing.Annotated:
            hint = typing.get_args(hint)[0]
        elif hasattr(hint, "__supertype__"):
            hint = hint.__supertype__
        else:
            return type(None) if hint is None else hint


def members(hint: Any) -> tuple[Any, ...]:
    """Return the types of a union, without UNSET; unions within it are part of it.  A type is a union of itself."""
    if not is_union(bare(hint)):
        return (hint,)
    parts = [part for part in typing.get_args(bare(hint)) if not _is_unset_type(part)]
    return tuple(dict.fromkeys(member for part in parts for member in members(part)))


def class_of(value: Any) -> Any:
    """Return the class of a value, of which type checkers know nothing."""
    return cast("Any", type(value))


def label(kind: Any) -> str:
    """Return how a type is called in errors."""
    return "None" if kind is type(None) else getattr(kind, "__qualname__", None) or repr(kind)


def is_unset(value: object) -> bool:
    """Tell whether a value is our UNSET, or that of msgspec."""
    return isinstance(value, Unset) or _is_unset_type(type(value))


def _is_unset_type(kind: Any) -> bool:
    if kind is Unset:
        return True
    return getattr(kind, "__name__", "") == "UnsetType" and getattr(kind, "__module__", "").startswith("msgspec")


def may_be_unset(hint: Any) -> bool:
    """Tell whether a type hint allows for UNSET."""
    return is_union(hint) and any(map(_is_unset_type, typing.get_args(hint)))


def resolved_hints(kind: Any) -> dict[str, Any]:
    """Return the type hints of a class, with what its type parameters stand for put in."""
    cls = typing.get_origin(kind) or kind
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise InvalidMessage(
            f"{cls.__qualname__}: the type {error.name!r} of a field cannot be found in {cls.__module__}; import it "
            "there, and not for type checkers only"
        ) from None
    meanings = dict(meanings_of(cls, typing.get_args(kind)))
    owners: dict[str, Any] = {}
    for owner in reversed(cls.__mro__):
        owners.update(dict.fromkeys(_own(owner).get("__annotations__", ()), owner))
    return {name: _meant(hint, meanings.get(owners.get(name), {})) for name, hint in hints.items()}


def meanings_of(cls: Any, arguments: tuple[Any, ...]) -> Iterator[tuple[Any, Mapping[Any, Any]]]:
    """Tell for a class and each of its bases what its type parameters stand for."""
    own = dict(zip(getattr(cls, "__parameters__", ()), arguments, strict=False))
    yield cls, own
    bases: tuple[Any, ...] = _own(cls).get("__orig_bases__", cls.__bases__)
    for base in bases:
        origin: Any = typing.get_origin(base)
        if origin is None and base is not object:
            yield from meanings_of(base, ())
        elif origin is not None and origin is not typing.Generic:
            yield from meanings_of(origin, tuple(_meant(a, own) for a in typing.get_args(base)))


def _own(cls: Any) -> dict[str, Any]:
    return {**vars(cls)}


def _meant(hint: Any, meaning: Mapping[Any, Any]) -> Any:
    if isinstance(hint, typing.TypeVar):
        return meaning.get(hint, Any)
    parameters = getattr(hint, "__parameters__", ())
    if not parameters or typing.get_origin(hint) is None:
        return hint
    return hint[tuple(meaning.get(p, Any) for p in parameters)]
