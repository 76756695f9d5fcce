"""What of a message may be shown: its fields, without those that are marked or masked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from enum import Enum
from fnmatch import translate
from functools import cache
from itertools import islice
from typing import Any, Final

__all__ = ["hiding", "shown_fields"]

#: How much of a value is shown: characters of a text, items of a collection, levels of nesting.
LONGEST, MOST, DEEPEST = 200, 20, 5
PLAIN: Final = frozenset({"builtins", "datetime", "decimal", "fractions", "ipaddress", "pathlib", "uuid"})

#: Tells whether a field of this name is to be hidden.
Hidden = Callable[[str], bool]


def hiding(patterns: Iterable[str]) -> Hidden:
    """
    Tell by its name whether a field is to be hidden.

    >>> hidden = hiding(["password", "*token*"])
    >>> hidden("password"), hidden("CsrfToken"), hidden("name")
    (True, True, False)
    """
    matches = [re.compile(translate(pattern), re.IGNORECASE).match for pattern in patterns]
    return lambda name: any(match(name) for match in matches)


def shown_fields(message: object, hidden: Hidden) -> dict[str, str]:
    """
    Return the fields of a message that may be shown, as text.

    Fields that are marked ``repr=False`` are left out, and those that are hidden, at any depth.
    """
    return {name: _text(value, hidden, 1) for name, value in _visible(message, hidden)}


def _visible(value: object, hidden: Hidden) -> Iterator[tuple[str, Any]]:
    kind: Any = type(value)
    for name, show in _marks(kind):
        if show is not False and not hidden(name):
            found = getattr(value, name, None)
            yield name, show(found) if callable(show) else found


def _text(value: Any, hidden: Hidden, depth: int) -> str:
    """Write a value; of a class that is not known nothing but its name, for who knows what its repr shows."""
    kind: Any = type(value)  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, Enum):
        return str(value)
    if depth > DEEPEST:
        return "..."
    if _marks(kind):
        fields = ", ".join(f"{name}={_text(found, hidden, depth + 1)}" for name, found in _visible(value, hidden))
        return f"{kind.__name__}({fields})"
    if isinstance(value, Mapping):
        pairs: Iterable[tuple[Any, Any]] = value.items()  # pyright: ignore[reportUnknownVariableType]
        shown = ((key, item) for key, item in pairs if not (isinstance(key, str) and hidden(key)))
        return _several("{}", (f"{_leaf(key)}: {_text(item, hidden, depth + 1)}" for key, item in shown))
    if isinstance(value, (Sequence, Set)) and not isinstance(value, (str, bytes, bytearray, memoryview)):
        items: Iterable[Any] = value  # pyright: ignore[reportUnknownVariableType]
        return _several("[]", (_text(item, hidden, depth + 1) for item in items))
    return _leaf(value)


def _several(brackets: str, texts: Iterator[str]) -> str:
    first = list(islice(texts, MOST))
    more = ["..."] if next(texts, None) is not None else []
    return brackets[0] + ", ".join(first + more) + brackets[1]


def _leaf(value: Any) -> str:
    kind: type[Any] = type(value)
    if kind.__module__ not in PLAIN:
        return f"<{kind.__name__}>"
    text = repr(value[: LONGEST + 1] if isinstance(value, (str, bytes)) else value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


@cache
def _marks(kind: Any) -> tuple[tuple[str, Any], ...]:
    """Return the names of a class's fields, each with what it says about its repr: True, False or a function."""
    if hasattr(kind, "__attrs_attrs__"):
        return tuple((field.name, field.repr) for field in kind.__attrs_attrs__)
    if hasattr(kind, "__dataclass_fields__"):
        from dataclasses import fields

        return tuple((field.name, field.repr) for field in fields(kind))
    if hasattr(kind, "model_fields"):  # pydantic
        return tuple((name, field.repr) for name, field in kind.model_fields.items())
    names: Iterable[str] = getattr(kind, "__struct_fields__", getattr(kind, "_fields", ()))  # msgspec, named tuples
    return tuple((name, True) for name in names)
