"""
What is being handled in this thread, and what is published meanwhile.

Each thread has a stack of frames, one for each message that is being handled there.  Where a dispatch may not be
needed, a frame is at first only what is at hand, a tuple or the published event; it becomes a ``Dispatch`` when
somebody asks for more.  So what nobody asks for costs nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from simplecqrs.errors import NotPublished
from simplecqrs.messages import Event, Message, Query
from simplecqrs.metadata import Metadata, active_context, new_metadata
from simplecqrs.unit import NOTHING, OwnUnit, Published, Unit, new_published

__all__ = [
    "Dispatch",
    "Frame",
    "Wiring",
    "new_dispatch",
    "stack",
    "top",
]


class Wiring(Protocol):
    """
    What a dispatch asks of its mediator.

    Attributes:
        plans: what ``plan_for`` has returned, by the type of event.
    """

    plans: dict[type[Any], Any]

    def plan_for(self, event: Event, /) -> Any:
        """Return what is to be done with an event, or raise why it cannot be published."""
        ...


class Dispatch:
    """
    One message while it is being handled.

    Attributes:
        frames: the stack on which it is.
        parent: the dispatch in which it was sent, if any.
        origin: of an event, how it was published.
        published: the events that its handler has published and that are still to be handled; None: nothing is to be
            done when the handler has returned.
        resolve: makes dependencies, where a scope is open.
        query: the query, or the stream that reads, in which all this happens, if any.
        opened_unit: its unit of work; None: nothing was, or will be, collected so far.
        working: whether its handler is at work, inside of its unit of work.  Middlewares are outside.
    """

    # Made by ``new_dispatch``, not by an __init__, which would take twice the time.
    __slots__ = (
        "frames",
        "generation",
        "made_metadata",
        "message",
        "opened_unit",
        "origin",
        "parent",
        "published",
        "query",
        "resolve",
        "wiring",
        "working",
    )  # fmt: skip
    message: Message
    wiring: Wiring
    frames: list[Frame]
    parent: Dispatch | None
    origin: Published | None
    published: list[Published] | None
    resolve: Callable[[Any], Any] | None
    generation: int
    query: Message | None
    working: bool
    made_metadata: Metadata | None
    opened_unit: Unit | None

    @classmethod
    def of_event(cls, published: Published, parent: Dispatch | None) -> Dispatch:
        """Return the dispatch of an event: in the unit of its root, or in one of its own."""
        dispatch = new_dispatch(stack.frames, published.event, published.plan.wiring)
        dispatch.parent = parent
        dispatch.origin = published
        dispatch.generation = published.generation
        root = published.root
        if root is not None:
            dispatch.opened_unit = root.unit
            dispatch.resolve = root.resolve
        elif parent is not None and parent.wiring is dispatch.wiring:
            dispatch.resolve = parent.resolve
        return dispatch

    @classmethod
    def of_request(cls, message: Message, wiring: Wiring, parent: Dispatch | None) -> Dispatch:
        """Return the dispatch of a request, nested or not."""
        dispatch = new_dispatch(stack.frames, message, wiring)
        dispatch.nest(parent)
        return dispatch

    def nest(self, parent: Dispatch | None) -> None:
        """Take over what a request has of the dispatch in which it was sent; a query, that it is one."""
        if issubclass(type(self.message), Query):
            self.query = self.message
        if parent is not None:
            self.parent = parent
            self.generation = parent.generation
            if parent.query is not None:
                self.query = parent.query
            if parent.wiring is self.wiring:
                self.resolve = parent.resolve

    @classmethod
    def received(cls, message: Message, wiring: Wiring, metadata: Metadata) -> Dispatch:
        """Return the dispatch of a message that came from elsewhere."""
        dispatch = cls.of_request(message, wiring, None)
        dispatch.made_metadata = metadata
        return dispatch

    @property
    def unit(self) -> Unit:
        """Return the unit of work that this dispatch is in; one of its own unless a transaction brought one."""
        if self.opened_unit is None:
            self.opened_unit = OwnUnit()
            if self.published is None:
                self.published = []
        return self.opened_unit

    @unit.setter
    def unit(self, unit: Unit | None) -> None:
        self.opened_unit = unit

    @property
    def metadata(self) -> Metadata:
        """Return the message's metadata, made when first asked for."""
        if self.made_metadata is None:
            self.made_metadata = (
                self.origin.metadata
                if self.origin is not None
                else new_metadata(self.parent.metadata if self.parent else None, active_context())
            )
        return self.made_metadata

    def publish(self, event: Event, /) -> None:
        """
        Publish an event: it is handled, and shipped, after the handler has returned.

        Raises:
            NotPublished: in a query, once the handler has returned, in another thread, and if it is to go out and
                there is no publisher.
            InvalidMessage: if it is no event.
        """
        if self.query is not None:
            raise published_while_reading(event, self.query)
        if not self.working or self.frames is not stack.frames:
            raise published_too_late(event)
        wiring = self.wiring
        plan = wiring.plans.get(type(event))
        if plan is None:
            plan = wiring.plan_for(event)
            if plan.times is not None:
                event = plan.times.event
        within = active_context()
        if within is not None:
            _ = self.metadata  # made now: later this context may have ended
        published = new_published(event, plan, self, within)
        if self.opened_unit is not None or plan.outward:
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
        return taken if self.opened_unit is None else self.opened_unit.kept(taken)

    def withdraw(self) -> None:
        """Take back what its handler has published so far: nobody handles it, and it does not go out."""
        for published in self.published or ():
            published.plan = NOTHING
        self.published = []

    def discard(self) -> None:
        """Forget what was published in a unit that failed."""
        self.working = False
        self.published = None
        if self.origin is None:
            self.opened_unit = None


#: A tuple of message and wiring; a published event; or a Dispatch.
Frame = Any  # since a union would cost a check per use


class _Stack(threading.local):
    """The frames of a thread, and whether it is one that ``Workers`` began."""

    is_worker = False

    def __init__(self) -> None:
        self.frames: list[Frame] = []


stack = _Stack()


def new_dispatch(frames: list[Frame], message: Message, wiring: Wiring) -> Dispatch:
    """Return the dispatch of a command that is sent from outside of any."""
    dispatch = Dispatch()
    dispatch.frames = frames
    dispatch.message = message
    dispatch.wiring = wiring
    dispatch.working = True
    dispatch.generation = 0
    dispatch.parent = dispatch.origin = dispatch.published = dispatch.resolve = dispatch.query = None
    dispatch.made_metadata = dispatch.opened_unit = None
    return dispatch


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
    frames[index] = dispatch
    return dispatch


def published_while_reading(event: Event, query: Message) -> NotPublished:
    """Return what is to be raised where something is only looked up."""
    what, cure = ("a query; queries publish", "make it a command")
    if not issubclass(type(query), Query):
        what, cure = ("a stream that reads; it publishes", 'register its handler with transaction="item"')
    return NotPublished(
        f"{type(event).__qualname__} was published in {type(query).__qualname__}, {what} nothing, nor do the commands "
        f"that are sent in it: {cure}"
    )


def published_too_late(event: Event) -> NotPublished:
    """Return what is to be raised where no handler is at work that could publish."""
    return NotPublished(
        f"{type(event).__qualname__} was published after its handler had returned, or outside of its thread; publish "
        "before that, and keep no publish for later"
    )
