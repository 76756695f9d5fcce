"""What each call of a stored saga came to, with its log and without."""

from __future__ import annotations

from uuid import uuid4

import pytest

from simplecqrs import Registry
from simplecqrs.saga import Entry, Saga, Step
from simplecqrs.saga.records import Progress
from simplecqrs.saga.standing import Stood, standings
from tests.simplecqrs.pictured import Checkout, nothing

SAGA: Saga[Checkout] = Saga(
    "trip", Checkout, [Step("a", nothing, nothing, fallback=nothing, aliases=["old"])], registry=Registry()
)


@pytest.mark.parametrize(
    ("known", "act", "last"),
    [
        (Progress("ready"), "running", ("act", "running")),
        (Progress("done", attempts=2), "done", ("act", "done")),
        (Progress("failed"), "failed", ("act", "failed")),
        (Progress("started", "fallback"), "failed", ("fallback", "running")),
        (Progress("started", "undo act"), "done", ("undo act", "running")),
        (Progress("undone", "undo act"), "undone", ("undo act", "done")),
        (Progress("stuck", "undo act"), "done", ("undo act", "stuck")),
        (Progress("skipped", "undo act"), "done", ("undo act", "skipped")),
        (Progress("undone", "undo fallback"), "failed", ("fallback", "undone")),
    ],
)
def test_what_was_before_is_concluded_from_the_last_call(known: Progress, act: str, last: tuple[str, str]) -> None:
    """Where there is no log."""
    record = SAGA.new(uuid4(), Checkout(1))
    record.progress["a"] = known
    found = standings(SAGA, record)

    assert found["a", "act"].standing == act
    assert {action: stood.standing for (_, action), stood in found.items()}[last[0]] == last[1]


def test_the_log_knows_attempts_errors_and_old_names() -> None:
    """Also of what was called before; what persons did is about no step."""
    record = SAGA.new(uuid4(), Checkout(1))
    record.progress["a"] = Progress("undone", "undo act", attempts=1)
    history = [
        Entry("old", "act", "started", 1.0, 1),
        Entry("old", "act", "unknown", 2.0, 1, "TimeoutError: late"),
        Entry("", "cancel", "asked", 3.0, who="Ada"),
        Entry("a", "act", "started", 4.0, 2),
        Entry("a", "act", "failed", 5.0, 2, "ValueError: no"),
        Entry("a", "undo act", "completed", 6.0, 1),
    ]

    assert standings(SAGA, record, history) == {
        ("a", "act"): Stood("undone", 2, "ValueError: no", unknown=True),
        ("a", "undo act"): Stood("done", 1),
    }


def test_an_error_before_the_attempt_that_succeeded_is_kept() -> None:
    """With how often it was tried, and no doubt left."""
    record = SAGA.new(uuid4(), Checkout(1))
    record.progress["a"] = Progress("done", attempts=2)
    history = [Entry("a", "act", "unknown", 1.0, 1, "TimeoutError: late"), Entry("a", "act", "completed", 2.0, 2)]

    assert standings(SAGA, record, history) == {("a", "act"): Stood("done", 2, "TimeoutError: late")}
