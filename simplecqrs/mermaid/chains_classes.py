"""The class diagram of a handler: the links of chains and fallbacks, the message, the answer, and dependencies."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from simplecqrs.chains import Chain
from simplecqrs.fallbacks import Fallback
from simplecqrs.fields import fields_of
from simplecqrs.handlers import is_combined
from simplecqrs.kinds import answer_of, kind_of
from simplecqrs.mermaid.chains_sequence import returned_by
from simplecqrs.mermaid.class_diagrams import ClassDiagram
from simplecqrs.mermaid.needs import needs_of
from simplecqrs.messages import Message
from simplecqrs.titles import title, type_title

__all__ = ["chain_classes"]


def chain_classes(handler: Any, message: type[Message]) -> str:
    """
    Draw a handler as a class diagram: a chain, a fallback, both in each other, or a plain handler.

    Args:
        message: the class of what it handles.
    """
    diagram = ClassDiagram()
    root = _draw(diagram, handler, message)
    drawn = diagram.add_class(message, kind_of(message).rpartition(" ")[2])
    diagram.link(root, drawn, "knows", "handles")
    answer = answer_of(message)
    if isinstance(answer, type) and fields_of(answer):
        diagram.link(drawn, diagram.add_class(answer, "answer"), "leads to", "is answered by")
    return diagram.text()


def _draw(diagram: ClassDiagram, handler: Any, message: type[Message]) -> str:
    if not is_combined(handler):
        return _draw_leaf(diagram, handler, message)
    says = _about(handler)
    name = type(handler).__name__.lower()
    drawn = diagram.add(handler, name, name, *says)
    links = [_draw(diagram, link, message) for link in handler.links]
    for link in links:
        diagram.link(drawn, link, "has")
    for before, after in pairwise(links):
        diagram.link(before, after, "leads to", "fails" if isinstance(handler, Fallback) else "NOT_MINE")
    return drawn


def _about(handler: Any) -> list[str]:
    if isinstance(handler, Chain):
        return [f"default: {handler.default!r}"] if handler.has_default else ["no default"]
    if isinstance(handler, Fallback):
        breaker = ["behind a breaker"] if handler.breaker is not None else []
        return [f"on: {' | '.join(error.__name__ for error in handler.on)}", *breaker]
    return []


def _draw_leaf(diagram: ClassDiagram, handler: Any, message: type[Message]) -> str:
    method = title(handler) if not isinstance(handler, type) else "handle"
    signature = f"{method}({type_title(message)}) {type_title(returned_by(handler))}"
    drawn = diagram.add(handler, title(handler), "handler" if isinstance(handler, type) else "function", signature)
    if isinstance(handler, type):
        base = next(cls for cls in handler.__mro__[1:] if cls is not object)
        diagram.link(drawn, diagram.add(base, title(base), "base"), "is")
    for name, kind in needs_of(handler).items():
        diagram.link(drawn, diagram.add(kind, type_title(kind), "dependency"), "knows", name)
    return drawn
