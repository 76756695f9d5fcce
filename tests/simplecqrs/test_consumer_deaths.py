"""A message that ends its process is put aside."""

from __future__ import annotations

from itertools import count

import pytest

from simplecqrs.backoff import Retry
from simplecqrs.consumer import Policy
from simplecqrs.envelope import Envelope
from tests.simplecqrs.dying import NAME, Mailing


@pytest.mark.parametrize("batch", [1, 50])
@pytest.mark.parametrize("deadly", ["a1", "a2", "a3"])
def test_a_message_that_ends_its_process_is_put_aside(
    deadly: str, batch: int, caplog: pytest.LogCaptureFixture
) -> None:
    """After a few deaths, wherever it stands; its key waits behind it, others go on."""
    mailing = Mailing(batch=batch)
    mailing.deadly = {deadly}
    mailing.store("a1", "a2", "a3", "b1", "c1")

    died = mailing.work()

    before = ["a1", "a2", "a3"][: int(deadly[1]) - 1]
    assert sorted(mailing.effects) == sorted([*before, "b1", "c1"])
    assert 3 <= died <= 8  # the first one is not counted in a run; in a batch nobody knows whose fault it was
    [backlog] = mailing.inbox.backlogs()
    assert (backlog.pending, backlog.parked, backlog.blocked) == (0, 3 - len(before), 1)
    assert "hang until the database takes the lane" in caplog.text


def test_each_retry_that_ends_its_process_is_an_attempt_and_the_last_one_makes_it_dead() -> None:
    """One death for each: it has been warned."""
    mailing = Mailing()
    mailing.deadly = {"a1"}
    mailing.store("a1", "a2")
    mailing.work()

    deaths = []
    for _ in range(3):
        mailing.now += 1000
        deaths.append(mailing.work())

    assert deaths == [1, 1, 0]
    [letter] = mailing.inbox.letters()
    assert (letter.attempts, letter.payload) == (3, b"a1")


def test_a_message_that_was_only_stopped_by_chance_is_handled_at_its_retry() -> None:
    """What was deadly for a while costs nothing in the end."""
    mailing = Mailing()
    mailing.deadly = {"a1"}
    mailing.store("a1", "a2")
    mailing.work()
    mailing.deadly.clear()

    mailing.now += 1000
    mailing.work()

    assert mailing.effects == ["a1", "a2"]


def test_failures_are_not_taken_for_deaths() -> None:
    """A retry that fails in order counts as an attempt, and is tried by the next worker."""
    mailing = Mailing(retry=Retry(5, first=1, jitter=0))
    mailing.bad = {"a1"}
    mailing.store("a1")

    for _ in range(4):
        mailing.work(3)
        mailing.worker = mailing.hire()
        mailing.now += 1000

    assert mailing.tried == ["a1"] * 4


def test_a_worker_that_is_quicker_than_who_has_failed_does_not_take_it_for_dead(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It gets the lane between failure and parking, and fails in its turn: that is one attempt, and no death."""
    mailing = Mailing(retry=Retry(5, first=1, jitter=0))
    mailing.bad = {"a1"}
    mailing.store("a1")
    mailing.work(3)
    mailing.now += 10
    quick, ticks = mailing.hire(), count()
    quick._territory.clock = lambda: next(ticks)

    def meanwhile(_: Envelope) -> Policy:
        mailing.worker._handling.failing.policy = lambda _: Policy(mailing.retry)
        quick.step()
        return Policy(mailing.retry)

    mailing.worker._handling.failing.policy = meanwhile
    mailing.worker.step()

    assert mailing.tried == ["a1"] * 3
    assert mailing.inbox.blocked()[0].reason == "ValueError: no"
    assert "hang until the database takes the lane" not in caplog.text


def test_a_handler_that_exits_has_failed() -> None:
    """Some libraries know no other way to complain; it would end the whole process, again and again."""
    mailing = Mailing()
    mailing.exits = {"a1"}
    mailing.store("a1", "b1")

    died = mailing.work()

    assert died == 0
    assert mailing.effects == ["b1"]
    [backlog] = mailing.inbox.backlogs()
    assert (backlog.pending, backlog.parked) == (0, 1)


def test_who_dies_of_a_message_and_is_closed_still_leaves_its_trace() -> None:
    """A process that ends in good order after it is counted like one that was killed."""
    mailing = Mailing()
    mailing.deadly = {"a1"}
    mailing.store("a1", "b1")

    for _ in range(40):
        worker = mailing.worker
        mailing.work(1)
        if mailing.worker is not worker:
            worker.close()

    assert mailing.effects == ["b1"]
    assert mailing.tried.count("a1") <= 4


def test_a_worker_that_leaves_in_order_leaves_its_lanes_free() -> None:
    """The next one need not wait."""
    mailing = Mailing()
    mailing.store("a1")
    mailing.work(1)
    mailing.store("a2")
    assert mailing.inbox.look(NAME, range(16))[0].owner != 0

    mailing.worker.close()

    assert mailing.inbox.look(NAME, range(16))[0].owner == 0
    waits: list[float] = []
    other = mailing.hire()
    other.wait = waits.append
    assert other.step() == 1
    assert waits == []
