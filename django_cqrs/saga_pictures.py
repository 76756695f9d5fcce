"""Pictures of sagas: Mermaid text of a definition, and of a stored one with the way that it has gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django.utils.safestring import SafeString, mark_safe

from django_cqrs.mediator import DjangoMediator
from simplecqrs.errors import SagaNotFound
from simplecqrs.mermaid.sagas_classes import saga_classes
from simplecqrs.mermaid.sagas_flow import saga_flow, saga_path
from simplecqrs.mermaid.sagas_sequence import saga_sequence
from simplecqrs.saga import Record, Saga
from simplecqrs.saga.adopting import saga_named
from simplecqrs.svg import saga_svg

__all__ = ["KINDS", "picture_of", "picture_of_definition", "svg_of"]

#: What can be drawn of a definition.
KINDS: Final[dict[str, Callable[[Saga[Any]], str]]] = {
    "flow": saga_flow,
    "sequence": saga_sequence,
    "classes": saga_classes,
}


def picture_of_definition(bus: DjangoMediator, name: str, kind: str) -> str:
    """Return a saga's definition as Mermaid text; raises SagaNotFound."""
    return KINDS[kind](saga_named(bus, name))


def picture_of(bus: DjangoMediator, record: Record, kind: str) -> str:
    """Return a stored saga as Mermaid text, as a flowchart with its way; raises SagaNotFound without its definition."""
    if kind != "flow":
        return picture_of_definition(bus, record.saga, kind)
    return saga_path(saga_named(bus, record.saga), record, bus.sagas.history(record.id))


def svg_of(bus: DjangoMediator, record: Record) -> SafeString:
    """Return a stored saga as an element of a page, or why there is none; what is drawn is escaped by who draws it."""
    try:
        saga = saga_named(bus, record.saga)
    except SagaNotFound:
        return SafeString("no definition of this name is here; it is drawn, and goes on, when one is deployed")
    return mark_safe(saga_svg(saga, record, bus.sagas.history(record.id), style=""))
