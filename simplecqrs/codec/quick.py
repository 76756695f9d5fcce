"""What the quicker JSON libraries do not look after themselves."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["refuse_infinite"]


def refuse_infinite(fields: dict[str, Any], payload: bytes) -> None:
    """Refuse NaN and infinity, which other libraries write as null."""
    nulls = payload.count(b"null")
    if nulls == 0 or nulls == [*fields.values()].count(None):
        return  # every one of them is None
    waiting: list[Any] = [fields]
    while waiting:
        value: Any = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, (list, tuple, set, frozenset)):
            waiting += value
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError("a finite number expected")
