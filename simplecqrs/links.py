"""The links of handlers that are made of handlers, as the checkers see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, TypeVar

from simplecqrs.handlers import Combined, SyncEventHandler, SyncRequestHandler, SyncStreamHandler
from simplecqrs.messages import Event, Request, Stream

__all__ = ["EventLink", "RequestLink", "StreamLink"]

Q = TypeVar("Q", bound=Request[Any])
E = TypeVar("E", bound=Event)
S = TypeVar("S", bound=Stream[Any])
R = TypeVar("R")
T = TypeVar("T")

if TYPE_CHECKING:
    #: A class, a function or a combination that answers a request of the type Q by an R.
    RequestLink = type[SyncRequestHandler[Q, R]] | Combined[Q, R] | Callable[Concatenate[Q, ...], R]
    #: One that handles an event of the type E.  Functions answer by an R.
    EventLink = type[SyncEventHandler[E]] | Combined[E, R] | Callable[Concatenate[E, ...], R]
    #: One that answers a stream of the type S by items of the type T.  Functions answer by an R, an iterator of them.
    StreamLink = type[SyncStreamHandler[S, T]] | Combined[S, R] | Callable[Concatenate[S, ...], R]
else:  # Python 3.10 knows no Concatenate[Q, ...]
    RequestLink = EventLink = StreamLink = Any
