"""The way of a saga that succeeds, as part of a flowchart: its steps, their fallbacks, what is waited for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from simplecqrs.mermaid.flowcharts import Flowchart, Shape
from simplecqrs.mermaid.saga_steps import called, remarks
from simplecqrs.saga import Record, Saga, Step
from simplecqrs.saga.records import Action, SagaStatus
from simplecqrs.saga.standing import Stood

__all__ = ["Drawing"]

#: What has happened, whatever became of it later.
HAPPENED: Final = frozenset({"done", "undone", "skipped"})
#: The colour of the end that a status is.
ENDS: Final[dict[SagaStatus, str]] = {
    "COMPLETED": "done", "COMPENSATED": "undone", "CANCELLED": "undone", "FAILED": "failed", "UNKNOWN": "unknown",
}  # fmt: skip


class Drawing:
    """
    A flowchart of a saga, with the way that succeeds.

    Args:
        known: what became of the calls of a stored one; empty: it is drawn as it is defined.

    Attributes:
        entries: of each group of steps, the node or frame that leads into it.
        exits: of each step, the node of its last try: of the fallback, or of the act.
    """

    def __init__(self, saga: Saga[Any], known: Mapping[tuple[str, Action], Stood], record: Record | None) -> None:
        self.saga, self.known = saga, known
        self.status = None if record is None else record.status
        self.chart = Flowchart()
        self.entries: list[str] = []
        self.exits: dict[str, str] = {}
        self._nodes: dict[tuple[str, Action], str] = {}
        began = bool(known)
        start = self.chart.node(saga.name, f"with {saga.state.__qualname__}", shape="end", kind="done" if began else "")
        for index in range(len(saga.groups)):
            self._draw_group(index)
        self.chart.edge(start, self.entries[0], taken=began)
        for index in range(1, len(saga.groups)):
            self._lead_on(index - 1, self.entries[index], went=self._has_begun(index))
        ended = self.end("COMPLETED", kind=self.ended("COMPLETED"))
        self._lead_on(len(saga.groups) - 1, ended, went=self.status == "COMPLETED")

    def stood(self, step: Step[Any], action: Action) -> Stood | None:
        """Return what a call of a step came to, if there was one."""
        return self.known.get((step.name, action))

    def ended(self, *statuses: SagaStatus) -> str:
        """Return the colour of an end, if it is one of these; else none."""
        return ENDS[self.status] if self.status in statuses else ""

    def end(self, *texts: str, kind: str) -> str:
        """Draw where a saga ends."""
        return self.chart.node(*texts, shape="end", kind=kind)

    def call(self, step: Step[Any], action: Action, *texts: str, shape: Shape = "box") -> str:
        """Draw a call of a step, and what it came to."""
        stood = self.stood(step, action)
        if stood is None:
            return self.chart.node(*texts, shape=shape)
        return self.chart.node(*texts, *_outcome(stood), shape=shape, kind=stood.standing)

    def draw_strangers(self) -> None:
        """Draw what was stored of steps that the definition does not have any more."""
        for (name, action), stood in self.known.items():
            if name not in self.saga.by_name:
                texts = (f"{name}, {action}", "no step any more", *_outcome(stood))
                self.chart.node(*texts, kind=stood.standing)

    def _has_begun(self, index: int) -> bool:
        return any(self.stood(step, "act") is not None for step in self.saga.groups[index])

    def _draw_group(self, index: int) -> None:
        group = self.saga.groups[index]
        if len(group) == 1:
            self.entries.append(self._draw_step(group[0]))
            return
        with self.chart.group("at the same time") as frame:
            for step in group:
                self._draw_step(step)
        self.entries.append(frame)

    def _draw_step(self, step: Step[Any]) -> str:
        shape: Shape = "wait" if step.waits is not None else "pivot" if step.pivot else "box"
        said = ", ".join(remarks(step))
        node = self.call(step, "act", step.name, called(step, "act"), said, shape=shape)
        self._nodes[step.name, "act"] = self.exits[step.name] = node
        if step.fallback is not None:
            other = self.call(step, "fallback", f"{step.name}, fallback", called(step, "fallback"))
            went = self.stood(step, "fallback") is not None
            self.chart.edge(node, other, "fails", dotted=True, taken=went)
            self._nodes[step.name, "fallback"] = self.exits[step.name] = other
        return node

    def _lead_on(self, index: int, target: str, *, went: bool) -> None:
        """Lead from all that a group may end with to what comes next."""
        [step, *others] = self.saga.groups[index]
        if others:
            self.chart.edge(self.entries[index], target, taken=went)
            return
        for (name, action), node in self._nodes.items():
            if name == step.name:
                stood = self.stood(step, action)
                taken = went and stood is not None and stood.standing in HAPPENED
                self.chart.edge(node, target, taken=taken)


def _outcome(stood: Stood) -> tuple[str, str]:
    tried = f", {stood.attempts} attempts" if stood.attempts > 1 else ""
    return f"{stood.standing}{tried}", stood.error
