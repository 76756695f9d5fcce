"""Chains of responsibility: the first link that does not say "not mine" answers."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from typing import Any, Concatenate, Final, TypeVar, overload

from simplecqrs.dispatch import Dispatch, stack
from simplecqrs.errors import NobodyAnswered
from simplecqrs.handlers import (
    Bind,
    Combined,
    SyncEventHandler,
    SyncRequestHandler,
    SyncStreamHandler,
    Trial,
)
from simplecqrs.links import EventLink, RequestLink, StreamLink
from simplecqrs.messages import Event, Message, Request, Stream

__all__ = ["NOT_MINE", "NotMine", "chain"]

Q = TypeVar("Q", bound=Request[Any])
S = TypeVar("S", bound=Stream[Any])
E = TypeVar("E", bound=Event)
R = TypeVar("R")


class NotMine(enum.Enum):
    """The type of ``NOT_MINE``."""

    NOT_MINE = "NOT_MINE"

    def __repr__(self) -> str:
        return "NOT_MINE"


#: Returned by a link of a chain that leaves a message to the next one.
NOT_MINE: Final = NotMine.NOT_MINE
#: Stands for no ``default=``.
MISSING: Final[Any] = object()


class Chain(Combined[Any, Any]):
    """What ``chain`` returns."""

    def __init__(self, links: tuple[Any, ...], default: Any) -> None:
        self.links = links
        self.default = default

    @property
    def has_default(self) -> bool:
        """Tell whether something is returned if no link answers."""
        return self.default is not MISSING

    def build(self, bind: Bind, _: Trial, /, *, is_stream: bool) -> Callable[[Any], Any]:
        """Return a call that asks one link after the other."""
        calls = [bind(link) for link in self.links]
        default = self.default

        def run(message: Message) -> Any:
            for call in calls:
                answer = call(message)
                if answer is not NOT_MINE:
                    return answer
                _withdraw()
            if default is MISSING:
                raise NobodyAnswered(
                    f"no link of the chain has answered {type(message).__qualname__}; add one that always does, or say "
                    "what is returned then: chain(..., default=...)"
                )
            return default

        return run


def _withdraw() -> None:
    """Take back what a link has published before it said that the message is not its own."""
    frame = stack.frames[-1]
    if type(frame) is Dispatch and frame.published:  # pyright: ignore[reportUnknownMemberType]
        frame.withdraw()  # pyright: ignore[reportUnknownMemberType]


@overload
def chain(
    first: type[SyncRequestHandler[Q, R | NotMine]],
    /,
    *rest: RequestLink[Q, R | NotMine],
    default: R = ...,
) -> Combined[Q, R]: ...
@overload
def chain(  # type: ignore[overload-overlap]  # a class is a callable too
    first: Combined[Q, R | NotMine] | Callable[Concatenate[Q, ...], R | NotMine],
    /,
    *rest: RequestLink[Q, R | NotMine],
    default: R = ...,
) -> Combined[Q, R]: ...
@overload
def chain(
    first: type[SyncEventHandler[E]],
    /,
    *rest: EventLink[E, NotMine | None],
    default: None = ...,
) -> Combined[E, None]: ...
@overload
def chain(
    first: Combined[E, NotMine | None] | Callable[Concatenate[E, ...], NotMine | None],
    /,
    *rest: EventLink[E, NotMine | None],
    default: None = ...,
) -> Combined[E, None]: ...
@overload
def chain(
    first: type[SyncStreamHandler[S, R]],
    /,
    *rest: StreamLink[S, R, Iterator[R] | NotMine],
    default: Iterator[R] = ...,
) -> Combined[S, Iterator[R]]: ...
@overload
def chain(
    first: Combined[S, Iterator[R] | NotMine] | Callable[Concatenate[S, ...], Iterator[R] | NotMine],
    /,
    *rest: StreamLink[S, R, Iterator[R] | NotMine],
    default: Iterator[R] = ...,
) -> Combined[S, Iterator[R]]: ...
def chain(first: Any, /, *rest: Any, default: Any = MISSING) -> Combined[Any, Any]:
    """
    Make a handler of handlers: the first one that does not return ``NOT_MINE`` answers.

    Links are functions, classes, chains and fallbacks.  The events of the link that answers are published; a link that
    fails has failed, and is not "not mine".  A link of a stream is a plain function that returns an iterator, or
    ``NOT_MINE``; a generator always answers.

    Args:
        default: what is returned if no link answers; ``NOT_MINE`` in a chain that is a link itself.

    Raises:
        NobodyAnswered: when the message is sent, if no link answers and there is no default.

    >>> from simplecqrs import Command, Mediator, Registry
    >>> class Pay(Command[str]): ...
    >>> def by_voucher(command: Pay) -> str | NotMine:
    ...     return NOT_MINE
    >>> def by_card(command: Pay) -> str:
    ...     return "by card"
    >>> registry = Registry()
    >>> _ = registry.handles(Pay)(chain(by_voucher, by_card))
    >>> Mediator(registry).send(Pay())
    'by card'
    """
    return Chain((first, *rest), default)
