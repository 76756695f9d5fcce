"""Generations of events: what a request caused, what that caused, and so on, up to a limit."""

from __future__ import annotations

from simplecqrs.errors import TooManyEvents
from simplecqrs.unit import Published

__all__ = ["endless"]


def endless(published: Published, limit: int) -> TooManyEvents:
    """Return what is to be raised for an event of one generation too many; it shows the last few."""
    names: list[str] = []
    step: Published | None = published
    while step is not None and len(names) < 5:
        names.append(type(step.event).__qualname__)
        cause = step.cause
        while cause is not None and cause.origin is None:  # a request that a handler of an event sent
            cause = cause.parent
        step = cause.origin if cause is not None else None
    return TooManyEvents(
        f"more than {limit} generations of events, the last ones: ... -> {' -> '.join(reversed(names))}; handlers "
        "that publish what they handle go round for ever (max_generations= raises the limit)"
    )
