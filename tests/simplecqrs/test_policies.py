"""What becomes of a message that failed goes by its exception: tried again, discarded, a dead letter, or a pause."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from attrs import frozen

from simplecqrs import DomainEvent, Mediator, Registry
from simplecqrs.backoff import Pause, Retry
from simplecqrs.consumer import Consumer
from simplecqrs.deadlines import remaining, within
from simplecqrs.envelope import Envelope
from simplecqrs.errors import InvalidHandler, InvalidPayload
from simplecqrs.loop import Loop
from simplecqrs.memory import MemoryBroker
from simplecqrs.memory_queue import MemoryQueue
from simplecqrs.memory_transactions import MemoryTransactions
from simplecqrs.metadata import new_metadata
from simplecqrs.policies import Policy
from tests.contracts.queue import make

NAME = "mailing"
LATER = Retry(3, first=60, jitter=0)


class Refused(ConnectionError):
    """The bank does not want this one."""


class Mailing:
    """A consumer whose handler fails as it is told to, and writes what it has done in the transaction of its inbox."""

    def __init__(self, on_error: Mapping[type[Exception], Any], *, retry: Retry = LATER, batch: int = 1) -> None:
        self.now = 1000.0
        self.db = MemoryTransactions()
        self.inbox = MemoryQueue("inbox", transactions=self.db, clock=lambda: self.now)
        self.errors: dict[str, list[Exception]] = {}
        self.tried: list[str] = []
        self._effects: dict[int, str] = {}
        policy = Policy(retry, on_error=on_error)
        self.workers = [
            Consumer(consumer=NAME, storage=self.inbox, receive=self.receive, policy=lambda _: policy, batch=batch)
            for _ in range(2)
        ]

    def receive(self, envelope: Envelope) -> bool:
        text = envelope.payload.decode()
        self.tried.append(text)
        self.db.put(self._effects, len(self.tried), text)
        errors = self.errors.get(text, [])
        if errors:
            raise errors.pop(0)
        return True

    def fail(self, text: str, *errors: Exception) -> None:
        """Let a message fail with these errors, one after the other."""
        self.errors[text] = list(errors)

    def work(self, *texts: str) -> None:
        """Store events, whose key is their first letter, and work until there is nothing to do."""
        self.inbox.store(NAME, [make(text, key=text[0].strip("-")) for text in texts])
        Loop(self.workers).run(drain=True, seconds=20)

    @property
    def effects(self) -> list[str]:
        return [text for _, text in sorted(self._effects.items())]

    @property
    def waiting(self) -> tuple[int, int, int, int]:
        """Return how many are pending, parked, blocked, dead."""
        for b in self.inbox.backlogs():
            return b.pending, b.parked, b.blocked, b.dead
        return 0, 0, 0, 0

    def count(self, what: str) -> int:
        """Add up what the workers have counted."""
        return sum(getattr(worker.counts, what) for worker in self.workers)


# fates


def test_an_exception_that_is_not_named_is_tried_again_later() -> None:
    """As ``retry`` says."""
    mailing = Mailing({KeyError: "discard"})
    mailing.fail("a1", ValueError("no"))

    mailing.work("a1", "a2", "b1")

    assert mailing.effects == ["b1"]
    assert mailing.waiting == (0, 2, 1, 0)


@pytest.mark.parametrize("batch", [1, 10])
def test_what_is_discarded_is_gone_counted_and_logged(batch: int, caplog: pytest.LogCaptureFixture) -> None:
    """Its followers go on, nothing of it is written, and its error is told."""
    mailing = Mailing({ValueError: "discard"}, batch=batch)
    mailing.fail("a2", ValueError("no such user"), ValueError("no such user"))  # together with others, and by itself

    mailing.work("a1", "a2", "a3")

    assert mailing.effects == ["a1", "a3"]
    assert mailing.waiting == (0, 0, 0, 0)
    assert (mailing.count("discarded"), mailing.count("failed"), mailing.count("handled")) == (1, 0, 2)
    [record] = caplog.records
    assert (record.levelname, record.exc_info is not None) == ("WARNING", True)
    assert "attempt 1, discarded" in record.message


def test_what_is_a_dead_letter_at_once_is_not_tried_again() -> None:
    """With its cause, the errors behind it, and its followers held."""
    mailing = Mailing({ValueError: "dead-letter"})
    error = ValueError("no such user")
    error.__cause__ = LookupError("4711")
    mailing.fail("a1", error)

    mailing.work("a1", "a2")

    [letter] = mailing.inbox.letters()
    assert (letter.cause, letter.attempts) == ("ValueError: no such user", 1)
    assert letter.reason == "ValueError: no such user\nbecause of LookupError: 4711"
    assert mailing.waiting == (0, 1, 1, 1)


def test_an_exception_may_have_a_retry_of_its_own() -> None:
    """Its attempts count; others have the consumer's."""
    mailing = Mailing({ConnectionError: Retry(2, first=5, jitter=0)})
    mailing.fail("a1", ConnectionError("busy"), ConnectionError("busy"))

    mailing.work("a1")
    [blocked] = mailing.inbox.blocked()
    assert blocked.next_at is not None
    assert (blocked.next_at - blocked.since).total_seconds() == 5
    mailing.now += 5
    mailing.work()

    assert mailing.waiting == (0, 0, 1, 1)


def test_the_nearest_class_of_an_exception_counts() -> None:
    """Whatever the order in which they are named."""
    mailing = Mailing({Exception: "discard", ConnectionError: "retry", Refused: "dead-letter"})
    for text, error in (("a1", ValueError()), ("b1", ConnectionResetError()), ("c1", Refused())):
        mailing.fail(text, error)

    mailing.work("a1", "b1", "c1")

    assert [(b.key, b.next_at is None) for b in mailing.inbox.blocked()] in (
        [("b", False), ("c", True)],
        [("c", True), ("b", False)],
    )
    assert mailing.count("discarded") == 1


def test_what_no_retry_mends_is_dead_whatever_is_said_of_all_exceptions() -> None:
    """A pause would not end; but it may be discarded."""
    for fate, dead in (("pause", 1), ("retry", 1), ("discard", 0)):
        mailing = Mailing({Exception: fate})
        mailing.fail("a1", InvalidPayload("no field total"))

        mailing.work("a1")

        assert mailing.waiting[3] == dead


# at once


def test_an_attempt_is_repeated_at_once_before_it_has_failed(caplog: pytest.LogCaptureFixture) -> None:
    """In a new transaction: what the first time has written is gone; nothing is parked, no attempt is counted."""
    caplog.set_level(logging.INFO)
    mailing = Mailing({}, retry=Retry(1, inline=2))
    mailing.fail("a1", ValueError("deadlock"), ValueError("deadlock"))

    mailing.work("a1", "a2")

    assert mailing.effects == ["a1", "a2"]
    assert mailing.tried == ["a1", "a1", "a1", "a2"]
    assert (mailing.count("failed"), mailing.count("handled")) == (0, 2)
    assert [record.levelname for record in caplog.records] == ["INFO", "INFO"]


def test_after_its_repetitions_an_attempt_has_failed_and_is_made_again_later() -> None:
    """With as many repetitions."""
    mailing = Mailing({}, retry=Retry(2, first=60, inline=1))
    mailing.fail("a1", *(ValueError("no") for _ in range(4)))
    mailing.work("a1")
    assert (mailing.tried, mailing.waiting) == (["a1"] * 2, (0, 1, 1, 0))

    mailing.now += 100
    mailing.work()

    assert mailing.tried == ["a1"] * 4
    [letter] = mailing.inbox.letters()
    assert letter.attempts == 2


def test_a_repetition_that_fails_in_another_way_has_the_fate_of_that() -> None:
    """The last error decides."""
    mailing = Mailing({KeyError: "discard"}, retry=Retry(5, inline=1))
    mailing.fail("a1", ValueError("no"), KeyError("gone"))

    mailing.work("a1")

    assert (mailing.count("discarded"), mailing.waiting) == (1, (0, 0, 0, 0))


# pauses


def test_a_pause_stops_the_whole_consumer_and_counts_no_attempt(caplog: pytest.LogCaptureFixture) -> None:
    """All keys and all workers; when it is over it goes on where it was, in order."""
    mailing = Mailing({ConnectionError: Pause(first=30)}, retry=Retry(1))
    down = [ConnectionError("the bank is closed")] * 5
    for text in ("a1", "b1", "c1"):
        mailing.errors[text] = down
    mailing.work("a1", "b1", "c1", "a2")
    assert len(mailing.tried) == 1
    assert mailing.waiting == (4, 0, 0, 0)
    assert "the consumer pauses for 30.0 s" in caplog.text

    for seconds in (30, 60, 60, 60):
        mailing.now += seconds
        mailing.work()
    assert Counter(mailing.count(what) for what in ("paused", "failed")) == Counter([5, 0])
    assert mailing.waiting == (4, 0, 0, 0)
    assert not down

    mailing.now += 60
    mailing.work()
    assert mailing.waiting == (0, 0, 0, 0)
    assert sorted(mailing.effects) == ["a1", "a2", "b1", "c1"]
    assert [text for text in mailing.effects if text[0] == "a"] == ["a1", "a2"]


def test_an_operator_ends_a_pause() -> None:
    """The bank is back sooner than that."""
    mailing = Mailing({ConnectionError: "pause"})
    mailing.fail("a1", ConnectionError("the bank is closed"))
    mailing.work("a1", "b1")
    [paused] = mailing.inbox.blocked()

    mailing.inbox.hasten(paused.id)
    mailing.work()

    assert sorted(mailing.effects) == ["a1", "b1"]


# deadlines


def test_a_handler_knows_how_long_it_may_take() -> None:
    """The consumer's timeout; outside of a consumer nobody has set one."""
    inbox, seen = MemoryQueue("inbox"), list[float | None]()

    def receive(_: Envelope) -> bool:
        seen.append(remaining())
        with within(1.0):
            seen.append(remaining())
        return True

    inbox.store(NAME, [make("a1", key="a"), make("a2", key="a")])
    Loop([Consumer(consumer=NAME, storage=inbox, receive=receive, timeout=30.0)]).run(drain=True)

    assert remaining() is None
    outer, inner, second, _ = seen
    assert outer is not None
    assert inner is not None
    assert second is not None
    assert 29 < outer <= 30
    assert 0 < inner <= 1
    assert second > outer - 1


def test_a_deadline_never_grows_and_ends_at_nothing() -> None:
    """A longer one inside of a shorter one says nothing."""
    with within(0.001), within(60):
        ends = time.monotonic() + 5
        while remaining() != 0.0 and time.monotonic() < ends:
            pass

        assert remaining() == 0.0


def test_a_batch_has_one_deadline() -> None:
    """It is one transaction."""
    inbox, seen = MemoryQueue("inbox"), list[float]()

    def receive(_: Envelope) -> bool:
        left = remaining()
        assert left is not None
        seen.append(left)
        return True

    inbox.store(NAME, [make(f"a{n}", key="a") for n in range(5)])
    Loop([Consumer(consumer=NAME, storage=inbox, receive=receive, batch=5)]).run(drain=True)

    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == 5


# handlers


@frozen
class Placed(DomainEvent):
    """Is handled by a consumer."""

    order: int


def options(*handlers: Callable[[Registry], object]) -> Any:
    """Return what a consumer is told of handlers that are one unit."""
    registry = Registry()
    for register in handlers:
        register(registry)
    bus = Mediator(registry, publisher=MemoryBroker())
    envelope = bus.vocabulary.envelope(Placed(1), new_metadata(None, None))
    return bus.consumer_options(envelope, NAME)


def test_handlers_that_fail_as_one_share_what_was_said_of_each() -> None:
    """The first that says something counts."""
    found = options(
        lambda r: r.add(Placed, lambda e: None, consumer=NAME, on_error={KeyError: "discard"}),
        lambda r: r.add(
            Placed, lambda e: None, consumer=NAME, retry=LATER, on_error={KeyError: "retry", OSError: "pause"}
        ),
    )

    assert found.retry == LATER
    assert found.on_error == {KeyError: "discard", OSError: "pause"}


@pytest.mark.parametrize(
    ("on_error", "culprit"),
    [
        ({KeyError: "ignore"}, "KeyError: 'ignore' is no Retry, no Pause"),
        ({"KeyError": "discard"}, "'KeyError' is no class of exceptions"),
        ({KeyboardInterrupt: "discard"}, "is no class of exceptions"),
        (["discard"], "is no mapping"),
    ],
    ids=str,
)
def test_fates_that_cannot_be_are_refused_at_registration(on_error: Any, culprit: str) -> None:
    """And not when something fails for the first time."""
    with pytest.raises((TypeError, ValueError), match=culprit):
        Registry().handles(Placed, consumer=NAME, on_error=on_error)


def test_fates_are_for_what_is_handled_later() -> None:
    """Whoever publishes gets the error itself."""
    with pytest.raises(InvalidHandler, match="on_error= are for handlers with consumer="):
        Registry().add(Placed, lambda e: None, on_error={KeyError: "discard"})
