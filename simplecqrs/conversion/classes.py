"""Classes with fields, of all libraries: read from objects, and written as such."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from simplecqrs.conversion.annotations import class_of, is_unset, may_be_unset
from simplecqrs.conversion.layouts import (
    Entry,
    Layout,
    has_layout,
    is_root_model,
    layout_of,
    library_of,
)
from simplecqrs.conversion.problems import Several, WrongValue
from simplecqrs.conversion.validators import build, refusals
from simplecqrs.messages import Unset

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["add_classes"]

Hook = Callable[[Any, Any], Any]


def add_classes(made: Converter, *, strict: bool, explains: bool) -> None:
    """
    Teach a converter classes with fields.

    Args:
        strict: unknown fields are wrong.
        explains: it goes on after a wrong field, to find them all.
    """
    read = partial(_collecting_hook if explains else _quick_hook, made, strict)
    made.register_structure_hook_factory(has_layout, read)
    made.register_structure_hook_factory(is_root_model, partial(_root_hook, made))
    made.register_unstructure_hook_factory(_is_foreign, partial(_writer, made))
    made.register_unstructure_hook_func(is_root_model, partial(_write_root, made))
    made.register_unstructure_hook_factory(_has_unset_fields, partial(_unset_writer, made))
    made.register_unstructure_hook(Unset, _refuse_unset)


def _is_foreign(kind: Any) -> bool:
    """Tell whether cattrs does not know how to take a class apart; older ones fail at ``Page[Money]`` as a field."""
    library = library_of(kind)
    return library in ("pydantic", "msgspec") or (library is not None and typing.get_origin(kind) is not None)


def _quick_hook(made: Converter, strict: bool, kind: Any) -> Hook:  # noqa: FBT001 - bound by a partial
    """Stop at the first field that is wrong, without saying which."""
    if _is_foreign(kind):
        return _foreign_hook(made, strict, kind)
    plain = made.gen_structure_attrs_fromdict(kind)

    def hook(value: Any, _: Any) -> Any:
        return plain(value if class_of(value) is dict else _fields(value), kind)

    return hook


def _fields(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise WrongValue(f"an object was expected, not {type(value).__name__}")
    return cast("Mapping[str, Any]", value)


def _foreign_hook(made: Converter, strict: bool, kind: Any) -> Hook:  # noqa: FBT001
    layout = layout_of(kind)

    def hook(value: Any, _: Any) -> Any:
        data = _fields(value)
        values: dict[str, Any] = {}
        for entry in layout.entries:
            key = _key(entry, data)
            if key is not None:
                values[entry.name] = made.structure(data[key], entry.hint)
        wrong = _wrong_tag(layout, data) or (_unknown(layout, data) if strict else [])
        if wrong:
            raise Several(wrong)
        return build(layout, values | _extra(layout, data))

    return hook


def _collecting_hook(made: Converter, strict: bool, kind: Any) -> Hook:  # noqa: FBT001
    """Go on after a field that is wrong, and ask all validators, so that the sender hears of everything at once."""
    layout = layout_of(kind)

    def hook(value: Any, _: Any) -> Any:
        data = _fields(value)
        values: dict[str, Any] = {}
        errors: list[tuple[str, Exception]] = []
        for entry in layout.entries:
            try:
                _read(made, entry, data, values)
            except Exception as error:  # noqa: BLE001 - all of them are wanted
                errors.append((f".{entry.keys[0]}", error))
        wrong = {e.name for e in layout.entries if e.required or _key(e, data) is not None} - values.keys()
        errors += _wrong_tag(layout, data) + (_unknown(layout, data) if strict else [])
        return _finish(layout, values | _extra(layout, data), wrong, errors)

    return hook


def _read(made: Converter, entry: Entry, data: Mapping[str, Any], values: dict[str, Any]) -> None:
    key = _key(entry, data)
    if key is not None:
        values[entry.name] = made.structure(data[key], entry.hint)
    elif entry.required:
        raise WrongValue("required, and missing")


def _finish(layout: Layout, values: dict[str, Any], wrong: set[str], errors: list[tuple[str, Exception]]) -> Any:
    errors += refusals(layout, values, wrong)
    if errors:
        raise Several(errors)
    return build(layout, values)


def _key(entry: Entry, data: Mapping[str, Any]) -> str | None:
    for key in entry.keys:
        if key in data:
            return key
    return None


def _unknown(layout: Layout, data: Mapping[str, Any]) -> list[tuple[str, Exception]]:
    if layout.open:
        return []
    return [(f".{key}", WrongValue("there is no such field")) for key in sorted(map(str, data.keys() - layout.keys))]


def _extra(layout: Layout, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a model takes though it has no such field."""
    return {key: data[key] for key in data.keys() - layout.keys} if layout.open else {}


def _wrong_tag(layout: Layout, data: Mapping[str, Any]) -> list[tuple[str, Exception]]:
    if layout.tag is None or data.get(layout.tag[0], layout.tag[1]) == layout.tag[1]:
        return []
    return [(f".{layout.tag[0]}", WrongValue(f"{layout.tag[1]!r} expected"))]


def _root_hook(made: Converter, kind: Any) -> Hook:
    hint = kind.model_fields["root"].annotation
    return lambda value, _: kind.model_validate(made.structure(value, hint))


def _write_root(made: Converter, value: Any) -> Any:
    return made.unstructure(value.root)


def _writer(made: Converter, kind: Any) -> Callable[[Any], dict[str, Any]]:
    """Write field by field as for attrs, so that a class may change its library and not its format."""
    layout = layout_of(kind)
    hooks: dict[str, Callable[[Any], Any]] = {}

    def write(value: Any) -> dict[str, Any]:
        found: dict[str, Any] = {} if layout.tag is None else dict([layout.tag])
        for entry in layout.entries:
            field = getattr(value, entry.name)
            if entry.written and not (entry.unset and is_unset(field)):
                hook = hooks.get(entry.name)
                if hook is None:  # at first use: a class may hold itself
                    hook = hooks[entry.name] = made.get_unstructure_hook(entry.hint)
                found[entry.keys[0]] = hook(field)
        if layout.open:
            found |= made.unstructure(value.model_extra or {})
        return found

    return write


def _has_unset_fields(kind: Any) -> bool:
    return not _is_foreign(kind) and has_layout(kind) and any(may_be_unset(e.hint) for e in layout_of(kind).entries)


def _unset_writer(made: Converter, kind: Any) -> Callable[[Any], Any]:
    """Leave out the fields that are UNSET, so that they are UNSET again on the other side."""
    from cattrs.gen import make_dict_unstructure_fn, override

    omitted: Any = {e.name: override(omit_if_default=True) for e in layout_of(kind).entries if may_be_unset(e.hint)}
    return make_dict_unstructure_fn(kind, made, **omitted)


def _refuse_unset(_: Unset) -> Any:
    raise ValueError("UNSET can be left out only where it is the default: write field: Type | Unset = UNSET")
