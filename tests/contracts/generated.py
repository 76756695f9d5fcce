"""Message classes that hypothesis makes up, and values for them."""

from __future__ import annotations

import dataclasses
import enum
import types
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import attrs
from hypothesis import strategies as st

from simplecqrs import NotificationEvent

__all__ = ["Maker", "attrs_class", "dataclass", "messages"]

#: Makes a class of its name, the types of its fields, and its bases.
Maker = Callable[[str, dict[str, Any], tuple[type, ...]], type[Any]]
CENTURY = timedelta(days=36_500)
TEXT = st.text(st.characters(codec="utf-8"), max_size=8)


class Colour(enum.Enum):
    """A choice."""

    RED = "red"
    NONE = "null"


KEYS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers()),
    (str, TEXT),
    (UUID, st.uuids()),
    (date, st.dates()),
    (Colour, st.sampled_from(Colour)),
]
LEAVES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    *KEYS,
    (bool, st.booleans()),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (bytes, st.binary(max_size=8)),
    (datetime, st.datetimes(timezones=st.just(timezone.utc) | st.just(timezone(timedelta(hours=2))))),
    (time, st.times()),
    (timedelta, st.timedeltas(-CENTURY, CENTURY)),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
]


def attrs_class(name: str, fields: dict[str, Any], bases: tuple[type, ...]) -> type[Any]:
    """Make a frozen attrs class."""
    return attrs.frozen(types.new_class(name, bases, {}, lambda body: body.update(__annotations__=fields)))


def dataclass(name: str, fields: dict[str, Any], bases: tuple[type, ...]) -> type[Any]:
    """Make a frozen dataclass."""
    made: type[Any] = dataclasses.make_dataclass(name, fields.items(), bases=bases, frozen=True)
    return made


@st.composite
def typed(draw: st.DrawFn, makers: list[Maker], depth: int) -> tuple[Any, st.SearchStrategy[Any]]:
    """Draw a type and a strategy for its values."""
    shapes = ["leaf"] * 4 + (["list", "many", "pair", "table", "unique", "optional", "union", "class"] if depth else [])
    shape = draw(st.sampled_from(shapes))
    if shape == "leaf":
        return draw(st.sampled_from(LEAVES))
    if shape == "class":
        return draw(classes(makers, depth - 1, ()))
    if shape == "union":
        return int | str | None, st.integers() | TEXT | st.none()
    if shape == "unique":
        key, keys = draw(st.sampled_from(KEYS))
        return frozenset[key], st.frozensets(keys, max_size=2)  # type: ignore[valid-type]
    inner, values = draw(typed(makers, depth - 1))
    return draw(_holding(shape, inner, values))


@st.composite
def _holding(
    draw: st.DrawFn, shape: str, inner: Any, values: st.SearchStrategy[Any]
) -> tuple[Any, st.SearchStrategy[Any]]:
    key, keys = draw(st.sampled_from(KEYS))
    held: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
        "list": (list[inner], st.lists(values, max_size=2)),
        "many": (tuple[inner, ...], st.lists(values, max_size=2).map(tuple)),
        "pair": (tuple[inner, key], st.tuples(values, keys)),
        "table": (dict[key, inner], st.dictionaries(keys, values, max_size=2)),
        "optional": (inner | None, st.none() | values),
    }
    return held[shape]


@st.composite
def classes(
    draw: st.DrawFn, makers: list[Maker], depth: int, bases: tuple[type, ...]
) -> tuple[type[Any], st.SearchStrategy[Any]]:
    """Draw a class and a strategy for its instances."""
    fields = draw(st.lists(typed(makers, depth), min_size=1, max_size=4))
    make = draw(st.sampled_from(makers))
    cls = make("Made", {f"field{i}": kind for i, (kind, _) in enumerate(fields)}, bases)
    return cls, st.builds(cls, **{f"field{i}": values for i, (_, values) in enumerate(fields)})


@st.composite
def messages(draw: st.DrawFn, makers: list[Maker]) -> Any:
    """Draw an event of a class that was never there before."""
    _, values = draw(classes(makers, 2, (NotificationEvent,)))
    return draw(values)
