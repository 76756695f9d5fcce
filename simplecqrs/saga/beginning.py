"""Beginning what is to be called of a step, or waited for, and the lines of the log that say so."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from simplecqrs.saga.records import Action, Entry, Progress, Record, Run

if TYPE_CHECKING:
    from simplecqrs.saga.definition import Saga
    from simplecqrs.saga.step import Step

__all__ = ["LONGEST_ERROR", "begin", "begin_again", "begin_group", "begin_ready", "is_current", "note", "undoing"]

_now = time.time
#: How long errors are kept, in characters.
LONGEST_ERROR: Final = 2000
#: Twice as quick as to call the class.
_tuple: Any = getattr(tuple, "__new__")  # noqa: B009 - checkers know too much of it
#: What most steps come to.
FIRST = Progress("started", "act", 1)


def undoing(action: str) -> bool:
    """Tell whether an action undoes another one."""
    return action.startswith("undo")


def note(
    record: Record, step: str, action: str, event: str, *, attempt: int = 0, error: str = "", who: str = ""
) -> None:
    """Add a line to a saga's log."""
    record.entries.append(_tuple(Entry, (step, action, event, _now(), attempt, error, who)))


def begin_group(saga: Saga[Any], record: Record, group: Sequence[Step[Any]]) -> list[Run]:
    """Begin steps for the first time, one or those of a Parallel."""
    record.status = "RUNNING"
    if len(group) == 1 and record.ahead:
        run = saga.first_runs.get(group[0].name)
        if run is not None:  # it may be begun ahead of time, as most may
            record.entries.append(_tuple(Entry, (run.step, "act", "started", _now(), 1, "", "")))
            record.progress[run.step] = FIRST
            return [run]
    runs = [run for step in group for run in begin_again(saga, record, step, "act")]
    record.status = "RUNNING" if runs else "WAITING"
    return runs


def begin_again(saga: Saga[Any], record: Record, step: Step[Any], action: Action) -> list[Run]:
    """Begin an action, or wait for the event that the step waits for."""
    waits = step.waits
    if waits is None or action != "act":
        return begin(record, step, action)
    known = record.progress.get(step.name, Progress("waiting"))
    try:
        record.waits.append(saga.waiting(step, waits, record.state))
    except Exception as error:  # noqa: BLE001 - the key is the user's code; what was done is undone
        text = f"{type(error).__name__}: {error}"
        note(record, step.name, "act", "failed", error=text)
        record.progress[step.name] = known._replace(phase="failed", error=text)
        record.error = record.error or f"{step.name}: {text}"
        return []
    record.progress[step.name] = known._replace(phase="waiting", attempts=known.attempts + 1, error="")
    note(record, step.name, "act", "waiting", attempt=known.attempts + 1)
    return []


def begin(record: Record, step: Step[Any], action: Action, *, failures: int = 0, pause: float = 0.0) -> list[Run]:
    """
    Begin an action at once, if that may be said some time before it is true; else make it ready to be begun.

    Returns:
        What is to be run; nothing if the saga rests.
    """
    before = record.progress.get(step.name)
    known = before if before is not None and before.action == action else Progress("ready", action)
    attempt = known.attempts + 1
    begun = record.ahead and not record.paused and not pause and (step.idempotent or undoing(action))
    if begun:
        note(record, step.name, action, "started", attempt=attempt)
    record.progress[step.name] = known._replace(
        phase="started" if begun else "ready",
        attempts=attempt if begun else known.attempts,
        failures=failures,
        pause=pause,
    )
    return [] if record.paused else [Run(step.name, action, attempt, begun, pause)]


def begin_ready(record: Record, step: Step[Any]) -> Run:
    """Begin what is ready, when its pause is over; it is to be stored before it is called."""
    known = record.progress[step.name]
    attempt = known.attempts + 1
    note(record, step.name, known.action, "started", attempt=attempt)
    record.progress[step.name] = known._replace(phase="started", attempts=attempt, pause=0.0)
    return Run(step.name, known.action, attempt, begun=True)


def is_current(record: Record, run: Run) -> bool:
    """Tell whether something is still to be run: a person, or another step's failure, may have changed that."""
    known = record.progress.get(run.step)
    if known is None or known.action != run.action:
        return False
    if run.begun:
        return known.phase == "started" and known.attempts == run.attempt
    return known.phase == "ready" and known.attempts + 1 == run.attempt
