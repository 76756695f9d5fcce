"""
What is being handled in this thread, and what is published meanwhile.

Each thread has a stack of frames, one for each message that is being handled there.  A frame is at first only
what is at hand, a tuple or the published event; it becomes a ``Dispatch`` when somebody asks for more.  So what
nobody asks for costs nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Protocol

from simplecqrs.errors import NotPublished, OutsideDispatch
from simplecqrs.messages import Event, Message, Query
from simplecqrs.metadata import Metadata, active_context, new_metadata, setting
from simplecqrs.unit import OwnUnit, Published, Unit

__all__ = ["Dispatch", "Wiring", "context", "current", "emit", "fresh_stack", "publish_here", "stack", "top"]


class Wiring(Protocol):
    """What a dispatch asks of its mediator."""

    def plan_for(self, event: Event, /) -> Any:
        """Return what is to be done with an event, or raise why it cannot be published."""
        ...


class Dispatch:
    """
    One message while it is being handled.

    Attributes:
        parent: the dispatch in which it was sent, if any.
        origin: of an event, how it was published.
        published: the events that its handler has published and that are still to be handled.
        resolve: makes dependencies, where a scope is open.
        query: the query in which all this happens, if any.
        working: whether its handler is at work, inside of its unit of work.  Middlewares are outside.
    """

    # No __init__ and no slots: most dispatches need three of these, and three assignments take half the time.
    message: Message
    wiring: Wiring
    parent: Dispatch | None = None
    origin: Published | None = None
    published: list[Published] | None = None
    resolve: Callable[[Any], Any] | None = None
    generation: int = 0
    query: Message | None = None
    working: bool = True
    frame: Frame = None
    _metadata: Metadata | None = None
    _unit: Unit | None = None

    @classmethod
    def of_event(cls, published: Published, parent: Dispatch | None) -> Dispatch:
        """Return the dispatch of an event: in the unit of its root, or in one of its own."""
        dispatch = cls()
        dispatch.message = published.event
        dispatch.wiring = published.plan.wiring
        dispatch.parent = parent
        dispatch.origin = published
        dispatch.generation = published.generation
        root = published.root
        if root is not None:
            dispatch._unit = root.unit
            dispatch.resolve = root.resolve
        elif parent is not None and parent.wiring is dispatch.wiring:
            dispatch.resolve = parent.resolve
        return dispatch

    @classmethod
    def of_request(cls, message: Message, wiring: Wiring, parent: Dispatch | None) -> Dispatch:
        """Return the dispatch of a request, nested or not."""
        dispatch = cls()
        dispatch.message = message
        dispatch.wiring = wiring
        if isinstance(message, Query):
            dispatch.query = message
        if parent is not None:
            dispatch.parent = parent
            dispatch.generation = parent.generation
            if parent.query is not None:
                dispatch.query = parent.query
            if parent.wiring is wiring:
                dispatch.resolve = parent.resolve
        return dispatch

    @classmethod
    def received(cls, message: Message, wiring: Wiring, metadata: Metadata) -> Dispatch:
        """Return the dispatch of a message that came from elsewhere."""
        dispatch = cls.of_request(message, wiring, None)
        dispatch._metadata = metadata
        return dispatch

    @property
    def unit(self) -> Unit:
        """Return the unit of work that this dispatch is in; one of its own unless a transaction brought one."""
        if self._unit is None:
            self._unit = OwnUnit()
        return self._unit

    @unit.setter
    def unit(self, unit: Unit | None) -> None:
        self._unit = unit

    @property
    def has_unit(self) -> bool:
        """Tell whether anything was, or will be, collected."""
        return self._unit is not None

    @property
    def metadata(self) -> Metadata:
        """Return the message's metadata, made when first asked for."""
        if self._metadata is None:
            self._metadata = (
                self.origin.metadata
                if self.origin is not None
                else new_metadata(self.parent.metadata if self.parent else None, active_context())
            )
        return self._metadata

    def publish(self, event: Event, /) -> None:
        """
        Publish an event: it is handled, and shipped, after the handler has returned.

        Raises:
            NotPublished: in a query, once the handler has returned, and if it is to go out and there is no publisher.
            InvalidMessage: if it is no event.
        """
        if self.query is not None:
            raise NotPublished(
                f"{type(event).__qualname__} was published in {type(self.query).__qualname__}, a query; queries "
                "publish nothing, nor do the commands that they send: make it a command"
            )
        if not self.working:
            raise published_too_late(event)
        plan = self.wiring.plan_for(event)
        published = Published()
        published.event = event
        published.plan = plan
        published.cause = self
        published.within = active_context()
        if published.within is not None:
            _ = self.metadata  # made now: later this context may have ended
        if self._unit is not None or plan.outward:
            self.unit.collect(published)
        if self.published is None:
            self.published = [published]
        else:
            self.published.append(published)

    def take(self) -> list[Published]:
        """Return what was published since last asked, without what was rolled back."""
        taken, self.published = self.published, None
        if taken is None:
            return []
        return taken if self._unit is None else self._unit.kept(taken)

    def discard(self) -> None:
        """Forget what was published in a unit that failed."""
        self.working = False
        self.published = None
        if self.origin is None:
            self._unit = None


#: A tuple of message and wiring, and of None as well while middlewares are at work; an event; or a Dispatch.
Frame = Any  # since a union would cost a check per use


class _Stack(threading.local):
    def __init__(self) -> None:
        self.frames: list[Frame] = []


stack = _Stack()


def top(frames: list[Frame], index: int = -1) -> Dispatch:
    """Return the dispatch of a frame, and make it one if it is not yet."""
    frame = frames[index]
    if type(frame) is Dispatch:
        return frame  # pyright: ignore[reportUnknownVariableType]
    place = index if index >= 0 else len(frames) + index
    parent = top(frames, place - 1) if place else None
    if type(frame) is Published:
        dispatch = Dispatch.of_event(frame, parent)
    else:
        dispatch = Dispatch.of_request(frame[0], frame[1], parent)
        dispatch.working = len(frame) == 2
    dispatch.frame = frame
    frames[index] = dispatch
    return dispatch


def emit(frames: list[Frame], frame: Frame, event: Event, /) -> None:
    """
    Publish an event in the dispatch of a frame; with the first two bound, this is a handler's ``publish``.

    Raises:
        NotPublished: once that dispatch is over, and in another thread.
    """
    if frames is not stack.frames:
        raise published_too_late(event)
    if frames and frames[-1] is frame:
        top(frames).publish(event)
        return
    for index in range(len(frames) - 1, -1, -1):
        found = frames[index]
        if found is frame or (type(found) is Dispatch and found.frame is frame):
            top(frames, index).publish(event)
            return
    raise published_too_late(event)


def published_too_late(event: Event) -> NotPublished:
    """Return what is to be raised where no handler is at work that could publish."""
    return NotPublished(
        f"{type(event).__qualname__} was published after its handler had returned, or outside of its thread; publish "
        "before that, and keep no publish for later"
    )


def current() -> Metadata:
    """
    Return the metadata of the message that is being handled in this thread.

    Raises:
        OutsideDispatch: if there is none.
    """
    frames = stack.frames
    if not frames:
        raise OutsideDispatch("current() was called outside of a handler, or in a thread that a handler started")
    return top(frames).metadata


def publish_here(event: Event) -> None:
    """Publish an event in the dispatch that is going on in this thread."""
    frames = stack.frames
    if not frames:
        raise NotPublished(
            f"{type(event).__qualname__} was published outside of a dispatch; in a test, call the handler inside "
            "`with recording() as events:` from simplecqrs.testing"
        )
    top(frames).publish(event)


@contextmanager
def context(*, correlation_id: str | None = None, **headers: str) -> Generator[None, None, None]:
    """
    Set what the messages that are sent and published inside carry; contexts nest.

    Raises:
        InvalidMessage: if a header is not a string.

    >>> with context(correlation_id="request-1", user="7"):
    ...     active_context().headers["user"]
    '7'
    """
    # What is being handled keeps the context in which it was sent.
    cause = top(stack.frames).metadata if stack.frames else None
    with setting(correlation_id, headers, cause):
        yield


@contextmanager
def fresh_stack() -> Generator[None, None, None]:
    """Handle what follows as if nothing were being handled in this thread."""
    before, stack.frames = stack.frames, []
    try:
        yield
    finally:
        stack.frames = before
