"""What is found of one saga when it has ended, and what is wrong with that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from attrs import frozen

from tests.chaos.sagas.shapes import Shape

__all__ = ["Call", "Effect", "Findings", "Line", "judge", "step_name"]


class Effect(NamedTuple):
    """A row that a step has written in its transaction."""

    place: int
    what: str
    n: int


class Line(NamedTuple):
    """A line of the saga's log."""

    step: str
    action: str
    event: str
    attempt: int


class Call(NamedTuple):
    """A call of a step, as the step has written it to a file before anything else."""

    place: int
    action: str
    attempt: int
    unknown: bool


@frozen
class Findings:
    """All that is found."""

    status: str
    effects: Sequence[Effect]
    log: Sequence[Line]
    calls: Sequence[Call]

    def left(self, place: int) -> int:
        """Return what is there of a step."""
        return sum(effect.n for effect in self.effects if effect.place == place)

    def rows(self, place: int, *, undone: bool) -> int:
        """Return how often a step was done, or undone, and that was committed."""
        return sum(effect.place == place and (effect.what == "undo") == undone for effect in self.effects)

    def said(self, place: int, event: str, *actions: str) -> int:
        """Return how often the log says this of a step."""
        name = step_name(place)
        return sum(line.step == name and line.event == event and line.action in actions for line in self.log)


def step_name(place: int) -> str:
    """Return the name of a step."""
    return f"step {place}"


def judge(shape: Shape, found: Findings) -> list[str]:
    """Return what is wrong: with the status, with what is left of each step, with the log, with calls."""
    return [*_status(shape, found), *_effects(shape, found), *_log(shape, found), *_calls(shape, found)]


def _status(shape: Shape, found: Findings) -> Iterator[str]:
    """A crash in an act that fails leaves it unknown: then no fallback is tried, or a person is asked."""
    allowed = {shape.status}
    if shape.once is not None and found.said(shape.once, "unknown", "act", "fallback"):
        allowed = {"UNKNOWN"}
    elif shape.fails and shape.failing is not None and _is_doubtful(shape, found, shape.failing):
        allowed = {"COMPENSATED"} if shape.fallback == "works" else allowed
    if found.status not in allowed:
        yield f"status {found.status}, not {' or '.join(allowed)}"


def _is_doubtful(shape: Shape, found: Findings, place: int) -> bool:
    """A branch of a Parallel is told so as well when its lane comes from a consumer that may have begun with it."""
    told = any((call.place, call.action, call.unknown) == (place, "act", True) for call in found.calls)
    return bool(found.said(place, "unknown", "act")) or (shape.together and told)


def _effects(shape: Shape, found: Findings) -> Iterator[str]:
    for place in range(shape.steps):
        done, undone, left = (found.rows(place, undone=False), found.rows(place, undone=True), found.left(place))
        if done > 1:
            yield f"step {place} was done {done} times"
        if undone > 1:
            yield f"step {place} was undone {undone} times"
        doubtful = shape.has_undo(place) and found.said(place, "unknown", "act", "fallback")
        if doubtful and found.status == "COMPENSATED" and not undone:
            yield f"step {place} may have happened, and was not undone"
        if place != shape.waits and left not in _right(shape, found, place):
            yield f"{left} is left of step {place} of a saga that is {found.status}"


def _right(shape: Shape, found: Findings, place: int) -> set[int]:
    """Return what may be left of a step: it is there or not; what it cannot be is there twice, or less than not."""
    if found.status == "COMPLETED":
        return {1}
    if found.status == "COMPENSATED":
        return {0}
    if found.status == "FAILED" and shape.failing is not None:
        return {int(place == shape.failing - 1 and shape.has_undo(place))}
    begun = shape.together and place < 2  # the other one beside what is unknown may have been done
    return {0, 1} if begun else {int(shape.once is not None and place < shape.once)}


def _log(shape: Shape, found: Findings) -> Iterator[str]:
    """Each call has begun once and come to one thing; what is said to be done has its row, and the other way round."""
    for place in range(shape.steps):
        for action in ("act", "fallback", "undo act", "undo fallback"):
            yield from _story(found, place, action, begins="waiting" if place == shape.waits else "started")
        if place == shape.waits:
            continue
        done = found.said(place, "completed", "act", "fallback")
        undone = found.said(place, "completed", "undo act", "undo fallback")
        rows = found.rows(place, undone=False), found.rows(place, undone=True)
        if (done, undone) != rows:
            yield f"the log says that step {place} was done and undone {done}, {undone} times; its rows say {rows}"
    order = [line.step for line in found.log if line.event == "completed" and not line.action.startswith("undo")]
    undone = [line.step for line in found.log if line.event == "completed" and line.action.startswith("undo")]
    if not shape.together and (order != sorted(order) or undone != sorted(undone, reverse=True)):
        yield f"out of order: {order}, {undone}"


def _story(found: Findings, place: int, action: str, *, begins: str) -> Iterator[str]:
    lines = [line for line in found.log if (line.step, line.action) == (step_name(place), action)]
    events = [line.event for line in lines]
    attempts = [line.attempt for line in lines]
    right = [number for n in range(1, len(lines) // 2 + 1) for number in (n, n)]
    is_paired = set(events[::2]) <= {begins} and set(events[1::2]) <= {"completed", "failed", "unknown"}
    if len(lines) % 2 or not is_paired or attempts != right or events[1:-1].count("completed"):
        yield f"the log of {action} of step {place}: {[(line.event, line.attempt) for line in lines]}"


def _calls(shape: Shape, found: Findings) -> Iterator[str]:
    """What is called again after a call without outcome is told so; and what may not be called again is not."""
    seen: Counter[tuple[int, str, int]] = Counter()
    lost = {(line.step, line.action, line.attempt) for line in found.log if line.event == "unknown"}
    logged = {(line.step, line.action, line.attempt) for line in found.log if line.event == "started"}
    for call in found.calls:
        place = (call.place, call.action, call.attempt)
        named = (step_name(call.place), call.action)
        earlier = any((*named, attempt) in lost for attempt in range(1, call.attempt))
        if (seen[place] or earlier) and not call.unknown:
            yield f"{call} comes after one without outcome, and is not told so"
        if seen[place] and call.place == shape.once and not call.action.startswith("undo"):
            yield f"{call} may not be called again"
        if (*named, call.attempt) not in logged:
            yield f"{call} is not in the log"
        seen[place] += 1
