"""What happens when steps of a saga fail, as part of a flowchart: what is undone, and where it ends."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from simplecqrs.mermaid.saga_drawing import Drawing
from simplecqrs.mermaid.saga_steps import undone_by
from simplecqrs.saga import Step
from simplecqrs.saga.records import Action

__all__ = ["Failures"]

UNDOS: Final[tuple[Action, Action]] = ("undo act", "undo fallback")


class Failures:
    """The ways of a saga that do not succeed, in a drawing that has the one that does."""

    def __init__(self, drawing: Drawing) -> None:
        self.drawing, self.saga, self.chart = drawing, drawing.saga, drawing.chart
        #: Of each group that can be undone, the node or frame that leads into that; and where undoing ends.
        self._undos: dict[int, str] = {}
        self._undone = ""

    def draw(self, failing: Sequence[Step[Any]]) -> None:
        """Draw what undoes what, and the ways there from the steps that fail."""
        last = max(self.saga.index_of(step) for step in failing)
        for index in range(min(last, self.saga.pivot), -1, -1):
            self._draw_undo(index)
        kind = self.drawing.ended("COMPENSATED", "CANCELLED") or (self._has_failed_undoing() and "failed") or ""
        self._undone = self.drawing.end("COMPENSATED", "FAILED, if undoing was given up", kind=kind)
        for index, following in pairwise([*self._undos, -1]):
            self._lead_back(index, following)
        self._lead_to_ends(failing)
        for step in failing:
            if self.saga.index_of(step) <= self.saga.pivot:
                self._lead_back_from(step)

    def _has_failed_undoing(self) -> bool:
        return self.drawing.status == "FAILED" and any(self._began(index) for index in self._undos)

    def _draw_undo(self, index: int) -> None:
        steps = [step for step in reversed(self.saga.groups[index]) if undone_by(step)]
        if len(steps) == 1:
            self._undos[index] = self._draw_undo_of(steps[0])
        elif steps:
            with self.chart.group("undo, one after the other") as frame:
                for step in steps:
                    self._draw_undo_of(step)
            self._undos[index] = frame

    def _draw_undo_of(self, step: Step[Any]) -> str:
        action: Action = "undo fallback" if self.drawing.stood(step, "undo fallback") else "undo act"
        return self.drawing.call(step, action, f"undo {step.name}", undone_by(step), shape="undo")

    def _began(self, index: int) -> bool:
        return any(self.drawing.stood(step, action) for step in self.saga.groups[index] for action in UNDOS)

    def _lead_back(self, index: int, following: int) -> None:
        began = self._began(index)
        if following in self._undos:
            self.chart.edge(self._undos[index], self._undos[following], taken=began and self._began(following))
        else:
            ended = self.drawing.status in ("COMPENSATED", "CANCELLED", "FAILED")
            self.chart.edge(self._undos[index], self._undone, taken=began and ended)

    def _lead_back_from(self, step: Step[Any]) -> None:
        """Lead from a step that fails to what is undone first."""
        index, source = self.saga.index_of(step), self.drawing.exits[step.name]
        own = self._undos.get(index)
        others = own is not None and len(self.saga.groups[index]) > 1
        before = index if others else next((i for i in range(index - 1, -1, -1) if i in self._undos), -1)
        maybe = self._may_have_happened(step)
        if own is not None and not others and step.waits is None and step.idempotent:
            self.chart.edge(source, own, "nobody knows", dotted=True, taken=maybe and self._began(index))
        went = self._began(before) if before in self._undos else self.drawing.status in ("COMPENSATED", "FAILED")
        taken = self._failed(step) and not maybe and went
        self.chart.edge(source, self._undos.get(before, self._undone), "fails", dotted=True, taken=taken)

    def _lead_to_ends(self, failing: Sequence[Step[Any]]) -> None:
        """Draw the ends where a person is needed, if there are ways to them."""
        status, saga = self.drawing.status, self.saga
        stuck = [step for step in failing if saga.index_of(step) > saga.pivot]
        if stuck:
            kind = "failed" if status == "FAILED" and not self._has_failed_undoing() else ""
            end = self.drawing.end("FAILED", "a person has to see to it", kind=kind)
            for step in stuck:
                text = f"given up after {saga.retry_of(step).attempts} attempts"
                taken = self._failed(step) and status == "FAILED"
                self.chart.edge(self.drawing.exits[step.name], end, text, dotted=True, taken=taken)
        asking = [step for step in failing if _asks_a_person(step, after=step in stuck)]
        if asking:
            end = self.drawing.end("UNKNOWN", "a person has to say", kind=self.drawing.ended("UNKNOWN"))
            for step in asking:
                taken = status == "UNKNOWN" and self._failed(step)
                self.chart.edge(self.drawing.exits[step.name], end, "nobody knows", dotted=True, taken=taken)

    def _failed(self, step: Step[Any]) -> bool:
        """Tell whether a step failed, or may have."""
        found = [self.drawing.stood(step, action) for action in ("act", "fallback")]
        stood = next((stood for stood in reversed(found) if stood is not None), None)
        return stood is not None and (stood.standing in ("failed", "unknown") or stood.unknown)

    def _may_have_happened(self, step: Step[Any]) -> bool:
        found = [self.drawing.stood(step, action) for action in ("act", "fallback")]
        return any(stood is not None and stood.unknown for stood in found)


def _asks_a_person(step: Step[Any], *, after: bool) -> bool:
    """Tell whether a saga waits for a person when nobody knows whether a step has happened."""
    if step.waits is not None:
        return False
    return not step.idempotent or (step.undoes("act") is None and not after)
