"""A message that ends its process is put aside; batches, and what a lost one costs."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

from simplecqrs.backoff import Retry
from simplecqrs.consumer import Consumer, Policy
from simplecqrs.envelope import Envelope
from simplecqrs.memory_queue import MemoryQueue
from simplecqrs.memory_transactions import MemoryTransactions
from tests.contracts.queue import make

NAME = "mailing"


class Killed(BaseException):
    """Ends a worker in the middle, as SIGKILL does."""


class Mailing:
    """An inbox whose workers die of some messages and fail on others; a dead one is followed by another."""

    def __init__(self, *, batch: int = 1, retry: Retry | None = None) -> None:
        self.now = 1000.0
        self.db = MemoryTransactions()
        self.inbox = MemoryQueue("inbox", transactions=self.db, clock=lambda: self.now)
        self.deadly: set[str] = set()
        self.bad: set[str] = set()
        self.exits: set[str] = set()
        self.tried: list[str] = []
        self._effects: dict[int, str] = {}
        self.batch = batch
        self.retry = retry or Retry(3, first=60, jitter=0)
        self.worker = self.hire()

    def hire(self, inbox: MemoryQueue | None = None) -> Consumer:
        return Consumer(
            consumer=NAME,
            storage=inbox or self.inbox,
            receive=self.receive,
            policy=lambda _: Policy(self.retry),
            batch=self.batch,
            wait=lambda _: None,
        )

    def receive(self, envelope: Envelope) -> bool:
        text = envelope.payload.decode()
        self.tried.append(text)
        self.db.put(self._effects, len(self.tried), text)
        if text in self.deadly:
            raise Killed
        if text in self.exits:
            raise SystemExit(2)
        if text in self.bad:
            raise ValueError("no")
        return True

    def store(self, *texts: str) -> None:
        """Put events into the inbox whose key is their first letter."""
        self.inbox.store(NAME, [make(text, key=text[0]) for text in texts])

    def work(self, steps: int = 40) -> int:
        """Let workers do so many steps, and return how many of them died."""
        died = 0
        for _ in range(steps):
            self.worker._territory.clock = lambda: self.now
            self.now += 0.1
            try:
                self.worker.step()
            except Killed:
                died += 1
                self.worker = self.hire()
        return died

    @property
    def effects(self) -> list[str]:
        return [text for _, text in sorted(self._effects.items())]


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
def test_a_failure_in_a_batch_takes_back_only_itself(bad: str) -> None:
    """What came before it stays handled, what follows under its key waits."""
    mailing = Mailing(batch=10)
    mailing.bad = {bad}
    mailing.store("a1", "a2", "a3", "b1")

    mailing.work()

    before = ["a1", "a2", "a3"][: int(bad[1]) - 1]
    assert sorted(mailing.effects) == sorted([*before, "b1"])
    assert mailing.tried.count(bad) == 1


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
