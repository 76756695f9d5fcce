"""Frames of server-sent events: text in the format of the WHATWG's standard."""

from __future__ import annotations

import json
import re

from simplecqrs.conversion import converter

__all__ = ["COMMENT", "as_text", "frame", "one_line", "retry_field"]

#: What the standard counts as the end of a line; str.splitlines knows more of them and would change the data.
LINE_END = re.compile(r"\r\n|\n|\r")
#: A frame that browsers skip, in two writes: the first to a client that is gone succeeds, the second tells.
COMMENT = (b":", b"\n\n")


def as_text(item: object) -> str:
    """Return an item as text: a str as it is, all else as JSON, by the converter that messages go through."""
    if isinstance(item, str):
        return item
    plain = converter(strict=False).unstructure(item)
    return json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def frame(data: str, *, event: str = "", id: object = None) -> bytes:  # noqa: A002 - it is the field's name
    """
    Return one event; its data may be of several lines.

    Args:
        event: its name; without one, browsers call it "message".
        id: what a client that connects again says it has seen last.  None is no id: the last one stays.
    """
    if not isinstance(data, str):
        raise TypeError(f"the data of an event is text, which data= makes of an item, not {data!r}")
    lines = [f"data: {line}\n" for line in LINE_END.split(data)]
    if event:
        lines.insert(0, f"event: {one_line(event, 'the name of an event')}\n")
    if id is not None:
        lines.insert(0, f"id: {one_line(str(id), 'the id of an event')}\n")
    return f"{''.join(lines)}\n".encode()


def retry_field(milliseconds: int) -> bytes:
    """Return a frame that tells how long a browser waits before it connects again."""
    if type(milliseconds) is not int or milliseconds < 0:
        raise ValueError(f"retry is a number of milliseconds, an int of 0 or more, not {milliseconds!r}")
    return f"retry: {milliseconds}\n\n".encode()


def one_line(value: str, what: str) -> str:
    """Return a value that fits into a field, or raise: a line break in it would forge fields or whole events."""
    if not isinstance(value, str):
        raise TypeError(f"{what} is text, not {value!r}")
    if found := re.search(r"[\r\n\0]", value):
        raise ValueError(f"{what} cannot hold {found.group()!r}: {value[:60]!r}")
    return value
