"""Sending a request to its handler again, in a transaction of its own each time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from simplecqrs.dispatch import stack
from simplecqrs.errors import MissingExtra, NotConfigured
from simplecqrs.log_context import about_message
from simplecqrs.messages import Message, Request
from simplecqrs.pipeline import Call, Middleware

__all__ = ["On", "retrying"]

#: What is worth another attempt: errors, or a function that tells of an error whether it is, or after how many seconds.
On = type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool | float]


def retrying(
    attempts: int = 3,
    *,
    on: On,
    first: float = 0.1,
    cap: float = 5.0,
    jitter: float = 0.1,
    unless: Callable[[Message], bool] | None = None,
) -> Middleware:
    """
    Make a middleware that hands a request to its handler again if that fails by certain errors.

    ``transaction=`` is opened inside of middlewares, so whole transactions are repeated.  What the handler did
    besides (mails, calls of other services) is done again as well.  After the last attempt its error is raised as it
    is.  What surrounds the attempts goes before ``retrying`` in the list of middlewares, what surrounds each of them
    after it.

    It lets pass what cannot be repeated here: events, which are handled in the unit of work of who published them, or
    by a consumer, which has its own ``Retry``; requests that a handler sends; and the items of a stream, which may be
    with its reader already.

    Args:
        attempts: in all, the first one included.
        on: errors, or a function that tells of an error whether it is worth another attempt, or after how many
            seconds.
        first: the pause after the first failure, in seconds; it doubles from there.
        cap: the longest pause, in seconds.
        jitter: how much longer a pause may be at random, in seconds.
        unless: tells of a message that it is to pass, for example because a transaction is open.

    Raises:
        MissingExtra: if stamina is not installed.
        NotConfigured: if there is not to be a single attempt.
    """
    if attempts < 1:
        raise NotConfigured(f"retrying(attempts={attempts}): attempts are counted in all, so there is at least 1")
    retry_context = _import_stamina()

    def middleware(message: Message, call_next: Call) -> Any:
        if not _is_repeatable(message) or (unless is not None and unless(message)):
            return call_next(message)
        pauses = {"wait_initial": first, "wait_max": cap, "wait_jitter": jitter}
        for attempt in retry_context(on=on, attempts=attempts, timeout=None, **pauses):
            with attempt:
                if attempt.num > 1:
                    _tell(message, attempt.num, attempts)
                return call_next(message)
        raise AssertionError("the last attempt returns or raises")  # pragma: no cover

    return middleware


def _is_repeatable(message: Message) -> bool:
    return isinstance(message, Request) and len(stack.frames) <= 1


def _import_stamina() -> Callable[..., Any]:
    try:
        from stamina import retry_context
    except ImportError:
        raise MissingExtra("retrying", "retry") from None
    return retry_context


def _tell(message: Message, number: int, attempts: int) -> None:
    name = type(message).__qualname__
    extra = {**about_message(message), "cqrs_attempts": number}
    logging.getLogger("simplecqrs").info("%s: attempt %d of %d", name, number, attempts, extra=extra)
