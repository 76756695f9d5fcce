"""
What a saga does next: decisions, without I/O.

Each function takes a definition and a record, and changes the record; whoever called it stores that.  What is to be
run is returned: it is begun already, and so is stored as begun before it is called; or it is ready to be begun.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from simplecqrs.saga.beginning import LONGEST_ERROR, begin, begin_group, is_current, note, undoing
from simplecqrs.saga.merging import join
from simplecqrs.saga.records import Phase, Progress, Record, Run
from simplecqrs.saga.step import NO_COMPENSATION

if TYPE_CHECKING:
    from simplecqrs.saga.definition import Saga
    from simplecqrs.saga.step import Step

__all__ = ["ask_again", "expired", "failed", "found", "given_up", "go_on", "succeeded", "wait_failed"]

#: Steps that have not come to anything yet.
OPEN: Final = frozenset({"ready", "started", "waiting", "unknown"})
#: Steps that hold up undoing: what is being called, and what nobody knows of.
HELD: Final = frozenset({"started", "unknown"})
DONE: Final = Progress("done", "act", 1)


def go_on(saga: Saga[Any], record: Record) -> list[Run]:
    """Begin what can be begun now, and return what is to be run; nothing if it waits, rests, or has ended."""
    if record.paused:
        if record.status == "WAITING" and not any(known.phase == "waiting" for known in record.progress.values()):
            record.status = "RUNNING"
        return []
    if record.status == "COMPENSATING":
        return _undo(saga, record)
    return [] if record.ended else _forward(saga, record)


def _forward(saga: Saga[Any], record: Record) -> list[Run]:
    progress, groups = record.progress, saga.groups
    while record.position < len(groups):
        single = saga.singles[record.position]
        if single in progress and progress[single].phase == "done":  # what nearly all of them are
            record.position += 1
            continue
        group = groups[record.position]
        if any(step.name not in progress for step in group):
            if record.cancelled and record.position <= saga.pivot:
                return _turn_round(saga, record)
            runs = begin_group(saga, record, [step for step in group if step.name not in progress])
            if runs:
                return runs
        phases: set[Phase] = {progress[step.name].phase for step in group}
        if _is_open(saga, record, phases):
            return []
        if "failed" in phases or not join(saga, record, group):
            return _failed_group(saga, record, group)
        record.position += 1
    record.status = "COMPLETED"
    return []


def _is_open(saga: Saga[Any], record: Record, phases: set[Phase]) -> bool:
    """Tell whether something of a group is still to come to something, and say so in the status."""
    back = "failed" in phases and record.position <= saga.pivot
    if phases.isdisjoint(HELD if back else OPEN):
        return False
    record.status = "RUNNING" if "started" in phases or "ready" in phases else "WAITING"
    if record.status == "WAITING" and "unknown" in phases:
        record.status = "UNKNOWN"
    return True


def _failed_group(saga: Saga[Any], record: Record, group: Sequence[Step[Any]]) -> list[Run]:
    if record.position > saga.pivot:
        record.status = "FAILED"
        return []
    for step in group:  # the others of a Parallel: what waits, or was to be tried again, is not
        known = record.progress[step.name]
        if known.phase in OPEN:
            record.progress[step.name] = known._replace(phase="failed")
    return _turn_round(saga, record)


def succeeded(saga: Saga[Any], record: Record, step: Step[Any], returned: Any) -> list[Run]:
    """Note that what was begun of a step is done, with the state that it has returned, and go on."""
    name = step.name
    known = record.progress[name]
    action = known.action
    note(record, name, action, "completed", attempt=known.attempts)
    record.recoveries = 0
    undone = action != "act" and undoing(action)
    kept = returned if not undone and name in saga.branches else None
    if returned is not None and kept is None:
        record.state = returned
    if known.attempts == 1 and action == "act" and kept is None:
        record.progress[name] = DONE
    else:
        record.progress[name] = Progress("undone" if undone else "done", action, known.attempts, state=kept)
    return go_on(saga, record)


def failed(saga: Saga[Any], record: Record, step: Step[Any], error: BaseException, *, unknown: bool) -> list[Run]:
    """
    Note that what was begun of a step has failed, and go on: once more, by its fallback, or by undoing.

    Args:
        unknown: nobody knows whether it happened nevertheless.
    """
    known = record.progress[step.name]
    text = f"{type(error).__name__}: {error}"[:LONGEST_ERROR]
    note(record, step.name, known.action, "unknown" if unknown else "failed", attempt=known.attempts, error=text)
    record.recoveries = 0  # it did go on: this attempt has an outcome
    known = record.progress[step.name] = known._replace(
        failures=known.failures + 1, unknown=known.unknown or unknown, error=text
    )
    if undoing(known.action):
        return _undo_failed(saga, record, step, known)
    if unknown and not step.idempotent:
        return _nobody_knows(saga, record, step)
    retry, back = saga.retry_of(step), _is_lost(saga, record, step)
    if not back and not retry.exhausted(known.failures) and not isinstance(error, saga.no_retry):
        return begin(record, step, known.action, failures=known.failures, pause=retry.pause(known.failures))
    if not back and known.action == "act" and not known.unknown and saga.falls_back(step, error):
        return begin(record, step, "fallback")  # what may have happened is not done again in another way
    return given_up(saga, record, step)


def _is_lost(saga: Saga[Any], record: Record, step: Step[Any]) -> bool:
    """Tell whether a step would be undone if it were done after all."""
    index = saga.index_of(step)
    if index > saga.pivot:
        return False
    beside = (record.progress.get(other.name) for other in saga.groups[index] if other is not step)
    return record.cancelled or any(known is not None and known.phase == "failed" for known in beside)


def given_up(saga: Saga[Any], record: Record, step: Step[Any]) -> list[Run]:
    """Give up a step for the reason that is noted, and go on: back, before the pivot."""
    known = record.progress[step.name]
    record.error = record.error or f"{step.name}: {known.error}"
    if saga.index_of(step) <= saga.pivot and known.unknown and step.undoes(known.action) is None:
        return _nobody_knows(saga, record, step)
    record.progress[step.name] = known._replace(phase="failed", state=None)
    return go_on(saga, record)


def _undo_failed(saga: Saga[Any], record: Record, step: Step[Any], known: Progress) -> list[Run]:
    retry = step.compensation_retry or saga.compensation_retry
    if not retry.exhausted(known.failures):
        return begin(record, step, known.action, failures=known.failures, pause=retry.pause(known.failures))
    record.progress[step.name] = known._replace(phase="stuck")
    return go_on(saga, record)


def _nobody_knows(saga: Saga[Any], record: Record, step: Step[Any]) -> list[Run]:
    record.progress[step.name] = record.progress[step.name]._replace(phase="unknown")
    return go_on(saga, record)


def expired(saga: Saga[Any], record: Record, step: Step[Any]) -> list[Run]:
    """Note that a step has waited for too long, and turn round."""
    return wait_failed(saga, record, step, TimeoutError("the event that it waited for did not come in time"))


def wait_failed(saga: Saga[Any], record: Record, step: Step[Any], error: Exception) -> list[Run]:
    """Note that a step does not wait any more, and why, and go on."""
    known, text = record.progress[step.name], f"{type(error).__name__}: {error}"[:LONGEST_ERROR]
    note(record, step.name, "act", "failed", attempt=known.attempts, error=text)
    record.progress[step.name] = known._replace(error=text)
    return given_up(saga, record, step)


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
    for name in list(record.progress):
        known = record.progress[name]
        if known.phase == "ready":
            # It is taken up when its pause is over, or by a person who wants it now.
            pause = 0.0 if is_left else known.pause
            runs.append(Run(name, known.action, known.attempts + 1, begun=False, pause=pause))
        elif known.phase == "started" and not is_left:
            runs.append(Run(name, known.action, known.attempts, begun=True))
        elif known.phase == "started":
            runs += ask_again(saga, record, saga.by_name[name])
    return [run for run in runs if is_current(record, run)] or go_on(saga, record)


def ask_again(saga: Saga[Any], record: Record, step: Step[Any]) -> list[Run]:
    """Begin once more what was begun and has no outcome, or leave it to a person if that may not be."""
    known = record.progress[step.name]
    note(record, step.name, known.action, "unknown", attempt=known.attempts, error="its worker did not come back")
    record.progress[step.name] = known._replace(unknown=True)
    if step.idempotent or undoing(known.action):
        return begin(record, step, known.action, failures=known.failures)
    return _nobody_knows(saga, record, step)


def _turn_round(saga: Saga[Any], record: Record) -> list[Run]:
    record.status = "COMPENSATING"
    # A definition that has changed may have put what is done behind where the saga is.
    record.position = max((saga.index_of(saga.by_name[name]) for name in record.progress), default=0)
    return _undo(saga, record)


def _undo(saga: Saga[Any], record: Record) -> list[Run]:
    """Undo what was done, the last first, one step at a time; what is stuck holds up nothing."""
    for index in range(record.position, -1, -1):
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
                    return begin(record, step, "undo fallback" if known.action == "fallback" else "undo act")
    stuck = any(known.phase == "stuck" for known in record.progress.values())
    record.status = "FAILED" if stuck else "CANCELLED" if record.cancelled else "COMPENSATED"
    return []
