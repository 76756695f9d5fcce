"""JSON, by cattrs and orjson."""

from __future__ import annotations

import re
from typing import Any, Final

from simplecqrs.codec.json import JSONCodec, MiB
from simplecqrs.codec.quick import refuse_infinite
from simplecqrs.conversion import Hooks
from simplecqrs.conversion.inspection import holds_anything
from simplecqrs.errors import MissingExtra

__all__ = ["OrjsonCodec"]

#: More digits than orjson reads exactly: it makes a float of them.
MANY_DIGITS: Final = re.compile(rb"\d{19}")


class OrjsonCodec(JSONCodec):
    """
    The format of ``JSONCodec``, faster; each reads what the other has written.

    What orjson refuses, as integers of more than 64 bits, is left to Python's own json.

    Args:
        max_bytes: the largest payload that is encoded or decoded.
        strict: refuse unknown fields when decoding.
        hooks: registers hooks for own types on the cattrs converter that it is given.
    """

    def __init__(self, *, max_bytes: int = MiB, strict: bool = False, hooks: Hooks | None = None) -> None:
        super().__init__(max_bytes=max_bytes, strict=strict, hooks=hooks)
        try:
            import orjson
        except ImportError:
            raise MissingExtra("OrjsonCodec", "orjson") from None
        self._dumps, self._loads = orjson.dumps, orjson.loads
        self._options = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME

    def _dump(self, fields: Any) -> bytes:
        payload = self._dumps(fields, None, self._options)
        refuse_infinite(fields, payload)
        return payload

    def _parse(self, payload: bytes, kind: Any) -> Any:
        if holds_anything(kind) and MANY_DIGITS.search(payload):
            return super()._parse(payload, kind)
        return self._loads(payload)
