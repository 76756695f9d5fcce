"""Bytes to a message or to a value that says what is wrong: for loops that must survive whatever comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from attrs import field, frozen

from simplecqrs.codec.json import JSONCodec
from simplecqrs.codec.port import Codec, Inspects
from simplecqrs.errors import InvalidMessage, InvalidPayload

__all__ = ["Unreadable", "reader"]

T = TypeVar("T")


@frozen
class Unreadable:
    """
    Bytes that make no message; false where a truth is asked for.

    Args:
        error: why; its ``errors`` has path and reason of each field.
        payload: the bytes as they came.
    """

    error: InvalidPayload
    payload: bytes = field(repr=False)

    def __bool__(self) -> bool:
        return False


def reader(kind: type[T], codec: Codec | None = None) -> Callable[[bytes | str | None], T | Unreadable | None]:
    """
    Return what reads the messages of a class in a loop of your own; nothing that comes from outside makes it raise.

    It returns None for None, which is what brokers that compact their logs send for what was deleted.

    Args:
        codec: Default: JSON.

    Raises:
        InvalidMessage: if the class can never be read.
    """
    reads = JSONCodec() if codec is None else codec
    problems = reads.problems(cast("Any", kind)) if isinstance(reads, Inspects) else []
    if problems:
        raise InvalidMessage("; ".join(problems))

    def read(payload: bytes | str | None, /) -> T | Unreadable | None:
        if payload is None:
            return None
        sent = payload.encode(errors="surrogatepass") if isinstance(payload, str) else payload
        try:
            return reads.decode(kind, sent)
        except InvalidPayload as error:
            return Unreadable(error, sent)

    return read
