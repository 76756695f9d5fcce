"""Deadlines: how long what is being handled may still take."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar, Token

__all__ = ["begin_within", "end_within", "remaining", "within"]

_deadline: ContextVar[float | None] = ContextVar("simplecqrs_deadline", default=None)
_get, _set, _clock = _deadline.get, _deadline.set, time.monotonic


def remaining() -> float | None:
    """
    Return the seconds that what is being handled may still take; 0.0 if its time is up, None if nobody has set one.

    A consumer gives its handlers its ``timeout``.  Pass what is left on to whatever may hang:
    ``requests.post(url, timeout=remaining())``.
    """
    ends = _deadline.get()
    return None if ends is None else max(0.0, ends - time.monotonic())


@contextmanager
def within(seconds: float) -> Generator[None, None, None]:
    """
    Give what happens inside so many seconds, or those that are left of a shorter time outside of it.

    Nothing is interrupted: it has to ask for what remains.
    """
    token = begin_within(seconds)
    try:
        yield
    finally:
        end_within(token)


def begin_within(seconds: float) -> Token[float | None]:
    """Begin what ``within`` does, for those to whom a context manager is too slow."""
    ends, outer = _clock() + seconds, _get()
    return _set(ends if outer is None or ends < outer else outer)


#: End it.
end_within = _deadline.reset
