"""
What a saga does next: decisions, without I/O.

Each function takes a definition and a record, and changes the record; whoever called it stores that.  What is to be
run is returned: it is begun already, and so is stored as begun before it is called; or it is ready to be begun.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from simplecqrs.backoff import Retry
from simplecqrs.saga.merging import merged
from simplecqrs.saga.records import Action, Entry, Progress, Record, Run
from simplecqrs.saga.step import NO_COMPENSATION

if TYPE_CHECKING:
    from simplecqrs.saga.definition import Saga
    from simplecqrs.saga.step import Step

__all__ = ["ask_again", "begin_ready", "expired", "failed", "found", "go_on", "note", "succeeded", "undoing"]

#: Steps that have not come to anything yet.
OPEN: Final = frozenset({"ready", "started", "waiting", "unknown"})
#: How long errors are kept, in characters.
LONGEST_ERROR: Final = 2000


def go_on(saga: Saga[Any], record: Record) -> list[Run]:
    """Begin what can be begun now, and return what is to be run; nothing if it waits, rests, or has ended."""
    if record.status == "COMPENSATING":
        return _undo(saga, record)
    if record.ended or record.paused:
        return []
    return _forward(saga, record)


def _forward(saga: Saga[Any], record: Record) -> list[Run]:
    progress, groups = record.progress, saga.groups
    while record.position < len(groups):
        group = groups[record.position]
        if group[0].name not in progress:
            if record.cancelled and record.position <= saga.pivot:
                return _turn_round(saga, record)
            return _begin_group(saga, record, group)
        phases = {progress[step.name].phase for step in group}
        if not phases.isdisjoint(OPEN):
            record.status = "WAITING" if phases & OPEN == {"waiting"} else "RUNNING"
            return []
        if len(group) > 1:
            _join(saga, record, group)
            phases = {progress[step.name].phase for step in group}
        if "failed" in phases:
            return _turn_round(saga, record)
        record.position += 1
    record.status = "COMPLETED"
    return []


def _begin_group(saga: Saga[Any], record: Record, group: Sequence[Step[Any]]) -> list[Run]:
    runs: list[Run] = []
    for step in group:
        waits = step.waits
        if waits is None:
            runs.append(_begin(record, step, "act"))
            continue
        record.progress[step.name] = Progress("waiting", attempts=1)
        record.waits.append(saga.waiting(step, waits, record.state))
        note(record, step.name, "act", "waiting", attempt=1)
    record.status = "RUNNING" if runs else "WAITING"
    return runs


def _begin(record: Record, step: Step[Any], action: Action, *, failures: int = 0, pause: float = 0.0) -> Run:
    """Begin an action at once, if that may be said some time before it is true; else make it ready to be begun."""
    before = record.progress.get(step.name)
    known = before if before is not None and before.action == action else Progress("ready", action)
    attempt = known.attempts + 1
    begun = record.ahead and not pause and (step.idempotent or undoing(action))
    if begun:
        note(record, step.name, action, "started", attempt=attempt)
    record.progress[step.name] = Progress(
        "started" if begun else "ready", action, attempt if begun else known.attempts, failures, known.unknown, pause,
        known.error,
    )  # fmt: skip
    return Run(step.name, action, attempt, begun, pause)


def begin_ready(record: Record, step: Step[Any]) -> Run:
    """Begin what is ready, when its pause is over; it is to be stored before it is called."""
    known = record.progress[step.name]
    attempt = known.attempts + 1
    note(record, step.name, known.action, "started", attempt=attempt)
    record.progress[step.name] = known._replace(phase="started", attempts=attempt, pause=0.0)
    return Run(step.name, known.action, attempt, begun=True)


def succeeded(saga: Saga[Any], record: Record, step: Step[Any], returned: Any) -> list[Run]:
    """Note that what was begun of a step is done, with the state that it has returned, and go on."""
    known = record.progress[step.name]
    note(record, step.name, known.action, "completed", attempt=known.attempts)
    record.recoveries = 0
    parallel = saga.is_parallel(step) and not undoing(known.action)
    if returned is not None and not parallel:
        record.state = returned
    record.progress[step.name] = Progress(
        "undone" if undoing(known.action) else "done", known.action, known.attempts,
        state=returned if parallel else None,
    )  # fmt: skip
    return go_on(saga, record)


def failed(saga: Saga[Any], record: Record, step: Step[Any], error: BaseException, *, unknown: bool) -> list[Run]:
    """
    Note that what was begun of a step has failed, and go on: once more, by its fallback, or by undoing.

    Args:
        unknown: nobody knows whether it happened nevertheless.
    """
    known = record.progress[step.name]
    record.recoveries = 0  # whoever called it has come back
    text = f"{type(error).__name__}: {error}"[:LONGEST_ERROR]
    note(record, step.name, known.action, "unknown" if unknown else "failed", attempt=known.attempts, error=text)
    known = record.progress[step.name] = known._replace(
        failures=known.failures + 1, unknown=known.unknown or unknown, error=text
    )
    if undoing(known.action):
        return _undo_failed(saga, record, step, known)
    if unknown and not step.idempotent:
        return _nobody_knows(record, step)
    retry = saga.retry_of(step)
    if not retry.exhausted(known.failures) and not isinstance(error, saga.no_retry):
        return [_begin(record, step, known.action, failures=known.failures, pause=_pause(retry, known))]
    return _given_up(saga, record, step, error)


def _given_up(saga: Saga[Any], record: Record, step: Step[Any], error: BaseException) -> list[Run]:
    known = record.progress[step.name]
    # What may have happened is not done again in another way.
    if known.action == "act" and not known.unknown and saga.falls_back(step, error):
        return [_begin(record, step, "fallback")]
    record.error = record.error or f"{step.name}: {known.error}"
    if saga.index_of(step) > saga.pivot:
        record.progress[step.name] = known._replace(phase="failed")
        record.status = "FAILED"
        return []
    if known.unknown and step.undoes(known.action) is None:
        return _nobody_knows(record, step)
    record.progress[step.name] = known._replace(phase="failed")
    return go_on(saga, record)


def _undo_failed(saga: Saga[Any], record: Record, step: Step[Any], known: Progress) -> list[Run]:
    retry = step.compensation_retry or saga.compensation_retry
    if not retry.exhausted(known.failures):
        return [_begin(record, step, known.action, failures=known.failures, pause=_pause(retry, known))]
    record.progress[step.name] = known._replace(phase="stuck")
    return go_on(saga, record)


def _pause(retry: Retry, known: Progress) -> float:
    return retry.pause(known.failures)


def _nobody_knows(record: Record, step: Step[Any]) -> list[Run]:
    record.progress[step.name] = record.progress[step.name]._replace(phase="unknown")
    record.status = "UNKNOWN"
    return []


def expired(saga: Saga[Any], record: Record, step: Step[Any]) -> list[Run]:
    """Note that a step has waited for too long, and turn round."""
    return failed(saga, record, step, TimeoutError("the event that it waited for did not come in time"), unknown=False)


def found(saga: Saga[Any], record: Record, *, is_left: bool = True) -> list[Run]:
    """
    Take up a saga that somebody else has left: nobody knows how ended what is begun and has no outcome.

    It is asked again, with the same key, before anything is undone.

    Args:
        is_left: else it was not left, and what is begun is still to be called.
    """
    if record.paused:
        return []
    runs: list[Run] = []
    for name, known in list(record.progress.items()):
        step = saga.step(name)
        if known.phase == "ready":
            # It is taken up when its pause is over, or by a person who wants it now.
            pause = 0.0 if is_left else known.pause
            runs.append(Run(name, known.action, known.attempts + 1, begun=False, pause=pause))
        elif known.phase == "started" and not is_left:
            runs.append(Run(name, known.action, known.attempts, begun=True))
        elif known.phase == "started":
            runs += ask_again(record, step)
    return runs or go_on(saga, record)


def ask_again(record: Record, step: Step[Any]) -> list[Run]:
    """Begin once more what was begun and has no outcome, or leave it to a person if that may not be."""
    known = record.progress[step.name]
    note(record, step.name, known.action, "unknown", attempt=known.attempts, error="its worker did not come back")
    record.progress[step.name] = known._replace(unknown=True)
    if step.idempotent or undoing(known.action):
        return [_begin(record, step, known.action, failures=known.failures)]
    return _nobody_knows(record, step)


def _turn_round(saga: Saga[Any], record: Record) -> list[Run]:
    record.status = "COMPENSATING"
    return _undo(saga, record)


def _undo(saga: Saga[Any], record: Record) -> list[Run]:
    """Undo what was done, the last first, one step at a time; what is stuck holds up nothing."""
    for index in range(min(record.position, len(saga.groups) - 1), -1, -1):
        record.position = index
        for step in reversed(saga.groups[index]):
            known = record.progress.get(step.name)
            if known is None:
                continue
            if known.phase in OPEN:
                return []
            if known.phase == "done" or (known.phase == "failed" and known.unknown):
                undo = step.undoes(known.action)
                if undo is not None and undo is not NO_COMPENSATION:
                    return [_begin(record, step, "undo fallback" if known.action == "fallback" else "undo act")]
    stuck = any(known.phase == "stuck" for known in record.progress.values())
    record.status = "FAILED" if stuck else "CANCELLED" if record.cancelled else "COMPENSATED"
    return []


def undoing(action: str) -> bool:
    """Tell whether an action undoes another one."""
    return action.startswith("undo")


def _join(saga: Saga[Any], record: Record, group: Sequence[Step[Any]]) -> None:
    """Make one state of those that the steps of a Parallel have returned; if that fails, the last of them has."""
    returned = [record.progress[step.name].state for step in group]
    if all(state is None for state in returned):
        return
    try:
        record.state = merged(record.state, [s for s in returned if s is not None], saga.merge_of(group[0]))
    except Exception as error:  # noqa: BLE001 - a merge is the user's code; what was done is undone
        record.error = record.error or f"{group[-1].name}: {type(error).__name__}: {error}"[:LONGEST_ERROR]
        last = record.progress[group[-1].name]
        record.progress[group[-1].name] = last._replace(phase="failed", unknown=True, state=None)
        note(record, group[-1].name, "merge", "failed", error=record.error)
    for step in group:
        record.progress[step.name] = record.progress[step.name]._replace(state=None)


def note(
    record: Record, step: str, action: str, event: str, *, attempt: int = 0, error: str = "", who: str = ""
) -> None:
    """Add a line to a saga's log."""
    record.entries.append(Entry(step, action, event, time.time(), attempt, error, who))
