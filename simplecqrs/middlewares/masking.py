"""What of a message may be shown: its fields, without those that are marked or masked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from enum import Enum
from fnmatch import translate
from functools import cache
from itertools import islice
from typing import Any, Final

__all__ = ["Hidden", "hiding", "marks_of", "shown_fields"]

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
    return dict(_shown(message, hidden, 0))


def _shown(value: Any, hidden: Hidden, depth: int) -> Iterator[tuple[str, str]]:
    for name, show in marks_of(_kind(value)):
        if show is not False and not hidden(name):
            found = getattr(value, name, None)
            yield name, str(show(found)) if callable(show) else _text(found, hidden, depth + 1)


def _text(value: Any, hidden: Hidden, depth: int) -> str:
    """Write a value; of a class that is not known nothing but its name, for who knows what its repr shows."""
    kind = _kind(value)
    if depth > DEEPEST:
        return "..."
    if marks_of(kind):
        return f"{kind.__name__}({', '.join(f'{name}={text}' for name, text in _shown(value, hidden, depth))})"
    if issubclass(kind, Mapping):
        shown = ((key, item) for key, item in value.items() if not (isinstance(key, str) and hidden(key)))
        return _several("{}", (f"{_leaf(key)}: {_text(item, hidden, depth + 1)}" for key, item in shown))
    if issubclass(kind, (Sequence, Set)) and not issubclass(kind, (str, bytes, bytearray, memoryview)):
        return _several("[]", (_text(item, hidden, depth + 1) for item in value))
    return _leaf(value)


def _several(brackets: str, texts: Iterator[str]) -> str:
    first = list(islice(texts, MOST))
    more = ["..."] if next(texts, None) is not None else []
    return brackets[0] + ", ".join(first + more) + brackets[1]


def _leaf(value: Any) -> str:
    kind = _kind(value)
    if issubclass(kind, Enum):
        return str(value)
    if kind.__module__.partition(".")[0] not in PLAIN:
        return f"<{kind.__name__}>"
    text = repr(value[: LONGEST + 1] if issubclass(kind, (str, bytes)) else value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _kind(value: object) -> Any:  # for a type checker that would rather know
    return type(value)


@cache
def marks_of(kind: Any) -> tuple[tuple[str, Any], ...]:
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
