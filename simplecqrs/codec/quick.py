"""What the quicker JSON libraries do not look after themselves."""

from __future__ import annotations

import math
from typing import Any, cast

__all__ = ["refuse_infinite"]


def refuse_infinite(fields: Any, payload: bytes) -> None:
    """Refuse NaN and infinity, which other libraries write as null."""
    nulls = payload.count(b"null")
    if nulls == 0 or (isinstance(fields, dict) and nulls == [*cast("dict[Any, Any]", fields).values()].count(None)):
        return  # every one of them is None
    waiting = [fields]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += cast("dict[Any, Any]", value).values()
        elif isinstance(value, (list, tuple, set, frozenset)):
            waiting += cast("list[Any]", value)
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError("a finite number expected")
