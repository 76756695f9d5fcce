"""The sequence diagram of a handler: which links of chains and fallbacks are asked, and when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from simplecqrs.chains import Chain, NotMine
from simplecqrs.conversion.annotations import members
from simplecqrs.fallbacks import Fallback
from simplecqrs.handlers import is_combined
from simplecqrs.hints import hints_of
from simplecqrs.mermaid.sequences import Sequence as Diagram
from simplecqrs.messages import Message
from simplecqrs.titles import title, type_title

__all__ = ["chain_sequence", "returned_by"]


def chain_sequence(handler: Any, message: type[Message]) -> str:
    """
    Draw who is asked for a message, in which order, by a chain, a fallback, both in each other, or a plain handler.

    Args:
        message: the class of what it handles.
    """
    drawing = _Asking(message)
    drawing.ask(handler)
    return drawing.diagram.text()


def returned_by(handler: Any) -> Any:
    """Return the type that a function, or the ``handle`` of a class, says it answers by; "?" if it does not say."""
    function: Any = getattr(handler, "handle", handler) if isinstance(handler, type) else handler
    return hints_of(function).get("return", "?")


class _Asking:
    """One sequence diagram of one handler."""

    def __init__(self, message: type[Message]) -> None:
        self.diagram = Diagram()
        self.message = message
        self.bus = self.diagram.participant("bus")
        self._drawn: dict[int, str] = {}  # what is asked in two places is one participant

    def ask(self, handler: Any) -> None:
        """Draw how a handler is asked."""
        if isinstance(handler, Chain):
            self._ask_chain(handler.links, handler)
        elif isinstance(handler, Fallback):
            self._ask_fallback(handler)
        else:
            self._ask_leaf(handler)

    def _ask_leaf(self, handler: Any) -> None:
        name = self._drawn.get(id(handler)) or self.diagram.participant(title(handler))
        self._drawn[id(handler)] = name
        self.diagram.call(self.bus, name, title(self.message))
        self.diagram.answer(name, self.bus, "an answer" if is_combined(handler) else type_title(returned_by(handler)))

    def _ask_chain(self, links: Sequence[Any], chain: Chain) -> None:
        first, *rest = links
        self.ask(first)
        follow: Callable[[], None] = (lambda: self._ask_chain(rest, chain)) if rest else (lambda: self._end(chain))
        if _may_decline(first):
            with self.diagram.block("opt", f"{title(first)} says NOT_MINE"):
                follow()
        elif rest:
            self.diagram.note(self.bus, f"{', '.join(map(title, rest))}: never asked, {title(first)} always answers")

    def _end(self, chain: Chain) -> None:
        says = "raises NobodyAnswered" if not chain.has_default else f"answers by its default, {chain.default!r}"
        self.diagram.note(self.bus, f"the chain {says}")

    def _ask_fallback(self, fallback: Fallback) -> None:
        primary, backup = fallback.links
        failures = " or ".join(error.__name__ for error in fallback.on)
        breaker = ", or its breaker is open" if fallback.breaker is not None else ""
        with self.diagram.block("critical", title(primary)):
            self.ask(primary)
            self.diagram.otherwise("option", f"{failures}{breaker}")
            self.ask(backup)


def _may_decline(handler: Any) -> bool:
    """Tell whether a link may leave a message to the next one; one that does not say what it returns may."""
    if isinstance(handler, Chain):
        return handler.has_default and isinstance(handler.default, NotMine)
    if isinstance(handler, Fallback):
        return any(map(_may_decline, handler.links))
    hint = returned_by(handler)
    return isinstance(hint, str) or NotMine in members(hint) or hint is Any
