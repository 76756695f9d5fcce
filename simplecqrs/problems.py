"""What can be wrong with the wiring of a handler, each with its cure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from simplecqrs.handlers import describe
from simplecqrs.messages import DomainEvent
from simplecqrs.registry import Registration

if TYPE_CHECKING:
    from simplecqrs.containers import Container

__all__ = ["missing_dependencies", "missing_publisher"]


def missing_dependencies(
    registration: Registration, container: Container | None, cure: Callable[[str], str]
) -> Iterator[str]:
    """
    Name what a handler needs and nothing provides.

    Args:
        cure: says, for the name of a type, how it would be provided.
    """
    shape, who = registration.shape, describe(registration.handler)
    for name, kind in shape.needs.items() if shape is not None else ():
        if isinstance(kind, str):
            yield f"{who}: the type {kind!r} of {name} cannot be found in its module; import it there"
        elif container is None or not container.can_resolve(kind):
            label = getattr(kind, "__qualname__", repr(kind))
            yield f"{who} needs {name}: {label}, which nothing provides; {cure(label)}"


def missing_publisher(registration: Registration, *, ships: bool) -> Iterator[str]:
    """Find a consumer that waits for a domain event which nobody publishes to consumers."""
    consumer, event = registration.options.consumer, registration.messages[0]
    if consumer is not None and issubclass(event, DomainEvent) and not ships:
        yield (
            f"{describe(registration.handler)} waits for {event.__qualname__} with consumer={consumer!r}, but nothing "
            "is published to consumers; give the mediator a publisher"
        )
