"""Plain data to messages, with everything that is wrong in one error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from simplecqrs.errors import InvalidMessage, InvalidPayload

if TYPE_CHECKING:
    from simplecqrs.conversion import Hooks

__all__ = ["load", "structure"]

T = TypeVar("T")


def load(kind: type[T], data: Mapping[str, Any]) -> T:
    """
    Make a command of request data, strictly: no unknown fields, nothing is coerced.

    Raises:
        InvalidPayload: with every field that is wrong, and its path.
        InvalidMessage: if the class itself cannot be made of data.
    """
    return structure(kind, data, strict=True)


def structure(kind: type[T], fields: Any, *, strict: bool, hooks: Hooks | None = None) -> T:
    """Make a message of plain data, or raise InvalidPayload with all that is wrong."""
    from simplecqrs.conversion import converter  # late: who only sends needs none of it

    given: Any = fields
    if not isinstance(given, Mapping):
        raise InvalidPayload(
            f"{kind.__qualname__}: an object with its fields was expected, not {type(given).__name__}",
            [("", "an object was expected")],
        )
    try:
        return converter(strict=strict, hooks=hooks).structure(fields, kind)
    except Exception:  # noqa: BLE001 - what is wrong is found out below, where time does not matter
        return _explained(kind, fields, strict, hooks)


def _explained(kind: type[T], fields: Mapping[Any, Any], strict: bool, hooks: Hooks | None) -> T:  # noqa: FBT001
    from simplecqrs.conversion import converter
    from simplecqrs.conversion.inspection import refuse_without_fields
    from simplecqrs.conversion.problems import explain

    if hooks is None:
        refuse_without_fields(kind)
    try:
        return converter(strict=strict, explains=True, hooks=hooks).structure(fields, kind)
    except InvalidMessage:  # the class is wrong, not the data
        raise
    except Exception as error:
        errors = explain(error)
        lines = "; ".join(f"{path or kind.__qualname__}: {reason}" for path, reason in errors)
        raise InvalidPayload(f"this makes no {kind.__qualname__}: {lines}", errors) from error
