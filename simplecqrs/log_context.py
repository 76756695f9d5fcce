"""What is being handled in this thread, as fields of log lines."""

from __future__ import annotations

from typing import Any

from simplecqrs.dispatch import stack, top
from simplecqrs.log_fields import about_row, at_work, named
from simplecqrs.messages import Message, traits
from simplecqrs.metadata import Metadata, active_context
from simplecqrs.unit import Published

__all__ = ["about_message", "about_published", "current_fields"]

#: What a message that another one causes has in common with it.
OF_QUEUE = ("cqrs_queue", "cqrs_attempts")


def current_fields() -> dict[str, Any]:
    """
    Return the fields of log lines about what is being handled in this thread; none if nothing is.

    Inside of a handler they tell of its message, and of the queue from which that, or what caused it, came.
    """
    row = at_work.row
    found = {} if row is None else about_row(row)
    if stack.frames:
        dispatch = top(stack.frames)
        within: dict[str, Any] = {name: found[name] for name in OF_QUEUE if name in found}
        if row is not None and dispatch.metadata.id == row.envelope.id:
            within = found
        return {**within, **_fields(dispatch.message, dispatch.wiring, dispatch.metadata)}
    if not found:
        context = active_context()
        return named(correlation_id=context.correlation_id) if context is not None else {}
    return found


def about_message(message: Message) -> dict[str, Any]:
    """Return the fields of a log line about a message that is handled in this thread, or called by hand."""
    if not stack.frames:
        return named(message=_name(message, None))
    dispatch = top(stack.frames)
    return _fields(message, dispatch.wiring, dispatch.metadata)


def about_published(published: Published) -> dict[str, Any]:
    """Return the fields of a log line about an event that was published."""
    return _fields(published.event, published.plan.wiring, published.metadata)


def _fields(message: Message, wiring: object, metadata: Metadata) -> dict[str, Any]:
    return named(
        message=_name(message, getattr(wiring, "bus", None)),
        id=str(metadata.id),
        correlation_id=metadata.correlation_id,
        causation_id=metadata.causation_id,
    )


def _name(message: Message, bus: Any) -> str:
    """Name a message as it is called on the wire, if its mediator is known."""
    kind = type(message)
    return traits(kind).name or kind.__name__ if bus is None else bus.vocabulary.name(kind)
