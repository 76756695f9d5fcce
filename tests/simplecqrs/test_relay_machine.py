"""A queue and its relay under random faults: nothing is lost, keys stay in order, repeats have a cause."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Generator, Sequence

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from simplecqrs.backoff import Retry
from simplecqrs.envelope import Envelope
from simplecqrs.errors import BrokerDown
from simplecqrs.loop import Loop
from simplecqrs.memory_queue import MemoryQueue
from simplecqrs.queue import lane_of
from simplecqrs.relay import Relay
from simplecqrs.transport import ACCEPTED, UNKNOWN, Receipt, refused
from tests.contracts.queue import make

KEYS = ["a", "b", "c", ""]

#: What a broker does with an event: ``lost``: it has it, but its receipt does not come back.
Fate = str
FATES = ["accepted"] * 5 + ["refused", "unknown", "lost"]


class Crash(Exception):
    """Ends a step in the middle, as a killed process does."""


class Broker:
    """Does with events what the test says, and keeps to its contract: a key stops at its first failure."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.fates: list[Fate] = []
        self.down = False
        self.crash = False
        self.repeatable: Counter[str] = Counter()

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
        if self.down:
            raise BrokerDown("down")
        stopped: set[str] = set()
        receipts = [self._take(envelope, stopped) for envelope in envelopes]
        if self.crash:
            accepted = [e for e, receipt in zip(envelopes, receipts, strict=True) if receipt == ACCEPTED]
            self.repeatable.update(envelope.payload.decode() for envelope in accepted)
            raise Crash
        return receipts

    def ping(self, *, deadline: float) -> None:
        if self.down:
            raise BrokerDown("down")

    def _take(self, envelope: Envelope, stopped: set[str]) -> Receipt:
        if envelope.key in stopped:
            return UNKNOWN
        fate = self.fates.pop() if self.fates else "accepted"
        text = envelope.payload.decode()
        if fate in ("accepted", "lost"):
            self.log.append(text)
        if fate == "lost":
            self.repeatable[text] += 1
        if fate != "accepted" and envelope.key:
            stopped.add(envelope.key)
        return {"accepted": ACCEPTED, "refused": refused("too odd")}.get(fate, UNKNOWN)


class Machine(RuleBasedStateMachine):
    """Appends, ships and repairs; the model is a list per key."""

    letters = Bundle("letters")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.queue = MemoryQueue("outbox", clock=lambda: self.now)
        self.broker = Broker()
        self.relay = Relay(
            queue="shop", storage=self.queue, publisher=self.broker, batch=5, retry=Retry(2, first=10, jitter=0)
        )
        self.appended: dict[str, list[str]] = {key: [] for key in KEYS}
        self.skipped: set[str] = set()

    @rule(keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=8))
    def append(self, keys: list[str]) -> None:
        envelopes = []
        for key in keys:
            text = f"{key}{len(self.appended[key])}"
            self.appended[key].append(text)
            envelopes.append(make(text, key=key))
        self.queue.append([("shop", lane_of(envelope), envelope) for envelope in envelopes])

    @rule(key=st.sampled_from(KEYS))
    def append_and_roll_back(self, key: str) -> None:
        with contextlib.suppress(Crash), self.queue.transaction():
            envelope = make("ghost", key=key)
            self.queue.append([("shop", lane_of(envelope), envelope)])
            raise Crash

    @rule(fates=st.lists(st.sampled_from(FATES), max_size=8), crash=st.booleans(), down=st.integers(0, 9))
    def ship(self, fates: list[Fate], *, crash: bool, down: int) -> None:
        self.broker.fates, self.broker.crash, self.broker.down = fates, crash and bool(fates), down == 0
        with contextlib.suppress(Crash, BrokerDown):
            self.relay.step()

    @rule(seconds=st.sampled_from([5, 30]))
    def time_goes_by(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=letters)
    def look(self) -> list[int]:
        return [letter.id for letter in self.queue.letters()]

    @rule(seen=consumes(letters), index=st.integers(0, 5))
    def retry(self, seen: list[int], index: int) -> None:
        dead = {letter.id for letter in self.queue.letters()}
        if seen:
            letter = seen[index % len(seen)]
            assert self.queue.retry(letter) is (letter in dead)

    @rule(seen=consumes(letters), index=st.integers(0, 5))
    def skip(self, seen: list[int], index: int) -> None:
        dead = {letter.id: letter.payload.decode() for letter in self.queue.letters()}
        if seen:
            letter = seen[index % len(seen)]
            assert self.queue.skip(letter) is (letter in dead)
            if letter in dead:
                self.skipped.add(dead[letter])

    @invariant()
    def keys_are_in_order(self) -> None:
        for key in KEYS[:-1]:
            first = list(dict.fromkeys(text for text in self.broker.log if text.startswith(key)))
            assert first == sorted(first, key=lambda text: int(text[1:]))
            behind = set(self.appended[key][: int(first[-1][1:])]) if first else set()
            assert behind <= set(first) | self.skipped

    @invariant()
    def nothing_is_sent_twice_without_a_cause(self) -> None:
        for text, times in Counter(self.broker.log).items():
            assert times <= 1 + self.broker.repeatable[text]

    @invariant()
    def everything_is_somewhere(self) -> None:
        waiting = sum(b.pending + b.parked + b.dead for b in self.queue.backlogs())
        everything = {text for texts in self.appended.values() for text in texts}
        gone = everything & (set(self.broker.log) | self.skipped)
        assert waiting >= len(everything) - len(gone)
        assert set(self.broker.log) <= everything

    def teardown(self) -> None:
        """Everything heals: what is dead is tried again, and all that was not skipped arrives."""
        self.broker.fates, self.broker.crash, self.broker.down = [], False, False
        for letter in self.queue.letters():
            assert self.queue.retry(letter.id)
        self.now += 1000
        Loop([self.relay]).run(drain=True, seconds=20)
        everything = {text for texts in self.appended.values() for text in texts}
        assert everything - set(self.broker.log) <= self.skipped
        assert self.queue.backlogs() == [] or [
            (b.pending, b.parked, b.blocked, b.dead) for b in self.queue.backlogs()
        ] == [(0, 0, 0, 0)]
        self.keys_are_in_order()
        self.nothing_is_sent_twice_without_a_cause()


Machine.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)


class TestQueueAndRelay(Machine.TestCase):  # type: ignore[misc]
    """Random appends, batches, refusals, outages, crashes, retries and skips."""

    @pytest.fixture(autouse=True)
    def _quiet(self) -> Generator[None, None, None]:
        logging.disable()
        yield
        logging.disable(logging.NOTSET)
