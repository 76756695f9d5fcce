"""Fallbacks: a backup answers where the primary handler fails, or where a breaker keeps it from being asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, TypeVar, overload

from simplecqrs.errors import InvalidHandler
from simplecqrs.guarding import Breaker, Open, guarded
from simplecqrs.handlers import (
    Bind,
    Combined,
    SyncEventHandler,
    SyncRequestHandler,
    SyncStreamHandler,
    Trial,
    describe,
)
from simplecqrs.links import EventLink, RequestLink, StreamLink
from simplecqrs.log_context import about_message
from simplecqrs.messages import Event, Message, Request, Stream
from simplecqrs.pipeline import Call
from simplecqrs.steps import each_step

if TYPE_CHECKING:
    import logging

__all__ = ["Breaker", "fallback"]

Q = TypeVar("Q", bound=Request[Any])
S = TypeVar("S", bound=Stream[Any])
E = TypeVar("E", bound=Event)
R = TypeVar("R")
On = type[Exception] | tuple[type[Exception], ...]
Resume = Callable[[Any, int, Any], Message]


class Fallback(Combined[Any, Any]):
    """What ``fallback`` returns."""

    def __init__(self, primary: Any, backup: Any, on: On, breaker: Breaker | None, resume: Resume | None) -> None:
        self.links = (primary, backup)
        self.on = on if isinstance(on, tuple) else (on,)
        self._caught: tuple[type[Exception], ...] = (*self.on, Open)
        self.breaker = breaker
        self._resume = resume

    def refuse(self, *, is_stream: bool) -> None:
        """Refuse ``resume=`` where there is no middle."""
        if self._resume is not None and not is_stream:
            raise InvalidHandler(f"{describe(self)}: resume= is for streams, which may fail in the middle")

    def build(self, bind: Bind, trial: Trial, /, *, is_stream: bool) -> Call:
        """Return a call that asks the primary handler in a trial, and the backup if that fails."""
        primary, backup = map(bind, self.links)
        if is_stream:
            return self._streaming(primary, backup, trial)

        def run(message: Message) -> Any:
            try:
                with guarded(self.breaker, self.on, self.links[0]), trial(message):
                    return primary(message)
            except self._caught as error:
                self._tell(message, error)
                return backup(message)

        return run

    def _streaming(self, primary: Call, backup: Call, trial: Trial) -> Call:
        def run(message: Message) -> Iterator[Any]:
            taken, last = 0, None
            try:
                with guarded(self.breaker, self.on, self.links[0]):
                    for item in each_step(partial(trial, message), partial(primary, message)):
                        taken, last = taken + 1, item
                        yield item
                    return
            except self._caught as error:
                if taken and self._resume is None:
                    raise
                self._tell(message, error)
                rest = self._resume(message, taken, last) if taken and self._resume is not None else message
                yield from backup(rest)

        return run

    def _tell(self, message: Message, error: Exception) -> None:
        """Say that the backup answers; not each time while the breaker is open."""
        primary, backup = map(describe, self.links)
        name, extra = type(message).__qualname__, about_message(message)
        if isinstance(error, Open):
            text = "%s is not asked for %s, its breaker being open; %s answers"
            _log().debug(text, primary, name, backup, extra=extra)
        else:
            _log().warning("%s failed with %s; %s answers", primary, name, backup, exc_info=error, extra=extra)


@overload
def fallback(
    primary: type[SyncRequestHandler[Q, R]],
    backup: RequestLink[Q, R],
    /,
    *,
    on: On = ...,
    breaker: Breaker | None = ...,
) -> Combined[Q, R]: ...
@overload
def fallback(  # type: ignore[overload-overlap]  # a class is a callable too
    primary: Combined[Q, R] | Callable[Concatenate[Q, ...], R],
    backup: RequestLink[Q, R],
    /,
    *,
    on: On = ...,
    breaker: Breaker | None = ...,
) -> Combined[Q, R]: ...
@overload
def fallback(
    primary: type[SyncEventHandler[E]],
    backup: EventLink[E, None],
    /,
    *,
    on: On = ...,
    breaker: Breaker | None = ...,
) -> Combined[E, None]: ...
@overload
def fallback(
    primary: Combined[E, None] | Callable[Concatenate[E, ...], None],
    backup: EventLink[E, None],
    /,
    *,
    on: On = ...,
    breaker: Breaker | None = ...,
) -> Combined[E, None]: ...
@overload
def fallback(
    primary: type[SyncStreamHandler[S, R]],
    backup: StreamLink[S, R, Iterator[R]],
    /,
    *,
    on: On = ...,
    breaker: Breaker | None = ...,
    resume: Callable[[S, int, R], S] | None = ...,
) -> Combined[S, Iterator[R]]: ...
@overload
def fallback(
    primary: Combined[S, Iterator[R]] | Callable[Concatenate[S, ...], Iterator[R]],
    backup: StreamLink[S, R, Iterator[R]],
    /,
    *,
    on: On = ...,
    breaker: Breaker | None = ...,
    resume: Callable[[S, int, R], S] | None = ...,
) -> Combined[S, Iterator[R]]: ...
def fallback(
    primary: Any,
    backup: Any,
    /,
    *,
    on: On = Exception,
    breaker: Breaker | None = None,
    resume: Any = None,
) -> Combined[Any, Any]:
    """
    Make a handler of two: the second one answers where the first one fails.

    Functions, classes, chains and fallbacks can be either.  What the first one has written and published is rolled
    back before the second one is asked.  A stream falls back as long as no item was taken.

    Args:
        on: the failures that the backup answers for; all others reach the caller.
        breaker: anything with ``calling()``, such as pybreaker's ``CircuitBreaker``.  Only failures named by ``on``
            count; while it is open, the first handler is not asked.
        resume: of a stream, for failures in the middle: from the message, the number of items taken and the last one
            of them, to the message that the backup is to go on with.

    Raises:
        InvalidHandler: at once, if ``on`` names no exceptions, or the breaker has no ``calling()``.

    >>> from simplecqrs import Mediator, Query, Registry
    >>> class GetRate(Query[float]): ...
    >>> def from_bank(query: GetRate) -> float:
    ...     raise ConnectionError("the bank does not answer")
    >>> def from_cache(query: GetRate) -> float:
    ...     return 1.1
    >>> registry = Registry()
    >>> _ = registry.handles(GetRate)(fallback(from_bank, from_cache, on=ConnectionError))
    >>> Mediator(registry).send(GetRate())
    1.1
    """
    kinds: tuple[Any, ...] = on if isinstance(on, tuple) else (on,)
    if not kinds or not all(isinstance(kind, type) and Exception in kind.__mro__ for kind in kinds):
        raise InvalidHandler(f"fallback: on={on!r} must be an exception class, or a tuple of them")
    if breaker is not None and not callable(getattr(breaker, "calling", None)):
        raise InvalidHandler(f"fallback: breaker={breaker!r} has no calling(), as pybreaker's CircuitBreaker has")
    return Fallback(primary, backup, on, breaker, resume)


def _log() -> logging.Logger:
    from logging import getLogger

    return getLogger("simplecqrs")
