"""A consumer handles what waits in its inbox: per message one transaction, under its lane's lock."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

from simplecqrs.backoff import Retry
from simplecqrs.bell import Bell
from simplecqrs.consumer import Consumer, Policy
from simplecqrs.envelope import Envelope
from simplecqrs.errors import CommandRefused, InvalidPayload, NewerVersion, NotHandledHere, UnknownMessage
from simplecqrs.loop import Loop
from simplecqrs.memory_queue import MemoryQueue
from simplecqrs.memory_transactions import MemoryTransactions
from simplecqrs.queue import Row
from tests.contracts.queue import make

NAME = "mailing"
MINUTE = Retry(3, first=60, jitter=0)


class Mailing:
    """A consumer whose handler writes down what it handles, in the transaction of its inbox."""

    def __init__(self, *, policy: Policy | None = None, strict: bool = False, run: int = 50) -> None:
        self.now = 1000.0
        self.db = MemoryTransactions()
        self.inbox = MemoryQueue("inbox", transactions=self.db, clock=lambda: self.now)
        self.errors: dict[str, Exception] = {}
        self.unclaimed: set[str] = set()
        self.tried: list[str] = []
        self._effects: dict[int, str] = {}
        self.consumer = Consumer(
            consumer=NAME,
            storage=self.inbox,
            receive=self.receive,
            policy=lambda _: policy or Policy(MINUTE),
            strict=strict,
            run=run,
        )

    def receive(self, envelope: Envelope) -> bool:
        text = envelope.payload.decode()
        self.tried.append(text)
        self.db.put(self._effects, len(self.tried), text)
        if text in self.errors:
            raise self.errors[text]
        return text not in self.unclaimed

    def store(self, *texts: str) -> None:
        """Put events into the inbox whose key is their first letter; ``-`` is no key."""
        self.inbox.store(NAME, [make(text, key=text[0].strip("-")) for text in texts])

    def work(self) -> None:
        Loop([self.consumer]).run(drain=True, seconds=20)

    @property
    def effects(self) -> list[str]:
        return [text for _, text in sorted(self._effects.items())]

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Return how many are pending, parked, blocked, dead."""
        for b in self.inbox.backlogs():
            return b.pending, b.parked, b.blocked, b.dead
        return 0, 0, 0, 0


def test_what_is_stored_is_handled_once_and_deleted() -> None:
    """All of it, and counted."""
    mailing = Mailing()
    mailing.store("a1", "b1", "a2", "-x")

    mailing.work()

    assert sorted(mailing.effects) == ["-x", "a1", "a2", "b1"]
    assert mailing.counts == (0, 0, 0, 0)
    assert mailing.consumer.counts.handled == 4


def test_a_key_is_handled_in_its_order() -> None:
    """Over any number of runs."""
    mailing = Mailing(run=3)
    mailing.store(*(f"{key}{n}" for n in range(20) for key in "abc"))

    mailing.work()

    for key in "abc":
        assert [text for text in mailing.effects if text[0] == key] == [f"{key}{n}" for n in range(20)]


def test_a_step_works_one_lane_for_a_run() -> None:
    """It returns how many it settled, and 0 without work."""
    mailing = Mailing(run=3)
    mailing.store("a1", "a2", "a3", "a4")

    assert [mailing.consumer.step() for _ in range(3)] == [3, 1, 0]


class Idle(Mailing):
    """A consumer that has worked the lane of a key, and has found nothing since."""

    def __init__(self) -> None:
        super().__init__()
        self.store("a0")
        assert [self.consumer.step() for _ in range(2)] == [1, 0]


def test_what_comes_to_an_idle_worker_in_its_own_lane_is_handled_by_itself_at_first() -> None:
    """So it is there sooner; the rest is a run, as ever, in the order of its key."""
    mailing = Idle()
    mailing.store("a1", "a2", "a3")

    assert [mailing.consumer.step() for _ in range(3)] == [1, 2, 0]
    assert mailing.effects == ["a0", "a1", "a2", "a3"]


class Rung(Idle):
    """The same, with a bell, and a storage that counts the looks."""

    def __init__(self) -> None:
        super().__init__()
        self.bell = self.consumer.bell = Bell()
        self.consumer.storage = self
        self.looks = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inbox, name)

    def look(self, *arguments: Any) -> Any:
        self.looks += 1
        return self.inbox.look(*arguments)

    def step(self, *texts: str) -> tuple[int, int]:
        """Store and ring, and return what a step has settled, and how often it has looked."""
        self.store(*texts)
        if texts:
            self.bell.ring()
        before = self.looks
        return self.consumer.step(), self.looks - before


def test_what_the_bell_rings_for_is_taken_without_a_look() -> None:
    """If what came before was in a lane of its own as well; the next step looks, as ever."""
    mailing = Rung()
    mailing.step("a1")
    mailing.step()

    assert [mailing.step("a2"), mailing.step()] == [(1, 0), (0, 1)]
    assert mailing.effects == ["a0", "a1", "a2"]


def test_however_often_the_bell_rings_a_worker_looks_now_and_then() -> None:
    """What waits in other lanes, or for its retry, is not forgotten over those who ring all the time."""
    mailing = Rung()
    mailing.step("a1")
    mailing.step()

    looks = [mailing.step(f"a{number}") for number in range(2, 12)]

    taken, looked = (1, 0), (1, 1)
    assert looks[:5] == [taken] * 4 + [looked]
    assert mailing.effects == [f"a{number}" for number in range(12)]


def test_a_worker_that_was_rung_for_the_lane_of_another_looks_until_one_of_its_own_has_work() -> None:
    """What rings may not be for it, as is most of it where there are many workers."""
    mailing = Rung()
    steps = [mailing.step(*texts) for texts in (["a1"], [], ["b1"], [], ["a2"], [], ["a3"])]

    assert steps == [(1, 1), (0, 1), (1, 1), (0, 1), (1, 1), (0, 1), (1, 0)]
    assert mailing.effects == ["a0", "a1", "b1", "a2", "a3"]


def test_a_ring_that_comes_after_its_message_was_found_says_nothing_new() -> None:
    """It leads to a look; what rings after that is taken without one again."""
    mailing = Rung()
    mailing.step("a1")
    mailing.step()
    mailing.store("a2")
    late = [mailing.step(), mailing.step()]
    mailing.bell.ring()

    assert [*late, mailing.step(), mailing.step("a3")] == [(1, 1), (0, 1), (0, 1), (1, 0)]
    assert mailing.effects == ["a0", "a1", "a2", "a3"]


def test_what_fails_in_an_idle_worker_waits_with_its_followers() -> None:
    """As if it had been read in a run: no effect, one attempt, its followers behind it."""
    mailing = Idle()
    mailing.errors["a1"] = ValueError("no")
    mailing.store("a1", "a2", "b1")

    mailing.work()

    assert sorted(mailing.effects) == ["a0", "b1"]
    assert mailing.counts == (0, 2, 1, 0)


def test_what_comes_to_an_idle_worker_behind_a_blocked_key_is_not_handled() -> None:
    """A key that waits for its retry, waits."""
    mailing = Idle()
    mailing.errors["a1"] = ValueError("no")
    mailing.store("a1")
    mailing.work()
    mailing.store("a2")

    mailing.work()

    assert mailing.effects == ["a0"]
    assert mailing.counts == (0, 2, 1, 0)


def test_an_idle_worker_takes_what_is_due_before_what_is_new() -> None:
    """A retry comes first, and its key in order."""
    mailing = Idle()
    mailing.errors["a1"] = ValueError("no")
    mailing.store("a1", "a2")
    mailing.work()
    del mailing.errors["a1"]
    mailing.now += 61
    mailing.store("a3")

    mailing.work()

    assert mailing.effects == ["a0", "a1", "a2", "a3"]


@pytest.mark.parametrize("bad", ["a1", "a2", "a3"])
def test_a_failed_message_leaves_no_effect_and_waits_with_its_followers(bad: str) -> None:
    """Wherever in a run it stands: what came before is done, what comes after waits, other keys go on."""
    mailing = Mailing()
    mailing.errors[bad] = ValueError("no\nreally")
    mailing.store("a1", "b1", "a2", "a3", "b2", "-x")

    mailing.work()

    done = ["a1", "a2", "a3"][: int(bad[1]) - 1]
    assert sorted(mailing.effects) == sorted(["-x", "b1", "b2", *done])
    assert mailing.counts == (0, 3 - len(done), 1, 0)
    assert Counter(mailing.tried)[bad] == 1
    assert mailing.consumer.counts.failed == 1


def test_a_failed_message_is_tried_again_in_time_and_its_key_goes_on_in_order() -> None:
    """Head, followers, then what came later; not before the pause is over."""
    mailing = Mailing()
    mailing.errors["a1"] = ValueError("no")
    mailing.store("a1", "a2")
    mailing.work()
    mailing.errors.clear()
    mailing.store("a3", "b1")

    mailing.work()
    assert mailing.effects == ["b1"]

    mailing.now += 61
    mailing.work()
    assert mailing.effects == ["b1", "a1", "a2", "a3"]
    assert mailing.counts == (0, 0, 0, 0)


def test_a_step_passes_over_lanes_whose_rows_only_wait() -> None:
    """What has to be moved behind a blocked key is no reason to sleep: the next lane has work."""
    mailing = Mailing()
    mailing.errors["a1"] = ValueError("no")
    mailing.store("a1")
    mailing.work()

    for n in range(20):
        mailing.store("a2", f"b{n}")
        assert mailing.consumer.step() == 1

    assert mailing.effects == [f"b{n}" for n in range(20)]


def test_after_its_attempts_a_message_is_dead(caplog: pytest.LogCaptureFixture) -> None:
    """With the reason, first line first, and the error in the log each time."""
    mailing = Mailing(policy=Policy(Retry(3, first=0)))
    mailing.errors["a1"] = ValueError("no\nreally")
    mailing.store("a1", "a2")

    mailing.work()

    assert mailing.tried == ["a1"] * 3
    [letter] = mailing.inbox.letters()
    assert (letter.queue, letter.reason, letter.attempts) == (NAME, "ValueError: no\nreally", 3)
    assert letter.cause == "ValueError: no"
    assert mailing.counts == (0, 1, 1, 1)
    assert [r.levelname for r in caplog.records] == ["WARNING", "WARNING", "ERROR"]
    assert "attempt 3, dead" in caplog.records[-1].message
    assert caplog.records[-1].exc_info is not None


def test_a_dead_message_lets_its_key_go_on_if_told_to_and_says_so() -> None:
    """``continue`` gives up order, and the dead letter says it."""
    mailing = Mailing(policy=Policy(Retry(1), on_dead="continue"))
    mailing.errors["a1"] = ValueError("no")
    mailing.store("a1", "a2")

    mailing.work()

    assert mailing.effects == ["a2"]
    assert mailing.counts == (0, 0, 0, 1)
    assert mailing.inbox.letters()[0].reason.endswith("what follows under the key a went on without it")


@pytest.mark.parametrize(("act", "effects"), [("retry", ["a1", "a2", "a3"]), ("skip", ["a2", "a3"])])
def test_an_operator_lets_a_dead_message_go_on(act: str, effects: list[str]) -> None:
    """Retried in its place, or skipped."""
    mailing = Mailing(policy=Policy(Retry(1)))
    mailing.errors["a1"] = ValueError("no")
    mailing.store("a1", "a2")
    mailing.work()
    mailing.store("a3")
    mailing.errors.clear()

    getattr(mailing.inbox, act)(mailing.inbox.letters()[0].id)
    mailing.work()

    assert mailing.effects == effects


def test_what_has_no_handler_is_counted_and_gone() -> None:
    """A consumer may get more than it asked for."""
    mailing = Mailing()
    mailing.unclaimed = {"a1"}
    mailing.store("a1", "a2")

    mailing.work()

    assert mailing.counts == (0, 0, 0, 0)
    assert (mailing.consumer.counts.unclaimed, mailing.consumer.counts.handled) == (1, 1)


def test_a_strict_consumer_makes_a_dead_letter_of_what_has_no_handler() -> None:
    """At once: no retry gives it one."""
    mailing = Mailing(strict=True)
    mailing.unclaimed = {"-1"}
    mailing.store("-1", "a2")

    mailing.work()

    [letter] = mailing.inbox.letters()
    assert letter.reason == "UnknownMessage: mailing has no handler for OrderPlaced"
    assert mailing.tried.count("-1") == 1
    assert "a2" in mailing.effects


def test_what_cannot_be_decoded_is_dead_at_once() -> None:
    """Its bytes will not get better."""
    mailing = Mailing()
    mailing.errors["a1"] = InvalidPayload("no field total")
    mailing.store("a1")

    mailing.work()

    [letter] = mailing.inbox.letters()
    assert (letter.reason, letter.attempts, letter.payload) == ("InvalidPayload: no field total", 1, b"a1")


def test_a_newer_version_waits_with_its_reason() -> None:
    """A later release may know it."""
    mailing = Mailing()
    mailing.errors["a1"] = UnknownMessage("OrderPlaced version 2 is newer than 1")
    mailing.store("a1", "a2")

    mailing.work()

    assert mailing.counts == (0, 2, 1, 0)
    mailing.errors.clear()
    mailing.now += 61
    mailing.work()
    assert mailing.effects == ["a1", "a2"]


@pytest.mark.parametrize("error", [NewerVersion("OrderPlaced came in version 2"), NotHandledHere("another has it")])
def test_what_another_release_can_handle_waits_for_it_and_no_attempt_is_counted(error: Exception) -> None:
    """Its key waits with it, others go on; it is looked at once a minute at the latest, whatever the policy says."""
    mailing = Mailing(policy=Policy(Retry(1)))
    mailing.errors["a1"] = error
    mailing.store("a1", "a2", "b1")
    for _ in range(12):
        mailing.work()
        mailing.now += 73
    assert (mailing.effects, mailing.tried.count("a1"), mailing.counts) == (["b1"], 12, (0, 2, 1, 0))
    assert mailing.inbox.blocked()[0].attempts == 0

    mailing.errors.clear()
    mailing.work()

    assert mailing.effects == ["b1", "a1", "a2"]


def test_what_waits_for_another_release_fails_when_its_grace_is_over() -> None:
    """Then attempts are counted, and it is dead after the last one."""
    mailing = Mailing(policy=Policy(Retry(2, first=10), grace=100))
    mailing.errors["a1"] = NewerVersion("OrderPlaced came in version 2")
    mailing.store("a1", "a2")
    mailing.work()
    mailing.now += 101
    mailing.work()
    assert (mailing.inbox.blocked()[0].attempts, mailing.counts) == (1, (0, 2, 1, 0))

    mailing.now += 15
    mailing.work()

    [letter] = mailing.inbox.letters()
    assert (letter.attempts, letter.reason) == (2, "NewerVersion: OrderPlaced came in version 2")
    assert mailing.effects == []


def test_looks_for_another_release_become_rarer() -> None:
    """Twenty of them in a quarter of an hour, not one a second."""
    mailing = Mailing()
    mailing.errors["a1"] = NewerVersion("OrderPlaced came in version 2")
    mailing.store("a1")
    while mailing.now < 1000 + 890:
        mailing.work()
        mailing.now += 1

    assert 15 <= len(mailing.tried) <= 30


def test_a_command_that_is_refused_is_dead_and_nothing_waits_behind_it() -> None:
    """No retry makes it welcome, and it had no place in the order of events."""
    mailing = Mailing(policy=Policy(MINUTE))
    mailing.errors["a1"] = CommandRefused("Pay is a command")
    mailing.store("a1", "a2")

    mailing.work()

    [letter] = mailing.inbox.letters()
    assert (letter.reason, letter.attempts) == ("CommandRefused: Pay is a command", 1)
    assert mailing.effects == ["a2"]


class Unwilling:
    """A storage whose commits fail for some messages, as a deferred constraint makes them."""

    def __init__(self, inbox: MemoryQueue, bad: set[str], tried: list[str]) -> None:
        self.inbox = inbox
        self.bad = bad
        self.tried = tried
        self.append = inbox.append

    @contextmanager
    def hold(self, queue: str, /, **options: object) -> Generator[object, None, None]:
        before = len(self.tried)
        with self.inbox.hold(queue, **options) as held:  # type: ignore[arg-type]
            yield held
            self._commit(before)

    @contextmanager
    def take(self, row: Row, /, *, idle: float) -> Generator[bool, None, None]:
        before = len(self.tried)
        with self.inbox.take(row, idle=idle) as ours:
            yield ours
            self._commit(before)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inbox, name)

    def _commit(self, before: int) -> None:
        if self.bad & set(self.tried[before:]):
            raise OSError("constraint violated")


@pytest.mark.parametrize("bad", ["a1", "a2"])
def test_a_message_whose_commit_fails_has_failed(bad: str) -> None:
    """It waits like any other, instead of being tried for ever; nothing of it is counted as handled."""
    mailing = Mailing()
    mailing.consumer = Consumer(
        consumer=NAME, storage=Unwilling(mailing.inbox, {bad}, mailing.tried), receive=mailing.receive
    )
    mailing.store("a1", "a2", "b1")

    for _ in range(5):
        mailing.consumer.step()

    assert sorted(mailing.effects) == (["b1"] if bad == "a1" else ["a1", "b1"])
    assert mailing.consumer.counts.handled == len(mailing.effects)
    assert mailing.counts[2:] == (1, 0)


def test_an_error_of_the_storage_is_nobody_s_fault() -> None:
    """If the inbox cannot be read, no message is blamed: the loop has to deal with it."""

    class Broken(MemoryQueue):
        @contextmanager
        def hold(self, queue: str, /, **options: object) -> Generator[None, None, None]:
            raise ConnectionError("the database is gone")
            yield

    inbox = Broken("inbox")
    inbox.store(NAME, [make("a1")])
    consumer = Consumer(consumer=NAME, storage=inbox, receive=lambda _: True)

    with pytest.raises(ConnectionError):
        consumer.step()


def test_who_loses_the_lane_before_parking_leaves_the_message_to_the_other(caplog: pytest.LogCaptureFixture) -> None:
    """Between rollback and parking another worker may take the lane; its own failure counts."""
    mailing = Mailing()
    mailing.errors["a1"] = ValueError("no")
    mailing.store("a1")
    [lane] = [row.lane for row in _rows(mailing)]
    taken, leave = threading.Event(), threading.Event()

    def take_the_lane() -> None:
        with mailing.inbox.hold(NAME, lanes=[lane], limit=1, local=True, idle=1):
            taken.set()
            leave.wait(20)

    def policy(_: Envelope) -> Policy:
        if not taken.is_set():
            thread.start()
            taken.wait(20)
        return Policy(MINUTE)

    thread = threading.Thread(target=take_the_lane)
    mailing.consumer = Consumer(consumer=NAME, storage=mailing.inbox, receive=mailing.receive, policy=policy)

    with caplog.at_level(logging.WARNING):
        mailing.consumer.step()
    leave.set()
    thread.join()

    assert mailing.counts == (1, 0, 0, 0)
    assert "left to another worker" in caplog.text
    mailing.work()
    assert mailing.counts == (0, 1, 1, 0)


def test_a_worker_that_is_to_stop_ends_its_run_between_two_messages() -> None:
    """It does not wait for the fifty that it has listed."""
    mailing = Mailing()
    mailing.consumer = Consumer(
        consumer=NAME, storage=mailing.inbox, receive=mailing.receive, stopping=lambda: len(mailing.tried) >= 2
    )
    mailing.store("a1", "a2", "a3")

    assert mailing.consumer.step() == 2
    assert mailing.counts == (1, 0, 0, 0)


def test_workers_in_threads_handle_each_message_once_and_keys_in_order() -> None:
    """Four of them, with failures among the messages that succeed later."""
    mailing = Mailing(policy=Policy(Retry(100, first=0)))
    failures = {f"{key}{n}" for key in "abcdef" for n in range(0, 100, 9)}
    effects: list[str] = []
    lock = threading.Lock()

    def receive(envelope: Envelope) -> bool:
        text = envelope.payload.decode()
        with lock:
            if text in failures:
                failures.remove(text)
                raise ValueError("not yet")
            effects.append(text)
        return True

    mailing.store(*(f"{key}{n}" for n in range(100) for key in "abcdef"))
    stop = threading.Event()
    policy = mailing.consumer.policy
    consumers = [
        Consumer(consumer=NAME, storage=mailing.inbox, receive=receive, policy=policy, run=5) for _ in range(4)
    ]
    workers = [threading.Thread(target=Loop([consumer], stop).run, kwargs={"seconds": 20}) for consumer in consumers]
    logging.disable()
    try:
        for worker in workers:
            worker.start()
        while mailing.counts[:2] != (0, 0) and any(worker.is_alive() for worker in workers):
            stop.wait(0.005)
        stop.set()
        for worker in workers:
            worker.join()
    finally:
        logging.disable(logging.NOTSET)

    for key in "abcdef":
        assert [text for text in effects if text[0] == key] == [f"{key}{n}" for n in range(100)]
    assert mailing.counts == (0, 0, 0, 0)


def _rows(mailing: Mailing) -> list[Row]:
    with mailing.inbox.hold(NAME, lanes=range(16), limit=16, local=True, idle=1) as held:
        return list(held.read(100, 10_000)) if held is not None else []
