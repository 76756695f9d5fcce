"""What a handler or a step needs: the types of its dependencies."""

from __future__ import annotations

import inspect
from typing import Any

from simplecqrs.hints import hints_of

__all__ = ["needs_of"]


def needs_of(call: Any) -> dict[str, Any]:
    """Return the dependencies of a function, by keyword, or of a class, by ``__init__``: name to type."""
    try:
        parameters = list(inspect.signature(call).parameters.values())
    except (TypeError, ValueError):  # what C has written
        return {}
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [
        p
        for p in parameters
        if p.default is p.empty and (p.kind not in kinds if isinstance(call, type) else p.kind is p.KEYWORD_ONLY)
    ]
    hints = hints_of(call)
    return {p.name: hints.get(p.name, Any) for p in needed}
