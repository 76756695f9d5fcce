"""A warning when a handler takes long."""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from time import perf_counter

from simplecqrs.log_context import about_message
from simplecqrs.messages import Message
from simplecqrs.pipeline import Middleware, around

__all__ = ["slow"]

#: Seconds for all messages, or for each type of message; a type stands for its subclasses as well.
Threshold = float | Mapping[type[Message], float]


def slow(seconds: Threshold = 1.0, *, logger: logging.Logger | None = None, level: int = logging.WARNING) -> Middleware:
    """
    Make a middleware that logs a warning when a handler takes longer than so many seconds, failed or not.

    Of a stream its reader's time counts as well.  Records bear the message's fields, and ``cqrs_seconds``.

    Args:
        seconds: for all messages; or for each type of message, of which the nearest base counts.  Types that are not
            there are not watched: ``slow({Query: 0.2, Message: 1.0})``.
        logger: takes the warnings.  Default: ``simplecqrs``.
        level: of the warnings.
    """
    log = logger or logging.getLogger("simplecqrs")

    @contextmanager
    def watching(message: Message) -> Generator[None, None, None]:
        allowed = _allowed(seconds, type(message))
        started = perf_counter()
        try:
            yield
        finally:
            took = perf_counter() - started
            if allowed is not None and took > allowed:
                name = type(message).__qualname__
                extra = {**about_message(message), "cqrs_seconds": took}
                log.log(level, "%s took %.3f s, longer than %g s", name, took, allowed, extra=extra)

    return around(watching)


def _allowed(seconds: Threshold, kind: type[Message]) -> float | None:
    if not isinstance(seconds, Mapping):
        return seconds
    return next((seconds[base] for base in kind.__mro__ if base in seconds), None)
