"""The class diagram of a saga: its state, its steps, what they call and what that needs."""

from __future__ import annotations

from typing import Any

from simplecqrs.hints import hints_of
from simplecqrs.mermaid.class_diagrams import ClassDiagram
from simplecqrs.mermaid.needs import needs_of
from simplecqrs.mermaid.saga_steps import called, remarks, step_class
from simplecqrs.saga import NO_COMPENSATION, Parallel, Saga, Step, SyncSagaStep
from simplecqrs.saga.records import Action
from simplecqrs.titles import title, type_title

__all__ = ["saga_classes"]

ACTIONS: tuple[Action, ...] = ("act", "fallback", "undo act", "undo fallback")


def saga_classes(saga: Saga[Any]) -> str:
    """Draw a saga as a class diagram: the class of its state with its fields, its steps, events, and dependencies."""
    diagram = ClassDiagram()
    whole = diagram.add(saga, saga.name, "saga", *_about(saga))
    state = diagram.add_class(saga.state, "state")
    diagram.link(whole, state, "knows", "state")
    for part in saga.definition:
        owner = whole
        if isinstance(part, Parallel):
            merge = [f"merge: {title(part.merge)}"] if part.merge is not None else []
            owner = diagram.add(part, "Parallel", "parallel", *merge)
            diagram.link(whole, owner, "has")
        for step in part.steps if isinstance(part, Parallel) else (part,):
            diagram.link(owner, _draw_step(diagram, step), "has")
    return diagram.text()


def _about(saga: Saga[Any]) -> list[str]:
    return [f"{len(saga.by_name)} steps", f"undoing: {saga.compensation_retry.attempts} attempts"]


def _draw_step(diagram: ClassDiagram, step: Step[Any]) -> str:
    members = [f"{action}: {name}" for action in ACTIONS if (name := _calls(step, action))]
    if step.undoes("act") is NO_COMPENSATION:
        members.append("nothing to undo")
    drawn = diagram.add(step, step.name, "step", *members, *remarks(step))
    if step.waits is not None:
        diagram.link(drawn, diagram.add_class(step.waits.event, "event"), "knows", f"waits for its {step.waits.key}")
    for action in ACTIONS:
        call = step.call_of(action)
        cls = step_class(call)
        if cls is not None:
            diagram.link(drawn, _draw_class(diagram, cls), "leads to", action.rpartition(" ")[2])
        elif callable(call):
            _draw_needs(diagram, drawn, call)
    return drawn


def _calls(step: Step[Any], action: Action) -> str:
    if action == "undo fallback" and (step.fallback is None or called(step, action) == called(step, "undo act")):
        return ""
    return called(step, action)


def _draw_class(diagram: ClassDiagram, cls: Any) -> str:
    base: Any = SyncSagaStep
    methods = ["act"] if cls.compensate is base.compensate else ["act", "compensate"]
    members = [f"{name}(state) {type_title(hints_of(getattr(cls, name)).get('return', Any))}" for name in methods]
    drawn = diagram.add(cls, title(cls), "implementation", *members)
    diagram.link(drawn, diagram.add(base, "SyncSagaStep", "base"), "is")
    _draw_needs(diagram, drawn, cls)
    return drawn


def _draw_needs(diagram: ClassDiagram, drawn: str, call: Any) -> None:
    for name, kind in needs_of(call).items():
        diagram.link(drawn, diagram.add(kind, type_title(kind), "dependency"), "knows", name)
