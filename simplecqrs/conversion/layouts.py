"""The fields of a class, whichever library made it: attrs, a dataclass, pydantic or msgspec."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final, Literal

import attrs
from attrs import frozen

from simplecqrs.conversion.annotations import is_unset, resolved_hints
from simplecqrs.errors import InvalidMessage
from simplecqrs.messages import Unset

__all__ = ["Entry", "Layout", "has_layout", "is_root_model", "layout_of", "library_of", "read_layout"]

Library = Literal["attrs", "dataclass", "pydantic", "msgspec"]
#: The base of all models, by module and name, so that nothing is imported for it.
PYDANTIC: Final = ("pydantic.main", "BaseModel")


@frozen(eq=False)
class Entry:
    """
    One field.

    Args:
        name: the attribute.
        init: what the constructor calls it.
        keys: what data may call it; the first one is written.
        hint: its type.
        required: it has no default.
        written: it is part of what is sent.
        unset: its default is UNSET, so that leaving it out says UNSET.
    """

    name: str
    init: str
    keys: tuple[str, ...]
    hint: Any
    required: bool = True
    written: bool = True
    unset: bool = False


@frozen(eq=False)
class Layout:
    """The fields of one class, and the tag that msgspec writes beside them."""

    kind: Any
    library: Library
    entries: tuple[Entry, ...]
    tag: tuple[str, Any] | None = None
    open: bool = False

    @property
    def keys(self) -> set[str]:
        """Return every key that data may have."""
        return {key for entry in self.entries for key in entry.keys} | ({self.tag[0]} if self.tag else set())


def library_of(kind: Any) -> Library | None:
    """Tell what made a class, or the class of a generic alias; None: it has no fields that we know of."""
    cls = typing.get_origin(kind) or kind
    if not inspect.isclass(cls):
        return None
    if attrs.has(cls):
        return "attrs"
    if hasattr(cls, "__struct_fields__") and hasattr(cls, "__struct_config__"):
        return "msgspec"
    if any((c.__module__, c.__name__) == PYDANTIC for c in cls.__mro__):
        return "pydantic"
    return "dataclass" if dataclasses.is_dataclass(cls) else None


def has_layout(kind: Any) -> bool:
    """Tell whether a type is a class with fields."""
    return library_of(kind) is not None and not is_root_model(kind)


def is_root_model(kind: Any) -> bool:
    """Tell whether it is a pydantic model that is but one value."""
    return getattr(kind, "__pydantic_root_model__", False) is True


@lru_cache(maxsize=1024)
def layout_of(kind: Any) -> Layout:
    """
    Return the fields of a class, and keep them, and so the class, for the next time.

    Raises:
        InvalidMessage: if a type hint cannot be resolved.
    """
    return read_layout(kind)


def read_layout(kind: Any) -> Layout:
    """Find out the fields of a class, which may be forgotten afterwards."""
    library = library_of(kind)
    if library == "msgspec":
        return _of_struct(kind)
    if library == "pydantic":
        return _of_model(kind)
    return Layout(kind, library or "attrs", tuple(_plain_entries(kind)))


def _plain_entries(kind: Any) -> Iterator[Entry]:
    cls, hints = typing.get_origin(kind) or kind, resolved_hints(kind)
    if attrs.has(cls):
        for a in attrs.fields(cls):
            if a.init:
                hint = hints.get(a.name, Any if a.type is None else a.type)
                required, unset = a.default is attrs.NOTHING, isinstance(a.default, Unset)
                yield Entry(a.name, a.alias, (a.name,), hint, required, unset=unset)
        return
    for f in dataclasses.fields(cls):
        if f.init:
            required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
            yield Entry(f.name, f.name, (f.name,), hints.get(f.name, Any), required, unset=isinstance(f.default, Unset))


def _of_struct(kind: Any) -> Layout:
    from msgspec import NODEFAULT, structs

    cls, hints = typing.get_origin(kind) or kind, resolved_hints(kind)
    entries = [
        Entry(
            f.name,
            f.name,
            (f.encode_name,),
            hints.get(f.name, f.type),
            f.required,
            unset=f.default is not NODEFAULT and is_unset(f.default),
        )
        for f in structs.fields(kind)
    ]
    config: Any = cls.__struct_config__
    tag = None if config.tag is None else (config.tag_field, config.tag)
    return Layout(kind, "msgspec", tuple(entries), tag)


def _of_model(kind: Any) -> Layout:
    if not getattr(kind, "__pydantic_complete__", True):
        kind.model_rebuild()
    entries = [
        Entry(
            name,
            name,
            _model_keys(kind, name, field),
            field.annotation,
            field.is_required(),
            written=not field.exclude,
            unset=isinstance(field.default, Unset),
        )
        for name, field in kind.model_fields.items()
    ]
    return Layout(kind, "pydantic", tuple(entries), open=kind.model_config.get("extra") == "allow")


def _model_keys(kind: Any, name: str, field: Any) -> tuple[str, ...]:
    alias = name if field.validation_alias is None else field.validation_alias
    keys = tuple(c for c in getattr(alias, "choices", [alias]) if isinstance(c, str))
    if not keys:
        raise InvalidMessage(f"{kind.__qualname__}.{name}: only an alias that is a name can be written and read")
    by_name = any(kind.model_config.get(option) for option in ("populate_by_name", "validate_by_name"))
    return (*keys, name) if by_name and name not in keys else keys
