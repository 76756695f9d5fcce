"""The sequence diagram of a saga: who is called, first if all goes well, and then for each step that fails."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from simplecqrs.mermaid.saga_steps import called, failing_steps, undone_by
from simplecqrs.mermaid.sequences import Sequence
from simplecqrs.saga import Saga, Step
from simplecqrs.titles import title

__all__ = ["saga_sequence"]


def saga_sequence(saga: Saga[Any], *, failing: Collection[str] | None = None) -> str:
    """
    Draw a saga as a sequence diagram.

    Args:
        failing: the steps whose failure is drawn, each in a part of its own; none of them leaves the way that
            succeeds.  Default: all.

    Raises:
        InvalidSaga: if one of them is no step of it.
    """
    steps = failing_steps(saga, failing)
    return _Calls(saga).text(steps)


class _Calls:
    """One sequence diagram of one saga."""

    def __init__(self, saga: Saga[Any]) -> None:
        self.saga, self.sequence = saga, Sequence()
        self.runner = self.sequence.participant(f"{saga.name} (saga)")
        self.steps = {name: self.sequence.participant(name) for name in saga.by_name}
        self.backups = {
            name: self.sequence.participant(f"{name} (fallback)")
            for name, step in saga.by_name.items()
            if step.fallback is not None
        }

    def text(self, failing: Iterable[Step[Any]]) -> str:
        """Draw all of it."""
        if not failing:
            self._succeed()
            return self.sequence.text()
        with self.sequence.block("alt", "every step succeeds"):
            self._succeed()
            for step in failing:
                self._fail(step)
        return self.sequence.text()

    def _succeed(self) -> None:
        for group in self.saga.groups:
            if len(group) == 1:
                self._run(group[0])
                continue
            with self.sequence.block("par", group[0].name):
                self._run(group[0])
                for step in group[1:]:
                    self.sequence.otherwise("and", step.name)
                    self._run(step)
        self.sequence.note(self.runner, "COMPLETED")

    def _run(self, step: Step[Any]) -> None:
        name = self.steps[step.name]
        if step.waits is None:
            self.sequence.call(self.runner, name, called(step, "act"))
            self.sequence.answer(name, self.runner, self.saga.state.__qualname__)
        else:
            self.sequence.note(self.runner, called(step, "act"))
            self.sequence.call(name, self.runner, title(step.waits.event))

    def _fail(self, step: Step[Any]) -> None:
        name = self.steps[step.name]
        if step.fallback is not None:
            self.sequence.otherwise("else", f"{step.name} fails and its fallback answers")
            self._break(step, name)
            self.sequence.call(self.runner, self.backups[step.name], called(step, "fallback"))
            self.sequence.answer(self.backups[step.name], self.runner, self.saga.state.__qualname__)
            self.sequence.note(self.runner, "goes on with the next step")
        self.sequence.otherwise("else", f"{step.name} fails{' and its fallback too' if step.fallback else ''}")
        self._break(step, name)
        if step.fallback is not None:
            self.sequence.call(self.runner, self.backups[step.name], called(step, "fallback"))
            self.sequence.failure(self.backups[step.name], self.runner, "fails")
        if self.saga.index_of(step) > self.saga.pivot:
            attempts = self.saga.retry_of(step).attempts
            self.sequence.note(self.runner, f"FAILED after {attempts} attempts; there is no way back")
        else:
            self._undo_before(step)

    def _break(self, step: Step[Any], name: str) -> None:
        if step.waits is None:
            self.sequence.call(self.runner, name, called(step, "act"))
            self.sequence.failure(name, self.runner, "fails")
        else:
            self.sequence.note(self.runner, f"{title(step.waits.event)} does not come in time")

    def _undo_before(self, failed: Step[Any]) -> None:
        index = self.saga.index_of(failed)
        done = [step for group in self.saga.groups[: index + 1] for step in group if step is not failed]
        undoable = [step for step in reversed(done) if undone_by(step)]
        for step in undoable:
            self.sequence.call(self.runner, self.steps[step.name], f"undo: {undone_by(step)}")
            self.sequence.answer(self.steps[step.name], self.runner, "undone")
        if not undoable:
            self.sequence.note(self.runner, "there is nothing to undo")
        self.sequence.note(self.runner, "COMPENSATED")
