"""A reference model of dispatch: what runs, in which order, what is kept, and what goes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

from attrs import define, field, frozen

__all__ = ["Event", "Failed", "Model", "Step"]


class Failed(Exception):
    """A step that failed, or the failures of several handlers."""


@frozen
class Step:
    """What a handler does: write, raise, publish (an event), send or try (steps of a command)."""

    verb: Literal["write", "raise", "publish", "send", "try"]
    what: Any = None


@frozen(eq=False)
class Event:
    """An event: who handles it, by what steps, in their order; ``later``: after the commit."""

    id: str
    handlers: Mapping[str, Sequence[Step]]
    later: Mapping[str, Sequence[Step]]
    outward: bool = False


@define
class Unit:
    """What shares its fate: ids of events that go out, and events with handlers after the commit."""

    out: list[str] = field(factory=list)
    late: list[Event] = field(factory=list)

    def absorb(self, nested: Unit) -> None:
        """Take over what a nested unit that succeeded has collected."""
        self.out += nested.out
        self.late += nested.late


class Model:
    """Handles messages as the architecture says.  Paths in its log are compared: numbers in order, names in any."""

    def __init__(self, *, errors: Literal["raise", "collect", "log"], rolls_back: bool) -> None:
        self.errors, self.rolls_back = errors, rolls_back
        self.log: list[tuple[str, tuple[int | str, ...]]] = []
        self.rows: set[str] = set()
        self.shipped: list[list[str]] = []

    def publish(self, event: Event) -> None:
        """Handle an event that no handler publishes: a message of its own."""
        self.handle("", [Step("publish", event)])

    def handle(self, who: str, steps: Sequence[Step], path: Any = None, outer: Unit | None = None) -> None:
        """Handle a message: its handler, then its events; without ``outer`` it is an outermost one."""
        path, unit, before = path or (len(self.log),), Unit(), set(self.rows)
        try:
            self._levels(self._run(who, steps, (*path, 0), unit), path, unit)
        except Failed:
            self.rows = before if self.rolls_back else self.rows
            raise
        if outer is not None:
            return outer.absorb(unit)
        self.shipped += [unit.out] if unit.out else []
        for late in [late for event in unit.late for late in event.later.items()]:
            with suppress(Failed):  # it is logged
                self.handle(*late)
        return None

    def _run(self, who: str, steps: Sequence[Step], path: Any, unit: Unit) -> list[Event]:
        published: list[Event] = []
        self.log += [(who, (*path, who))] if who else []
        for number, step in enumerate(steps):
            key, here = f"{who}.{number}", (*path, who, number)
            self.log += [(key, here)] if who else []
            if step.verb == "raise":
                raise Failed(key)
            if step.verb == "write":
                self.rows.add(key)
            elif step.verb == "publish":
                published.append(step.what)
                unit.out += [step.what.id] if step.what.outward else []
            else:
                try:
                    self.handle(f"{key}:do", step.what, here, unit)
                except Failed:
                    if step.verb == "send":
                        raise
        return published

    def _levels(self, level: list[Event], path: Any, unit: Unit) -> None:
        failures, number = [], 0
        while level:
            number, events, level = number + 1, level, []
            for who, steps in [handler for event in events for handler in event.handlers.items()]:
                nested = Unit()
                try:
                    level += self._run(who, steps, (*path, number), nested)
                    unit.absorb(nested)
                except Failed as failure:
                    failures.append(failure)
                    if self.errors == "raise":
                        raise
            unit.late += [event for event in events if event.later]
        if failures and self.errors == "collect":
            raise Failed(*failures)
