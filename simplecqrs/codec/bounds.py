"""How deep JSON may be nested, and how many digits its integers may have."""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Final

__all__ = ["DEEPEST", "DIGITS", "depth", "integer", "refuse_deep"]

#: Far more than messages need, and far less than what Python's stack or another reader cannot bear.
DEEPEST: Final = 128
#: What Python itself allows since 3.10.7, unless it is told otherwise: reading takes the square of it.
DIGITS: Final = 4300

_strings: Final = re.compile(b'"[^"]*"?')
_steps: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_others: Final = bytes(set(range(256)) - set(_steps))


def refuse_deep(text: bytes, deepest: int = DEEPEST) -> None:
    """Raise a ValueError if JSON is nested deeper than that.  Costs next to nothing where few brackets are."""
    if len(text) < deepest or text.count(b"[") + text.count(b"{") <= deepest:
        return
    if (found := depth(text)) > deepest:
        raise ValueError(f"nested {found} deep; the limit is {deepest}")


def depth(text: bytes) -> int:
    """Return how deep JSON is nested, in time that grows with its length only."""
    unescaped = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = _strings.sub(b"", unescaped).translate(None, _others)
    return max(accumulate(map(_steps.__getitem__, brackets)), default=0)


def integer(digits: str) -> int:
    """Read an integer, unless it is endless."""
    if len(digits) > DIGITS:
        raise ValueError(f"an integer of {len(digits)} digits; the limit is {DIGITS}")
    return int(digits)
