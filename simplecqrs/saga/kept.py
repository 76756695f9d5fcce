"""What a saga in memory is kept as: its record and log, or only a sketch of them until somebody asks for more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from attrs import define, field

from simplecqrs.saga.beginning import FIRST
from simplecqrs.saga.machine import DONE
from simplecqrs.saga.records import Record

if TYPE_CHECKING:
    from simplecqrs.saga.definition import Saga

__all__ = ["HERE", "NEVER", "Kept", "Sketch", "Wait"]

#: When nobody need look after a saga.
NEVER: Final = float("inf")
#: Who works on a saga that is a sketch.  Whoever takes it over has another name.
HERE: Final = "here"


@define
class Wait:
    """A step that waits, until when, and the event that has come for it."""

    step: str
    address: tuple[str, str]
    ends: float
    event: bytes | None


@define(eq=False)
class Kept:
    """A saga, and from when on others may take it up."""

    record: Record
    due: float
    log: list[tuple[Any, ...]]
    waits: list[Wait] = field(factory=list[Wait])


@define(eq=False)
class Sketch:
    """
    A saga whose steps are done at their first attempt: nothing is noted but when.

    Its record and its log follow from that; they are made when somebody asks for them, and are the truth from then on.

    Args:
        times: when its first step was begun, and when each step was done; the next one is begun at the same time.
        record: what was made of it; None: nobody has asked yet.
    """

    id: UUID
    saga: Saga[Any]
    state: Any
    times: list[float]
    record: Record | None = field(default=None, init=False)

    def drawn(self) -> Kept:
        """Return what it stands for."""
        steps, times = self.saga.singles, self.times
        done = len(times) - 1
        log: list[tuple[Any, ...]] = []
        for step, began, ended in zip(steps, times, times[1:], strict=False):
            log += [(step, "act", "started", began, 1, "", ""), (step, "act", "completed", ended, 1, "", "")]
        progress = dict.fromkeys(steps[:done], DONE)
        is_over = done == len(steps)
        if not is_over:
            log.append((steps[done], "act", "started", times[done], 1, "", ""))
            progress[steps[done]] = FIRST
        self.record = Record(
            self.id, self.saga.name, self.state, "COMPLETED" if is_over else "RUNNING", progress, done,
            version=1 + done, fingerprint=self.saga.fingerprint, owner="" if is_over else HERE,
        )  # fmt: skip
        return Kept(self.record, NEVER, log)
