"""Answers of commands as bytes and back: what is stored under an idempotency key."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

import attrs

from simplecqrs.codec.port import Codec, Inspects
from simplecqrs.conversion.annotations import bare, label, meanings_of, resolved_hints
from simplecqrs.conversion.layouts import has_layout, layout_of
from simplecqrs.conversion.scalars import is_plain_class
from simplecqrs.errors import InvalidMessage, InvalidPayload
from simplecqrs.messages import Message, Request

__all__ = ["Answers"]

#: The type of an answer of which it was not said.
_UNSAID: Any = object()


class Answers:
    """
    Makes bytes of the answers of one command class.

    A codec makes bytes of classes with fields, so an answer is put into one whose only field has its type.

    Raises:
        InvalidMessage: if nobody has said what type the answer is of, or if the codec cannot make bytes of it.
    """

    def __init__(self, kind: type[Message], codec: Codec) -> None:
        self._name = kind.__qualname__
        self._codec = codec
        hint = _answer_of(kind)
        if hint is _UNSAID:
            raise InvalidMessage(
                f"{self._name} has an idempotency key, so its answer is stored, but nobody says what type it is of: "
                f"class {self._name}(Command[int]); None is a type as well"
            )
        self._wrapped: Any = _class_around(kind, hint)
        problems = [*_problems(self._wrapped, codec)]
        if problems:
            raise InvalidMessage(
                f"{self._name} has an idempotency key, but its answer cannot be stored: {'; '.join(problems)}; answer "
                "an id, or a class with fields"
            )

    def encode(self, answer: Any) -> bytes:
        """
        Return an answer as bytes.

        Raises:
            InvalidMessage: if it is not what the command class says, so that it would not come back as it is.
        """
        wrapped = self._wrapped(answer)
        try:
            payload = self._codec.encode(wrapped)
            same = self._codec.decode(self._wrapped, payload) == wrapped
        except InvalidPayload as error:
            raise InvalidMessage(f"the answer of {self._name} cannot be stored: {error}") from error
        if not same:
            raise InvalidMessage(
                f"the answer of {self._name}, a {type(answer).__qualname__}, would not come back equal; say in "
                f"Command[...] what it is"
            )
        return payload

    def decode(self, payload: bytes) -> Any:
        """
        Return a stored answer.

        Raises:
            InvalidMessage: if the command has another type of answers since.
        """
        try:
            return self._codec.decode(self._wrapped, payload).answer
        except InvalidPayload as error:
            raise InvalidMessage(f"the answer that was stored for {self._name} cannot be read: {error}") from error


def _answer_of(kind: type[Message]) -> Any:
    """Return the type in ``Command[...]``, wherever among the bases that was written."""
    for owner, meaning in meanings_of(kind, ()):
        if owner is Request:
            [hint] = meaning.values() or [_UNSAID]
            return _UNSAID if hint is Any else hint
    return _UNSAID


def _class_around(kind: type[Message], hint: Any) -> Any:
    # A type that is written as text is looked up in the module that it was written in.
    named = type(kind.__name__, (), {"__annotations__": {"answer": hint}, "__module__": kind.__module__})
    meant = resolved_hints(named)["answer"]
    meant = None if meant is type(None) else meant  # converters know the one and not the other
    return attrs.make_class("Answer", {"answer": attrs.field(type=meant)}, frozen=True)


def _problems(wrapped: Any, codec: Codec) -> Iterator[str]:
    if isinstance(codec, Inspects):
        yield from codec.problems(wrapped)
    [entry] = layout_of(wrapped).entries
    for leaf in _leaves(entry.hint):
        is_known = leaf is type(None) or not is_plain_class(leaf) or has_layout(leaf)
        if not is_known and not _is_understood(leaf, codec):
            yield f"{label(leaf)} has no fields that the codec knows of"


def _leaves(hint: Any) -> Iterator[Any]:
    parts = [part for part in typing.get_args(bare(hint)) if not isinstance(part, (str, int, bytes))]
    if not parts:
        yield bare(hint)
    for part in parts:
        yield from _leaves(part)


def _is_understood(leaf: Any, codec: Codec) -> bool:
    """Ask the codec for something that is no such object: it may say that, but not that it has no idea."""
    try:
        codec.decode(attrs.make_class("Asked", {"it": attrs.field(type=leaf)}), b'{"it":null}')
    except InvalidPayload as error:
        return not any("StructureHandlerNotFoundError" in reason for _, reason in error.errors)
    return True
