"""Values of pydantic's own types, as HttpUrl: pydantic reads and writes them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from simplecqrs.conversion.layouts import library_of

if TYPE_CHECKING:
    from cattrs import Converter
    from pydantic import TypeAdapter

__all__ = ["add_foreign"]


def add_foreign(made: Converter) -> None:
    """Teach a converter what only pydantic knows."""
    made.register_structure_hook_func(_is_pydantics, _read)
    made.register_unstructure_hook_factory(_is_pydantics, partial(_writer, made))


def _is_pydantics(kind: Any) -> bool:
    return inspect.isclass(kind) and hasattr(kind, "__get_pydantic_core_schema__") and library_of(kind) is None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _read(value: Any, kind: Any) -> Any:
    try:
        text = json.dumps(value)
    except TypeError:  # no data but a value, as cleaned forms have
        return _adapter(kind).validate_python(value)
    return _adapter(kind).validate_json(text, strict=True)


def _writer(made: Converter, kind: Any) -> Callable[[Any], Any]:
    def write(value: Any) -> Any:
        if not _is_pydantics(type(value)):  # AwareDatetime is but a datetime
            return made.unstructure(value)
        if hasattr(value, "get_secret_value"):
            raise ValueError("a secret is not written; exclude=True leaves it out")
        return _adapter(kind).dump_python(value, mode="json")

    return write
