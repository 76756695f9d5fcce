"""What a handler, or whoever it calls, may ask of its thread: what is being handled here, and in what context."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from simplecqrs.dispatch import stack, top
from simplecqrs.errors import NotPublished, OutsideDispatch
from simplecqrs.messages import Event
from simplecqrs.metadata import Metadata, setting

__all__ = ["context", "current", "fresh_stack", "publish_here"]


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

    >>> from simplecqrs.metadata import active_context
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
