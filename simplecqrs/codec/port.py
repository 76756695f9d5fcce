"""What a codec is: messages to bytes and back."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar, runtime_checkable

from simplecqrs.messages import Message

__all__ = ["Codec", "Inspects", "PlainCodec"]

T = TypeVar("T")


@runtime_checkable
class Codec(Protocol):
    """Makes bytes of messages and messages of bytes.  Threads share one."""

    @property
    def content_type(self) -> str:
        """Name the format, as MIME does."""
        ...

    def encode(self, message: Message, /) -> bytes:
        """Return the message's fields as bytes.  Raises InvalidPayload, naming the field, and PayloadTooLarge.

        A class that can never be encoded is an InvalidMessage, here and in ``decode``.
        """
        ...

    def decode(self, kind: type[T], payload: bytes, /) -> T:
        """Make a message of bytes that came from outside; unknown fields are ignored.  Raises InvalidPayload."""
        ...


@runtime_checkable
class PlainCodec(Codec, Protocol):
    """
    A codec that decodes in two steps, by way of plain data: dicts, lists, text, numbers, True, False and None.

    Only such a codec can have upcasters.  ``decode`` is ``structure`` after ``parse``, or quicker.
    """

    def parse(self, kind: type[Any], payload: bytes, /) -> Any:
        """Return a payload as plain data; the class is for the error.  Raises InvalidPayload and PayloadTooLarge."""
        ...

    def structure(self, kind: type[T], data: Any, /) -> T:
        """Make a message of plain data.  Raises InvalidPayload."""
        ...


@runtime_checkable
class Inspects(Protocol):
    """What a codec may do beside: tell before the first message what it will never encode or decode."""

    def problems(self, kind: type[Message], /) -> list[str]:
        """Return why messages of this class cannot pass this codec, each with its cure."""
        ...
