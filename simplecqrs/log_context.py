"""What is being handled in this thread, as fields of log lines."""

from __future__ import annotations

from typing import Any

from simplecqrs.dispatch import Dispatch, stack, top
from simplecqrs.log_fields import about_row, at_work, named, who
from simplecqrs.messages import Message, traits
from simplecqrs.metadata import Metadata, active_context
from simplecqrs.unit import Published

__all__ = ["about_message", "about_published", "current_fields"]

#: What a message that another one causes has in common with it.
OF_QUEUE = ("cqrs_queue", "cqrs_attempts")


def current_fields() -> dict[str, Any]:
    """
    Return the fields of log lines about what is being handled in this thread; none if nothing is.

    Inside of a handler they tell of its message, and of the queue from which that, or what caused it, came.  Whatever
    would have to be looked up, as the user of a request, is left out: who logs may be in the middle of a failure.
    """
    row = at_work.row
    found = {} if row is None else about_row(row)
    if stack.frames:
        dispatch = top(stack.frames)
        metadata = _known(dispatch)
        within: dict[str, Any] = {name: found[name] for name in OF_QUEUE if name in found}
        if row is not None and metadata is not None and metadata.id == row.envelope.id:
            within = found
        return {**within, **_fields(dispatch.message, dispatch.wiring, metadata)}
    return found or _of_context()


def about_message(message: Message) -> dict[str, Any]:
    """Return the fields of a log line about a message that is handled in this thread, or called by hand."""
    if not stack.frames:
        return named(message=_name(message, None))
    dispatch = top(stack.frames)
    return _fields(message, dispatch.wiring, _known(dispatch))


def about_published(published: Published) -> dict[str, Any]:
    """Return the fields of a log line about an event that was published."""
    return _fields(published.event, published.plan.wiring, published.metadata)


def _known(dispatch: Dispatch) -> Metadata | None:
    """Return a message's metadata, unless to make it is to ask for headers that somebody would have to look up."""
    if dispatch.made_metadata is not None:
        return dispatch.made_metadata
    within = active_context() if dispatch.origin is None else dispatch.origin.within
    is_late = within is not None and within.late
    return None if is_late and (dispatch.origin is None or dispatch.origin.made_metadata is None) else dispatch.metadata


def _fields(message: Message, wiring: object, metadata: Metadata | None) -> dict[str, Any]:
    name = _name(message, getattr(wiring, "bus", None))
    if metadata is None:
        return {**_of_context(), **named(message=name)}
    return named(
        message=name,
        id=str(metadata.id),
        correlation_id=metadata.correlation_id,
        causation_id=metadata.causation_id,
        **who(metadata.headers),
    )


def _of_context() -> dict[str, Any]:
    within = active_context()
    return {} if within is None else named(correlation_id=within.correlation_id)


def _name(message: Message, bus: Any) -> str:
    """Name a message as it is called on the wire, if its mediator is known."""
    kind = type(message)
    return traits(kind).name or kind.__name__ if bus is None else bus.vocabulary.name(kind)
