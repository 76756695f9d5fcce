"""What each call of a stored saga's steps came to, for those who look at it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from simplecqrs.saga.records import Action, Entry, Phase, Progress, Record

if TYPE_CHECKING:
    from simplecqrs.saga.definition import Saga

__all__ = ["Standing", "Stood", "standings"]

#: What a call came to.  undone: it was done, and something has undone it; stuck: undoing was given up; unknown: nobody
#: knows whether it happened; skipped: a person said that it is not needed.
Standing = Literal["running", "waiting", "done", "failed", "undone", "stuck", "unknown", "skipped"]
#: Other entries of the log are about persons, and about the whole.
ACTIONS: Final[dict[str, Action]] = {
    "act": "act", "fallback": "fallback", "undo act": "undo act", "undo fallback": "undo fallback",
}  # fmt: skip
#: By what the log says of it last.
BY_EVENT: Final[dict[str, Standing]] = {
    "started": "running", "completed": "done", "failed": "failed", "unknown": "unknown", "waiting": "waiting",
}  # fmt: skip
#: By what is stored of a step, for what was called of it last.
BY_PHASE: Final[dict[Phase, Standing]] = {
    "ready": "running", "started": "running", "waiting": "waiting", "done": "done", "failed": "failed",
    "unknown": "unknown", "undone": "done", "stuck": "stuck", "skipped": "skipped",
}  # fmt: skip


class Stood(NamedTuple):
    """
    What one call of a step came to.

    Args:
        attempts: how often it was begun.
        error: why it failed last.
        unknown: whether it ended without an outcome, and may have happened.
    """

    standing: Standing
    attempts: int = 0
    error: str = ""
    unknown: bool = False


def standings(saga: Saga[Any], record: Record, history: Sequence[Entry] = ()) -> dict[tuple[str, Action], Stood]:
    """
    Return what each call of each step came to; what was never called is not there.

    Steps have the names that they have now; those that the definition does not know any more keep theirs.

    Args:
        history: the saga's log.  Without it, what was called before a step's last call is concluded from that.
    """
    found: dict[tuple[str, Action], Stood] = {}
    for entry in history:
        action = ACTIONS.get(entry.action)
        if action is not None and entry.event in BY_EVENT:
            place = (saga.knows(entry.step) or entry.step, action)
            found[place] = _after(found.get(place, Stood("running")), entry)
    for name, known in record.progress.items():
        _conclude(found, saga.knows(name) or name, known)
    return found


def _after(before: Stood, entry: Entry) -> Stood:
    unknown = entry.event == "unknown" or (before.unknown and entry.event != "completed")
    attempts = max(entry.attempt, before.attempts)
    return Stood(BY_EVENT[entry.event], attempts, entry.error or before.error, unknown)


def _conclude(found: dict[tuple[str, Action], Stood], step: str, known: Progress) -> None:
    """Put in what is stored of a step, and what must have been before that."""
    own = Stood(BY_PHASE[known.phase], known.attempts, known.error, known.unknown)
    if known.action in ("act", "fallback"):
        before = found.get((step, known.action), own)
        found[step, known.action] = own._replace(error=own.error or before.error)  # that of an earlier attempt
    else:
        undone: Action = "act" if known.action == "undo act" else "fallback"
        before = found.get((step, undone), Stood("done"))
        found[step, undone] = before._replace(standing="undone" if known.phase == "undone" else before.standing)
        found[step, known.action] = own
    if known.action.endswith("fallback"):
        found.setdefault((step, "act"), Stood("failed"))
