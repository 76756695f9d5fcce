"""Messages that a consumer handles together: all of them, or each by itself if one fails."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

from simplecqrs.backoff import Retry
from tests.simplecqrs.dying import Mailing


def test_a_batch_is_handled_in_one_transaction() -> None:
    """As many as it says, in their order."""
    mailing = Mailing(batch=3)
    mailing.store("a1", "a2", "a3", "a4")

    assert [mailing.worker.step() for _ in range(3)] == [3, 1, 0]
    assert mailing.effects == ["a1", "a2", "a3", "a4"]


def test_a_batch_of_slow_handlers_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watchdog would take fifty of them for one that hangs, and its locks are not to be held so long."""
    monkeypatch.setattr("simplecqrs.together.LONGEST", -1.0)
    mailing = Mailing(batch=50)
    mailing.store("a1", "a2", "a3")

    assert [mailing.worker.step() for _ in range(4)] == [1, 1, 1, 0]


@pytest.mark.parametrize("bad", ["a1", "a2", "a3"])
def test_a_failure_in_a_batch_takes_all_back_and_each_is_handled_by_itself(bad: str) -> None:
    """Only it is parked; what came before it counts once, what follows under its key waits."""
    mailing = Mailing(batch=10, lanes=1)
    mailing.bad = {bad}
    mailing.store("a1", "a2", "a3", "b1")

    mailing.work()

    number = int(bad[1])
    before = ["a1", "a2", "a3"][: number - 1]
    assert mailing.effects == [*before, "b1"]
    assert mailing.tried == [*before, bad, *((*before, bad) if before else ()), "b1"]
    [backlog] = mailing.inbox.backlogs()
    assert (backlog.pending, backlog.parked, backlog.blocked) == (0, 4 - number, 1)
    assert (mailing.worker.counts.handled, mailing.worker.counts.failed) == (number, 1)


def test_what_fails_in_a_batch_only_is_handled_and_counts_no_attempt() -> None:
    """Two of them may have been in each other's way."""
    mailing = Mailing(batch=10, retry=Retry(1))
    mailing.bad = {"a2"}
    mailing.store("a1", "a2", "a3")

    def receive(envelope: Any) -> bool:
        if len(mailing.tried) > 2:
            mailing.bad.clear()
        return mailing.receive(envelope)

    mailing.worker._handling.receive = receive
    mailing.work()

    assert mailing.effects == ["a1", "a2", "a3"]
    assert (mailing.inbox.backlogs()[0].parked, mailing.inbox.backlogs()[0].dead) == (0, 0)
    assert mailing.worker.counts.failed == 0


def test_keys_keep_their_order_however_many_fail() -> None:
    """Each message is handled once, and again only after its predecessors."""
    mailing = Mailing(batch=5, lanes=1)
    texts = [f"{key}{number}" for number in range(6) for key in "abcd"]
    mailing.bad = {"a1", "b3", "c0", "d5"}
    mailing.store(*texts)

    mailing.work()
    mailing.bad.clear()
    mailing.now += 100
    mailing.work(200)

    assert sorted(mailing.effects) == sorted(texts)
    assert [[text for text in mailing.effects if text[0] == key] for key in "abcd"] == [
        [text for text in texts if text[0] == key] for key in "abcd"
    ]


def test_after_a_failure_the_others_are_handled_together_again() -> None:
    """One bad message costs its own batch, not those behind it."""
    mailing = Mailing(batch=3, lanes=1)
    mailing.bad = {"b1"}
    mailing.store("a1", "b1", "c1", "d1", "e1")

    assert [mailing.worker.step() for _ in range(3)] == [2, 3, 0]
    assert mailing.tried == ["a1", "b1", "a1", "b1", "c1", "d1", "e1"]


def test_a_retry_leaves_the_batches_behind_it_as_they_are() -> None:
    """What has failed is handled alone, as long as its key is blocked."""
    mailing = Mailing(batch=3, lanes=1)
    mailing.bad = {"a1"}
    mailing.store("a1", "a2")
    mailing.work()
    mailing.bad.clear()
    mailing.now += 100
    mailing.store("b1", "b2", "b3")

    assert [mailing.worker.step() for _ in range(3)] == [2, 3, 0]
    assert mailing.effects == ["a1", "a2", "b1", "b2", "b3"]


def test_a_worker_that_is_stopped_while_it_goes_one_by_one_leaves_the_rest() -> None:
    """Whoever comes next handles it."""
    mailing = Mailing(batch=10)
    mailing.bad = {"a3"}
    mailing.store("a1", "a2", "a3")
    receive = mailing.receive

    def stop(envelope: Any) -> bool:
        mailing.is_stopping = len(mailing.tried) > 2
        return receive(envelope)

    mailing.worker._handling.receive = stop
    mailing.worker.step()
    assert (mailing.effects, mailing.worker.counts.failed) == (["a1"], 0)

    mailing.is_stopping = False
    mailing.worker = mailing.hire()
    mailing.work()
    assert mailing.effects == ["a1", "a2"]


def test_what_an_outage_interrupts_is_still_handled_one_by_one() -> None:
    """Or a message that takes the database down would be tried in batches for ever."""
    mailing = Mailing(batch=10)
    mailing.bad = {"a3"}
    mailing.store("a1", "a2", "a3")

    class Down:
        """An inbox that cannot be reached for a while."""

        taken = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(mailing.inbox, name)

        def take(self, *place: Any, **options: Any) -> Any:
            self.taken += 1
            if self.taken == 1:
                raise OSError("no route to host")
            return mailing.inbox.take(*place, **options)

    mailing.worker = mailing.hire(Down())  # type: ignore[arg-type]
    with pytest.raises(OSError, match="no route"):
        mailing.worker.step()
    mailing.work()

    assert mailing.tried == ["a1", "a2", "a3", "a1", "a2", "a3"]
    assert mailing.effects == ["a1", "a2"]
    assert mailing.worker.counts.failed == 1


def test_a_batch_whose_commit_fails_is_handled_one_by_one(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody knows whose fault it was, until each has a transaction of its own."""
    mailing = Mailing(batch=10)

    class Unwilling:
        """An inbox whose commit fails if a2 was handled in it."""

        def __getattr__(self, name: str) -> Any:
            return getattr(mailing.inbox, name)

        @contextmanager
        def hold(self, *place: Any, **options: Any) -> Generator[Any, None, None]:
            with mailing.inbox.hold(*place, **options) as held:
                yield held
                self._commit()

        @contextmanager
        def take(self, *place: Any, **options: Any) -> Generator[Any, None, None]:
            with mailing.inbox.take(*place, **options) as ours:
                yield ours
                self._commit()

        def _commit(self) -> None:
            handled, mailing.tried = mailing.tried, []
            if "a2" in handled:
                raise OSError("constraint violated")

    mailing.worker = mailing.hire(Unwilling())  # type: ignore[arg-type]
    mailing.store("a1", "a2", "a3")

    with caplog.at_level(logging.WARNING):
        for _ in range(6):
            mailing.worker.step()

    [backlog] = mailing.inbox.backlogs()
    assert (backlog.pending, backlog.parked) == (0, 2)
    assert mailing.worker.counts.handled == 1
    assert "could not commit 3 messages; one by one now" in caplog.text
