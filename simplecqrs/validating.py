"""What attrs' validators say, for every field at once and with its path: a constructor stops at the first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import NOTHING, Attribute, Factory, fields, has

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["WrongValue", "report_every_field"]

Structure = Callable[[Any, Any], Any]


class WrongValue(TypeError, ValueError):
    """Raised for a value that makes no field; its text is meant for the sender."""


def report_every_field(made: Converter) -> None:
    """Make a converter list all fields of attrs classes whose validators refuse them."""
    from cattrs.errors import AttributeValidationNote, ClassValidationError

    def factory(kind: type[Any]) -> Structure:
        plain = made.gen_structure_attrs_fromdict(kind)

        def structure(data: Any, _: Any) -> Any:
            if not isinstance(data, Mapping):
                raise WrongValue(f"an object was expected, not {type(data).__name__}")
            try:
                return plain(data, kind)
            except ClassValidationError as error:
                if error.group_exceptions()[0]:  # some fields are of the wrong type
                    raise
                refused = _refused(kind, data, made)
                if not refused:  # it was no validator
                    raise
            for name, reason in refused:
                note = AttributeValidationNote(f"Structuring class {kind.__qualname__} @ attribute {name}", name, kind)
                reason.__notes__ = [note]  # type: ignore[attr-defined]
            raise ClassValidationError(f"While structuring {kind.__name__}", [r for _, r in refused], kind)

        return structure

    made.register_structure_hook_factory(has, factory)


def _refused(kind: type[Any], data: Mapping[str, Any], made: Converter) -> list[tuple[str, Exception]]:
    """Ask each validator by itself, with an instance that nobody has validated."""
    instance = object.__new__(kind)
    for attribute in fields(kind):
        if attribute.init and attribute.name in data:
            object.__setattr__(instance, attribute.name, _structured(attribute, data[attribute.name], made))
        elif attribute.default is not NOTHING and not isinstance(attribute.default, Factory):  # type: ignore[arg-type]
            object.__setattr__(instance, attribute.name, attribute.default)
    asked = ((a.name, _ask(a, instance)) for a in fields(kind) if a.name in data and a.validator is not None)
    return [(name, reason) for name, reason in asked if reason is not None]


def _structured(attribute: Attribute[Any], value: Any, made: Converter) -> Any:
    found = value if attribute.type in (None, NOTHING) else made.structure(value, attribute.type)  # type: ignore[arg-type]
    return attribute.converter(found) if callable(attribute.converter) else found


def _ask(attribute: Attribute[Any], instance: Any) -> Exception | None:
    assert attribute.validator is not None
    try:
        attribute.validator(instance, attribute, getattr(instance, attribute.name))
    except Exception as error:  # noqa: BLE001 - a validator may raise what it likes
        return WrongValue(str(error.args[0]) if error.args else type(error).__name__)
    return None
