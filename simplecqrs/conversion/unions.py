"""Unions: which of its types a value in JSON is of, and whether that can be told at all."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from itertools import combinations
from types import NoneType
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from simplecqrs.conversion.annotations import bare, class_of, label, members
from simplecqrs.conversion.layouts import has_layout, layout_of
from simplecqrs.conversion.nesting import is_array, is_object
from simplecqrs.conversion.problems import WrongValue
from simplecqrs.conversion.scalars import is_enum, is_literal, is_plain_class, literal_values
from simplecqrs.errors import InvalidMessage
from simplecqrs.hints import is_union

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["add_unions", "look_alikes"]

Hook = Callable[[Any, Any], Any]
#: How texts that are not just any text look when we write them; no two of these fit the same text.
LOOKS: Final[Mapping[Any, re.Pattern[str]]] = {
    UUID: re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-"),
    datetime: re.compile(r"\d{4}-\d\d-\d\d[T ]"),
    date: re.compile(r"\d{4}-\d\d-\d\d$"),
    time: re.compile(r"\d\d:\d\d"),
    Decimal: re.compile(r"[+-]?[\d.]+([eE][+-]?\d+)?$"),
}
#: What a value in JSON is, for types that are one piece or hold whatever they hold.
SHAPES: Final[list[tuple[Callable[[Any], bool], tuple[Any, ...]]]] = [
    (is_array, (list, tuple, set, frozenset)),
    (is_object, (Mapping,)),
    (lambda kind: kind in (float, timedelta), (int, float)),
    (lambda kind: kind is bytes or (is_plain_class(kind) and issubclass(kind, str)), (str,)),
]
JSON_KINDS: Final[Mapping[Any, str]] = {NoneType: "null", bool: "true or false", int: "int", float: "number"}


def add_unions(made: Converter) -> None:
    """Teach a converter to find out which type of a union it is."""
    made.register_structure_hook_factory(is_union, partial(_hook, made))


def _hook(made: Converter, kind: Any) -> Hook:
    problem = look_alikes(kind)
    if problem:
        raise InvalidMessage(problem)
    kinds = members(kind)
    others = tuple(k for k in kinds if k is not NoneType)
    optional = len(others) < len(kinds)
    choose = _chooser(others)
    hooks: dict[Any, Hook] = {}

    def hook(value: Any, _: Any) -> Any:
        if value is None and optional:
            return None
        chosen = choose(value)
        found = hooks.get(chosen)
        if found is None:  # at first use: a class may hold a union of itself
            found = hooks[chosen] = made.get_structure_hook(chosen)
        return found(value, chosen)

    return hook


def _chooser(kinds: tuple[Any, ...]) -> Callable[[Any], Any]:
    if len(kinds) == 1:
        only = kinds[0]
        return lambda _: only
    classes = tuple(k for k in kinds if has_layout(k))
    names = " | ".join(map(label, kinds))

    def choose(value: Any) -> Any:
        own = class_of(value)
        if own in kinds:
            return own
        for kind in kinds:
            if _fits(value, kind):
                return kind
        if isinstance(value, Mapping) and classes:
            return _closest(value, classes)
        raise WrongValue(f"{names} expected, not {own.__name__}")

    return choose


def _fits(value: Any, kind: Any) -> bool:
    """Tell whether a value is of a type that has no fields, by its look."""
    kind = bare(kind)
    if kind in LOOKS:
        return isinstance(value, str) and LOOKS[kind].match(value) is not None
    if is_enum(kind) or is_literal(kind):
        return _is_one_of(value, _listed(kind))
    for is_kind, classes in SHAPES:
        if is_kind(kind):
            return isinstance(value, classes) and not isinstance(value, bool)
    return kind is Any or type(value) is kind


def _closest(data: Any, classes: tuple[Any, ...]) -> Any:
    """Return the class that data fits: of those whose literals agree, the one that leaves least over."""

    def distance(kind: Any) -> tuple[int, int, int]:
        layout = layout_of(kind)
        wrong = sum(key in data and not _is_one_of(data[key], values) for key, values in _marks(kind).items())
        missing = sum(entry.required and not any(k in data for k in entry.keys) for entry in layout.entries)
        return wrong, missing, len(data.keys() - layout.keys)

    return min(classes, key=distance)


def _is_one_of(value: Any, values: set[tuple[type[Any], Any]]) -> bool:
    return isinstance(value, (str, int, float, NoneType)) and (type(value), value) in values


def _marks(kind: Any) -> dict[str, set[tuple[type[Any], Any]]]:
    """Return what tells a class from others: its tag, and its literals, by key."""
    layout = layout_of(kind)
    literals = [e for e in layout.entries if is_literal(bare(e.hint))]
    found = {e.keys[0]: set(literal_values(bare(e.hint))) for e in literals}
    if layout.tag:
        key, tag = layout.tag
        found[key] = {(type(tag), tag)}
    return found


def look_alikes(kind: Any) -> str:
    """Return why the types of a union cannot be told apart in JSON, with the cure; empty if they can."""
    for one, other in combinations([bare(k) for k in members(kind)], 2):
        if _alike(one, other):
            both = f"{label(one)} and {label(other)} look alike in JSON"
            cure = "wrap one of them in a class of its own"
            if has_layout(one) and has_layout(other):
                cure = 'tell them apart by a field: type: Literal["..."] = "...", with another text in each'
            return f"{both}; {cure}"
    return ""


def _alike(one: Any, other: Any) -> bool:
    if has_layout(one) and has_layout(other):
        return _alike_classes(one, other)
    if one in LOOKS and other in LOOKS:
        return False
    if _listed(one) and _listed(other):
        return not _listed(one).isdisjoint(_listed(other))
    return not {*_json(one)}.isdisjoint({*_json(other)})


def _alike_classes(one: Any, other: Any) -> bool:
    """Find out whether there is data that makes either of them."""
    marks = _marks(one), _marks(other)
    if any(marks[0][key].isdisjoint(marks[1][key]) for key in marks[0].keys() & marks[1].keys()):
        return False
    return _needed(one) <= layout_of(other).keys and _needed(other) <= layout_of(one).keys


def _needed(kind: Any) -> set[str]:
    return {entry.keys[0] for entry in layout_of(kind).entries if entry.required}


def _json(kind: Any) -> Iterator[object]:
    """Yield what a type is in JSON; for enumerations and literals, the values."""
    if kind is Any or kind is object:
        yield from ("null", "true or false", "int", "number", "text", "array", "object")
    elif is_enum(kind) or is_literal(kind):
        yield from (JSON_KINDS.get(of, "text") for of, _ in _listed(kind))
    elif kind is float:
        yield "number"
    elif kind is timedelta:
        yield from ("int", "number")
    elif kind in JSON_KINDS:
        yield JSON_KINDS[kind]
    elif is_array(kind):
        yield "array"
    elif is_object(kind) or has_layout(kind):
        yield "object"
    else:
        yield "text"


def _listed(kind: Any) -> set[tuple[type[Any], Any]]:
    """Return the values of an enumeration or a literal."""
    if is_enum(kind):
        return {(type(m.value), m.value) for m in kind}
    return set(literal_values(kind)) if is_literal(kind) else set()
