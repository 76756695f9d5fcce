"""A breaker round a call: what the port is, and what of a call is its failure."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from simplecqrs.handlers import describe

__all__ = ["Breaker", "Open", "guarded"]


class Breaker(Protocol):
    """Keeps calls from what has failed too often.  Threads share one; pybreaker's ``CircuitBreaker`` is one."""

    def calling(self) -> AbstractContextManager[Any]:
        """
        Surround one call: an exception that leaves it is a failure.

        Raises:
            Exception: before the call begins, while the breaker is open.
        """
        ...


class Open(Exception):
    """The breaker is open: what it guards was not called."""


@contextmanager
def guarded(breaker: Breaker | None, on: tuple[type[Exception], ...], what: object) -> Generator[None, None, None]:
    """
    Let the breaker count a failure that somebody answers for, and no other.

    Whatever the breaker makes of it, the error itself goes on.

    Args:
        on: the failures that count.
        what: is called, for the log.

    Raises:
        Open: if the breaker lets nobody through.
    """
    if breaker is None:
        yield
        return
    failure: BaseException | None = None
    other: BaseException | None = None
    begun = False
    try:
        with breaker.calling():
            begun = True
            try:
                yield
            except on as error:
                failure = error
                raise
            except BaseException as error:  # noqa: BLE001 - it goes on below, uncounted
                other = error
    except Exception as error:
        if not begun:
            raise Open from error
        if failure is None and other is None:  # what was guarded has been done
            from simplecqrs.log_context import current_fields

            _log().warning("the breaker of %s failed", describe(what), exc_info=error, extra=current_fields())
    if failure is not None or other is not None:
        raise failure or other  # type: ignore[misc]


def _log() -> Any:
    import logging

    return logging.getLogger("simplecqrs")
