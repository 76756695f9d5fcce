"""Validation of messages that were built in Python, before their handler sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from simplecqrs.conversion.checking import mistakes
from simplecqrs.errors import InvalidPayload
from simplecqrs.messages import Message
from simplecqrs.pipeline import Call, Middleware

__all__ = ["Check", "validating"]

#: Own rules: yields the path of each field that is wrong, and what is wrong with it.
Check = Callable[[Any], Iterable[tuple[str, str]]]


def validating(*, check: Check | None = None, only: type[Message] | tuple[type[Message], ...] = Message) -> Middleware:
    """
    Make a middleware that refuses a message whose fields are wrong, with all of them in one InvalidPayload.

    Fields are compared with their type hints, strictly, nested ones as well; attrs' validators, msgspec's constraints
    and pydantic models are asked again, since assignments go past them.  Nothing is coerced or changed.

    Args:
        check: own rules, asked for every message: ``(path, reason)`` for each field that is wrong.
        only: the messages to look at; others pass untouched.
    """

    def validate(message: Message, call_next: Call) -> Any:
        if isinstance(message, only):
            found = [*mistakes(message), *(check(message) if check is not None else ())]
            if found:
                raise _invalid(message, found)
        return call_next(message)

    return validate


def _invalid(message: Message, errors: list[tuple[str, str]]) -> InvalidPayload:
    name = type(message).__qualname__
    lines = "; ".join(f"{path or name}: {reason}" for path, reason in errors)
    return InvalidPayload(f"this {name} is not valid: {lines}", errors)
