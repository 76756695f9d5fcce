"""Reading frames of AMQP so that no message of a stranger can end the conversation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeAlias

__all__ = ["UNREADABLE", "tolerant"]

#: Reads a frame: kind, channel and bytes; returns whether a method is complete.
OnFrame: TypeAlias = Callable[[tuple[int, int, bytes]], bool]
#: Is told channel, method, its arguments and its content.
OnMethod: TypeAlias = Callable[[int, tuple[int, int], bytes, Any], None]
#: Makes one of a connection and of what is told.
Handler: TypeAlias = Callable[[Any, OnMethod], OnFrame]

#: The attribute of a message in which the reason stands why its properties could not be read.
UNREADABLE: Final = "unreadable"
HEADER: Final = 2
DELIVER: Final = (60, 60)
#: What comes before the properties in the header of a message: class, weight, and size of the body.
FIXED: Final = 12


def tolerant(handler: Handler, /) -> Handler:
    """
    Make a handler of frames that goes on where a message's properties, or its routing key, cannot be decoded.

    py-amqp raises, and is out of step with the server then.  The same message would come first on the next connection,
    and on the one after that.  So it is read once more, as one without properties, and with the reason in an attribute.
    """

    return partial(_Tolerant, handler)


class _Tolerant:
    def __init__(self, handler: Handler, connection: Any, callback: OnMethod) -> None:
        self._read = handler(connection, self._tell)
        self._callback = callback
        self._told = 0
        self._reasons: dict[int, Exception] = {}

    def __call__(self, frame: tuple[int, int, bytes], /) -> bool:
        before = self._told
        try:
            return self._read(frame)
        except Exception as error:
            kind, channel, data = frame
            if kind != HEADER or self._told != before:
                raise
            self._reasons[channel] = error
            return self._read((kind, channel, data[:FIXED] + b"\0\0"))

    def _tell(self, channel: int, method: tuple[int, int], arguments: bytes, content: Any) -> None:
        self._told += 1
        if content is not None and channel in self._reasons:
            setattr(content, UNREADABLE, self._reasons.pop(channel))
        try:
            self._callback(channel, method, arguments, content)
        except UnicodeDecodeError as error:
            if method != DELIVER or hasattr(content, UNREADABLE):
                raise
            setattr(content, UNREADABLE, error)
            self._callback(channel, method, _in_ascii(arguments), content)


def _in_ascii(arguments: bytes) -> bytes:
    """Return the arguments of a delivery with question marks for what is no ASCII in exchange and routing key."""
    exchange = 4 + 1 + arguments[4] + 8 + 1  # behind the method, the consumer's tag, the delivery's number and a flag
    return arguments[:exchange] + _short_strings_in_ascii(arguments[exchange:])


def _short_strings_in_ascii(data: bytes) -> bytes:
    safe = bytearray(data)
    at = 0
    while at < len(safe):
        end = at + 1 + safe[at]
        safe[at + 1 : end] = bytes(byte if byte < 128 else ord("?") for byte in safe[at + 1 : end])
        at = end
    return bytes(safe)
