"""What attrs' validators say, for every field at once and with its path: a constructor stops at the first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import TYPE_CHECKING, Any

from attrs import NOTHING, Attribute, fields, has

if TYPE_CHECKING:
    from cattrs import Converter
    from cattrs.errors import ClassValidationError

__all__ = ["WrongValue", "report_every_field"]


class WrongValue(TypeError, ValueError):
    """Raised for a value that makes no field; its text is meant for the sender."""


def report_every_field(made: Converter) -> None:
    """Make a converter list all fields that are wrong in an attrs class, those that validators refuse included."""
    from cattrs.errors import ClassValidationError

    def factory(kind: type[Any]) -> Callable[[Any, Any], Any]:
        plain = made.gen_structure_attrs_fromdict(kind)

        def structure(data: Any, _: Any) -> Any:
            given = data
            if not isinstance(data, Mapping):
                raise WrongValue(f"an object was expected, not {type(given).__name__}")
            try:
                return plain(given, kind)
            except ClassValidationError as error:
                raise _completed(error, kind, given, made) from None

        return structure

    made.register_structure_hook_factory(has, factory)


def _completed(
    error: ClassValidationError, kind: type[Any], data: Mapping[str, Any], made: Converter
) -> ClassValidationError:
    """Add what validators say of the fields that are of the right type; a constructor's own error is one of these."""
    from cattrs.errors import AttributeValidationNote, ForbiddenExtraKeysError

    of_fields, others = error.group_exceptions()
    refused = _refused(kind, data, made, wrong={note.name for _, note in of_fields})
    for name, reason in refused.items():
        reason.__notes__ = [AttributeValidationNote(f"attribute {name}", name, kind)]  # type: ignore[attr-defined]
    others = [e for e in others if not refused or isinstance(e, ForbiddenExtraKeysError)]
    return error.derive([*(e for e, _ in of_fields), *refused.values(), *others])


def _refused(kind: type[Any], data: Mapping[str, Any], made: Converter, *, wrong: Set[str]) -> dict[str, Exception]:
    """Ask each validator by itself, with an instance that nobody has validated."""
    instance = object.__new__(kind)
    given = [a for a in fields(kind) if a.init and a.name in data and a.name not in wrong]
    for attribute in given:
        object.__setattr__(instance, attribute.name, _structured(attribute, data[attribute.name], made))
    asked = {a.name: _ask(a, instance) for a in given if a.validator is not None}
    return {name: reason for name, reason in asked.items() if reason is not None}


def _structured(attribute: Attribute[Any], value: Any, made: Converter) -> Any:
    kind: Any = attribute.type
    found = value if kind in (None, NOTHING) else made.structure(value, kind)
    declared: Any = attribute
    return declared.converter(found) if callable(declared.converter) else found


def _ask(attribute: Attribute[Any], instance: Any) -> Exception | None:
    assert attribute.validator is not None
    try:
        attribute.validator(instance, attribute, getattr(instance, attribute.name))
    except AttributeError:  # it compares with a field that is wrong or missing
        return None
    except Exception as error:  # noqa: BLE001 - a validator may raise what it likes
        return WrongValue(str(error.args[0]) if error.args else type(error).__name__)
    return None
