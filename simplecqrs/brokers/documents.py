"""JSON documents that hold a payload: taken apart, and put together, without touching the payload's own text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from simplecqrs.codec.bounds import DEEPEST, integer, refuse_deep
from simplecqrs.codec.routing import media_type

__all__ = ["ROOM", "is_json", "json_text", "members"]

#: How much larger than its payload a document may be: base64 takes a third more, and attributes have a limit as well.
ROOM: Final = 3


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")


_blank = re.compile(r"[ \t\n\r]*").match
_decode: Final = json.JSONDecoder(parse_float=str, parse_int=integer, parse_constant=_refuse_constant).raw_decode


def is_json(content_type: str, /) -> bool:
    """Tell whether a content type says that something is JSON."""
    return media_type(content_type).endswith(("/json", "+json"))


def json_text(payload: bytes, /) -> str:
    """
    Return a payload as text that may stand in a JSON document.

    Raises:
        ValueError: if it is no JSON, or is nested too deep.
    """
    refuse_deep(payload)
    text = payload.decode()
    if _decode(text)[1] != len(text):
        raise ValueError("more than one JSON document")
    return text


def members(document: bytes, /) -> Iterator[tuple[str, Any, str]]:
    """
    Yield name, value and text of each member of a JSON object; numbers with a point are text.

    Raises:
        ValueError: if it is none, or is nested too deep.
    """
    refuse_deep(document, DEEPEST + 2)
    text = document.decode()
    at = _after("{", text, 0)
    is_over = text.startswith("}", at)
    at += is_over
    while not is_over:
        name, at = _decode(text, at)
        if not isinstance(name, str):
            raise ValueError("the name of a member is no string")
        begin = _after(":", text, at)
        value, end = _decode(text, begin)
        yield name, value, text[begin:end]
        is_over = not text.startswith(",", at := _skip(text, end))
        at = _after("}" if is_over else ",", text, at)
    if _skip(text, at) != len(text):
        raise ValueError("more than one JSON document")


def _after(sign: str, text: str, at: int) -> int:
    """Return where something follows a sign that has to be here."""
    at = _skip(text, at)
    if not text.startswith(sign, at):
        raise ValueError(f"no {sign} where a JSON object has one")
    return _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    blank = _blank(text, at)
    return blank.end() if blank else at
