"""What is wrong with a value that was built in Python, compared with its type hints; nothing is coerced."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any, Final

from simplecqrs.conversion.annotations import bare, class_of, is_unset, label, may_be_unset, members
from simplecqrs.conversion.layouts import Entry, Layout, has_layout, layout_of
from simplecqrs.conversion.nesting import is_array, is_object
from simplecqrs.conversion.problems import is_library_error, library_errors
from simplecqrs.conversion.scalars import is_literal, literal_values
from simplecqrs.conversion.validators import attrs_refusals, struct_refusals
from simplecqrs.errors import InvalidMessage
from simplecqrs.hints import is_union

__all__ = ["mistakes"]

Mistakes = Iterator[tuple[str, str]]
#: Subclasses that mean something else: True is no number, and a moment is no day.
NO_STAND_INS: Final[Mapping[Any, Any]] = {int: bool, date: datetime}
MISSING: Final = object()


def mistakes(value: Any) -> Mistakes:
    """Yield the path of every field that is wrong, and what is wrong with it, in an instance of a class with fields."""
    kind = class_of(value)
    if has_layout(kind):
        try:
            found = list(_in_fields(value, layout_of(kind)))
        except RecursionError:
            found = [("", "nested too deeply")]
        except InvalidMessage:  # its hints are for type checkers only
            found = []
        yield from ((path.removeprefix("."), reason) for path, reason in dict.fromkeys(found))


def _in_fields(value: Any, layout: Layout) -> Mistakes:
    wrong: set[str] = set()
    for entry in layout.entries:
        found = list(_in_field(value, entry))
        if found:
            wrong.add(entry.name)
            yield from ((f".{entry.name}{path}", reason) for path, reason in found)
    yield from _refused(value, layout, wrong)


def _in_field(value: Any, entry: Entry) -> Mistakes:
    field = getattr(value, entry.name, MISSING)
    if field is MISSING:  # model_construct leaves out what it is not given
        yield "", "required, and missing"
    else:
        yield from _in_value(field, entry.hint)


def _refused(value: Any, layout: Layout, wrong: set[str]) -> Mistakes:
    """Ask the validators of the fields that are of their types."""
    fine = {e.name: getattr(value, e.name) for e in layout.entries if e.name not in wrong}
    if layout.library == "attrs":
        yield from ((path, str(error)) for path, error in attrs_refusals(value, fine))
    elif layout.library == "msgspec":
        for path, error in struct_refusals(layout, fine):
            yield from ((path + step, str(told)) for step, told in library_errors(error))
    elif layout.library == "pydantic" and not wrong:
        yield from _refused_by_model(value, layout)


def _refused_by_model(value: Any, layout: Layout) -> Mistakes:
    """Validate a model once more: ``model_construct`` and assignments go past its validators."""
    cls = class_of(value)
    names: dict[str, Any] = {entry.keys[0]: getattr(value, entry.name) for entry in layout.entries}
    try:
        cls.model_validate(names | (value.model_extra or {}))
    except ValueError as error:
        if not is_library_error(error):
            raise
        yield from ((path, str(reason)) for path, reason in library_errors(error))


def _in_value(value: Any, hint: Any) -> Mistakes:
    hint = bare(hint)
    kinds = members(hint)
    if is_union(hint):
        yield from _in_union(value, hint, kinds)
    elif is_literal(hint):
        if value not in typing.get_args(hint):
            yield "", f"one of {', '.join(repr(v) for v in literal_values(hint).values())} expected"[:200]
    elif is_array(hint):
        yield from _in_array(value, hint)
    elif is_object(hint):
        yield from _in_object(value, hint)
    else:
        yield from _in_instance(value, hint)


def _in_union(value: Any, hint: Any, kinds: tuple[Any, ...]) -> Mistakes:
    if may_be_unset(hint) and is_unset(value):
        return
    found = [list(_in_value(value, kind)) for kind in kinds]
    if [] in found:
        return
    for wrong in found:
        if any(path for path, _ in wrong):  # it is of this type, and something within it is wrong
            yield from wrong
            return
    yield "", f"{' | '.join(map(label, kinds))} expected, not {type(value).__name__}"


def _in_instance(value: Any, hint: Any) -> Mistakes:
    kind = typing.get_origin(hint) or hint
    if kind is Any or not inspect.isclass(kind) or getattr(kind, "_is_protocol", False):
        return  # nothing that could be asked
    if _is_foreign_leaf(kind):
        return
    if type(value) is not kind and not _may_stand_for(value, kind):
        yield "", f"{kind.__name__} expected, not {type(value).__name__}"
    elif has_layout(type(value)):
        own = class_of(value)
        yield from _in_fields(value, layout_of(hint if own is kind else own))


def _is_foreign_leaf(kind: Any) -> bool:
    """Tell whether it is a type of pydantic's that values need not be instances of, as AwareDatetime."""
    return str(kind.__module__).startswith("pydantic.")


def _may_stand_for(value: Any, kind: Any) -> bool:
    """Tell whether a value of another class is one as well: an int is a float, but True is no int."""
    if kind is float and type(value) is int:
        return True
    return isinstance(value, kind) and not isinstance(value, NO_STAND_INS.get(kind, ()))


def _in_array(value: Any, hint: Any) -> Mistakes:
    kind = typing.get_origin(hint) or hint
    wanted: tuple[Any, ...] = typing.get_args(hint) or (Any, ...)
    if not isinstance(value, kind) or isinstance(value, (str, bytes)):
        yield "", f"{label(kind)} expected, not {type(value).__name__}"
    elif isinstance(value, Iterator):
        return  # looking at it would use it up
    elif kind is tuple and wanted[-1] is not ... and len(value) != len(wanted):
        yield "", f"a tuple of {len(wanted)} expected, not of {len(value)}"
    else:
        fixed = kind is tuple and wanted[-1] is not ...
        for i, item in enumerate(value):
            yield from ((f"[{i}]{path}", reason) for path, reason in _in_value(item, wanted[i if fixed else 0]))


def _in_object(value: Any, hint: Any) -> Mistakes:
    if not isinstance(value, typing.get_origin(hint) or hint):
        yield "", f"{label(typing.get_origin(hint) or hint)} expected, not {type(value).__name__}"
        return
    data: Mapping[Any, Any] = value
    key_hint, item_hint = typing.get_args(hint) or (Any, Any)
    for key, item in data.items():
        yield from ((f"[{key!r}]{path}", f"as key: {reason}") for path, reason in _in_value(key, key_hint))
        yield from ((f"[{key!r}]{path}", reason) for path, reason in _in_value(item, item_hint))
