"""The relay takes batches out of an outbox and gives them to a broker."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from simplecqrs.backoff import Retry
from simplecqrs.envelope import Envelope
from simplecqrs.errors import BrokerDown
from simplecqrs.loop import Loop
from simplecqrs.memory import MemoryBroker
from simplecqrs.memory_queue import MemoryQueue
from simplecqrs.queue import Row, lane_of
from simplecqrs.relay import Relay, Shipped
from simplecqrs.transport import ACCEPTED, UNKNOWN, Destination, Receipt
from tests.contracts.queue import make

ONCE = Retry(1)
AT_ONCE = Retry(3, first=0)


class Shop:
    """An outbox, a broker that refuses what it is told to, and a relay between them."""

    def __init__(self, *, retry: Retry = AT_ONCE, publisher: Destination | None = None, batch: int = 100) -> None:
        self.now = 1000.0
        self.bad: set[str] = set()
        self.outbox = MemoryQueue("outbox", clock=lambda: self.now)
        self.broker = MemoryBroker(refuse=lambda e: "too odd" if e.payload.decode() in self.bad else None)
        self.relay = Relay(
            queue="shop", storage=self.outbox, publisher=publisher or self.broker, retry=retry, batch=batch
        )

    def publish(self, *texts: str) -> None:
        """Append events whose key is their first letter; ``-`` is no key."""
        envelopes = [make(text, key=text[0].strip("-")) for text in texts]
        self.outbox.append([("shop", lane_of(envelope), envelope) for envelope in envelopes])

    @property
    def sent(self) -> list[str]:
        return [envelope.payload.decode() for envelope in self.broker.published]

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Return how many are pending, parked, blocked, dead."""
        backlogs = self.outbox.backlogs()
        if not backlogs:
            return 0, 0, 0, 0
        [b] = backlogs
        return b.pending, b.parked, b.blocked, b.dead


class Script:
    """A broker that answers as it is told, batch by batch."""

    def __init__(self, answer: Callable[[Sequence[Envelope]], Sequence[Receipt]]) -> None:
        self.answer = answer
        self.batches: list[list[str]] = []
        self.down = False

    def ping(self, *, deadline: float) -> None:
        if self.down:
            raise BrokerDown("no answer")

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
        self.batches.append([envelope.payload.decode() for envelope in envelopes])
        return self.answer(envelopes)


def test_what_is_accepted_is_deleted() -> None:
    """Everything goes out once, and nothing is left."""
    shop = Shop()
    shop.publish("a1", "b1", "a2", "-x")

    assert shop.relay.step() == Shipped(read=4, accepted=4)

    assert sorted(shop.sent) == ["-x", "a1", "a2", "b1"]
    assert shop.counts == (0, 0, 0, 0)


def test_a_step_without_work_is_false() -> None:
    """The loop sleeps then."""
    shop = Shop()
    assert not shop.relay.step()

    shop.publish("a1")

    assert shop.relay.step()
    assert not shop.relay.step()


def test_a_key_is_sent_in_its_order() -> None:
    """Over any number of batches."""
    shop = Shop(batch=7)
    shop.publish(*(f"{key}{n}" for n in range(30) for key in "abc"))

    Loop([shop.relay]).run(drain=True)

    for key in "abc":
        assert [text for text in shop.sent if text[0] == key] == [f"{key}{n}" for n in range(30)]


def test_a_batch_is_bounded_in_rows() -> None:
    """No more than asked for at a time."""
    shop = Shop(batch=2)
    shop.publish("a1", "a2", "a3")

    assert shop.relay.step().read == 2
    assert shop.relay.step().read == 1


def test_a_refused_event_waits_with_its_followers_and_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    """The reason is in the log, with event and next attempt."""
    shop = Shop(retry=Retry(3, first=60, jitter=0))
    shop.bad = {"a1"}
    shop.publish("a1", "b1", "a2", "-x")

    with caplog.at_level(logging.WARNING):
        assert shop.relay.step() == Shipped(read=4, accepted=2, refused=1)

    assert sorted(shop.sent) == ["-x", "b1"]
    assert shop.counts == (0, 2, 1, 0)
    assert "shop refused OrderPlaced" in caplog.text
    assert "too odd; it is tried again in 60.0 s" in caplog.text


def test_a_refused_event_is_tried_again_in_time_and_its_key_goes_on_in_order() -> None:
    """Not before its pause is over; then head, followers, and what came later."""
    shop = Shop(retry=Retry(3, first=60, jitter=0))
    shop.bad = {"a1"}
    shop.publish("a1", "a2")
    shop.relay.step()
    shop.publish("a3", "b1")
    shop.bad.clear()

    shop.relay.step()
    assert shop.sent == ["b1"]

    shop.now += 61
    Loop([shop.relay]).run(drain=True)
    assert shop.sent == ["b1", "a1", "a2", "a3"]
    assert shop.counts == (0, 0, 0, 0)


def test_a_step_does_not_end_where_rows_only_have_to_be_moved() -> None:
    """More followers of a blocked key than a storage moves at once: the step holds its lanes anew."""

    class Slow(MemoryQueue):
        passes = 0

        @contextmanager
        def hold(self, queue: str, /, **options: Any) -> Generator[Any, None, None]:
            with super().hold(queue, **options) as held:
                self.passes += 1
                yield held if self.passes > 4 else Moving()

    class Moving:
        def read(self, limit: int, max_bytes: int, /) -> Sequence[Row]:
            return []

    shop = Shop()
    outbox = Slow("outbox")
    outbox.append([("shop", 0, make("a1", key="a"))])

    assert Relay(queue="shop", storage=outbox, publisher=shop.broker).step() == Shipped(read=1, accepted=1)


def test_an_event_without_a_key_has_no_followers() -> None:
    """Only itself waits."""
    shop = Shop(retry=Retry(3, first=60, jitter=0))
    shop.bad = {"-1"}
    shop.publish("-1", "-2", "-3")

    shop.relay.step()

    assert sorted(shop.sent) == ["-2", "-3"]
    assert shop.counts == (0, 1, 1, 0)


def test_after_its_attempts_an_event_is_dead_and_holds_its_key(caplog: pytest.LogCaptureFixture) -> None:
    """Attempts are counted over the retries; an operator decides then."""
    shop = Shop(retry=Retry(3, first=0))
    shop.bad = {"a1"}
    shop.publish("a1", "a2")

    for _ in range(3):
        assert shop.relay.step().refused == 1
    assert not shop.relay.step()

    [letter] = shop.outbox.letters()
    assert (letter.attempts, letter.reason, letter.payload) == (3, "too odd", b"a1")
    assert shop.counts == (0, 1, 1, 1)
    assert shop.sent == []
    assert "it is dead" in caplog.text


def test_a_dead_event_lets_its_key_go_on_if_told_to() -> None:
    """What follows does not wait for an operator then."""
    shop = Shop(retry=ONCE)
    shop.relay.on_dead = "continue"
    shop.bad = {"a1"}
    shop.publish("a1", "a2")

    Loop([shop.relay]).run(drain=True)

    assert shop.sent == ["a2"]
    assert shop.counts == (0, 0, 0, 1)


@pytest.mark.parametrize(("act", "sent"), [("retry", ["a1", "a2", "a3"]), ("skip", ["a2", "a3"])])
def test_an_operator_lets_a_dead_event_go_on(act: str, sent: list[str]) -> None:
    """Retried in its place, or skipped."""
    shop = Shop(retry=ONCE)
    shop.bad = {"a1"}
    shop.publish("a1", "a2")
    shop.relay.step()
    shop.publish("a3")
    shop.bad.clear()

    getattr(shop.outbox, act)(shop.outbox.letters()[0].id)
    Loop([shop.relay]).run(drain=True)

    assert shop.sent == sent
    assert shop.counts == (0, 0, 0, 0)


def test_a_broker_that_is_down_changes_nothing() -> None:
    """No attempt is counted, nothing is parked; all goes out when it is back."""
    shop = Shop(retry=ONCE)
    shop.publish("a1", "a2", "b1")
    shop.broker.down = True

    for _ in range(20):
        with pytest.raises(BrokerDown):
            shop.relay.step()
    assert shop.counts == (3, 0, 0, 0)

    shop.broker.down = False
    shop.relay.step()
    assert sorted(shop.sent) == ["a1", "a2", "b1"]


def test_a_broker_that_acknowledges_nothing_counts_as_down() -> None:
    """Nobody is blamed."""
    shop = Shop(retry=ONCE, publisher=Script(lambda envelopes: [UNKNOWN] * len(envelopes)))
    shop.publish("a1", "a2")

    with pytest.raises(BrokerDown, match="acknowledged none of 2"):
        shop.relay.step()

    assert shop.counts == (2, 0, 0, 0)


def closing(*bad: str) -> Callable[[Sequence[Envelope]], Sequence[Receipt]]:
    """Take nothing whenever one of these is among the events, as a channel that is closed."""

    def answer(envelopes: Sequence[Envelope]) -> Sequence[Receipt]:
        if any(envelope.payload.decode() in bad for envelope in envelopes):
            raise BrokerDown("the channel was closed")
        return [ACCEPTED] * len(envelopes)

    return answer


def test_an_event_that_breaks_what_it_is_sent_with_is_found_and_parked(caplog: pytest.LogCaptureFixture) -> None:
    """The broker answers a ping: so it is the event.  Others are delivered, and its key waits."""
    script = Script(closing("a1"))
    shop = Shop(retry=ONCE, publisher=script)
    shop.publish("-1", "a1", "b1", "a2", "c1", "-2")

    for _ in range(2):
        with pytest.raises(BrokerDown, match="the channel was closed"):
            shop.relay.step()
    shipped = shop.relay.step()

    assert shipped == Shipped(read=6, accepted=4, refused=1)
    assert shop.counts == (0, 1, 1, 1)
    assert "searching for the cause" in caplog.text
    assert shop.outbox.letters()[0].reason.startswith("the broker takes nothing while this event is among it")
    assert ["a2"] not in script.batches


def test_an_event_is_found_however_long_each_attempt_takes() -> None:
    """A search that runs out of time begins in fewer events the next time."""
    shop = Shop(retry=ONCE, publisher=Script(closing("a1")))
    shop.relay.idle = -1.0
    shop.publish("a1", *(f"-{n}" for n in range(20)))

    for _ in range(60):
        with suppress(BrokerDown):
            shop.relay.step()

    assert shop.counts == (0, 0, 1, 1)


def test_good_batches_in_between_do_not_hide_what_breaks_the_others() -> None:
    """Lanes come and go: each batch with the poison in it is one more hint, and batches do not grow meanwhile."""
    script = Script(closing("a0"))
    shop = Shop(retry=ONCE, publisher=script, batch=400)
    shop.publish("a0")
    for _ in range(3):
        shop.publish("-1", "-2")
        with suppress(BrokerDown):
            shop.relay.step()
        shop.relay._pace.taken(1)  # a batch of other lanes

    assert [letter.payload for letter in shop.outbox.letters()] == [b"a0"]
    assert shop.relay._pace.rows == 100  # it has not grown in between


def test_what_failed_before_is_tried_by_itself() -> None:
    """New events are not sent again for its sake."""
    script = Script(closing("a1"))
    shop = Shop(retry=Retry(2, first=0), publisher=script)
    shop.publish("a1")
    for _ in range(3):
        with suppress(BrokerDown):
            shop.relay.step()
    shop.publish("b1", "c1")

    for _ in range(8):
        with suppress(BrokerDown):
            shop.relay.step()

    assert [sorted(batch) for batch in script.batches if len(batch) > 1] == [["b1", "c1"]]
    assert shop.counts == (0, 0, 1, 1)


def test_two_events_that_break_things_are_both_found() -> None:
    """Each by itself."""
    shop = Shop(retry=ONCE, publisher=Script(closing("a1", "c1")))
    shop.publish("-1", "a1", "b1", "c1", "d1", "-2")

    for _ in range(2):
        with pytest.raises(BrokerDown):
            shop.relay.step()

    assert shop.relay.step() == Shipped(read=6, accepted=4, refused=2)


def test_nothing_is_searched_while_the_broker_does_not_answer() -> None:
    """An outage blames nobody, however long it is."""
    script = Script(closing("a1"))
    shop = Shop(retry=ONCE, publisher=script)
    script.down = True
    shop.publish("a1", "b1")

    for _ in range(20):
        with pytest.raises(BrokerDown):
            shop.relay.step()

    assert shop.counts == (2, 0, 0, 0)
    assert all(len(batch) == 2 for batch in script.batches)


def test_a_broker_that_goes_down_during_the_search_blames_nobody() -> None:
    """What the search has found so far is not known then."""
    script = Script(closing("a1"))
    shop = Shop(retry=ONCE, publisher=script)
    shop.publish("a1", "b1")
    for _ in range(2):
        with pytest.raises(BrokerDown):
            shop.relay.step()

    def answer(envelopes: Sequence[Envelope]) -> Sequence[Receipt]:
        script.down = len(envelopes) == 1
        raise BrokerDown("gone")

    script.answer = answer
    with pytest.raises(BrokerDown):
        shop.relay.step()

    assert shop.counts == (2, 0, 0, 0)


def test_a_broker_too_slow_for_a_batch_gets_smaller_ones() -> None:
    """No livelock: a batch that never fits its deadline is halved."""
    script = Script(lambda envelopes: [ACCEPTED if len(envelopes) <= 20 else UNKNOWN] * len(envelopes))
    shop = Shop(retry=ONCE, publisher=script)
    shop.publish(*(f"-{n}" for n in range(100)))

    for _ in range(100):
        with suppress(BrokerDown):
            shop.relay.step()

    assert shop.counts == (0, 0, 0, 0)
    assert sorted(text for batch in script.batches if len(batch) <= 20 for text in batch) == sorted(
        f"-{n}" for n in range(100)
    )


def test_refusals_do_not_make_batches_smaller() -> None:
    """What waits behind a refused event of its key is not what a broker was too slow for."""
    shop = Shop(retry=ONCE, batch=1000)
    shop.bad = {"b1"}
    shop.publish("a1", "b1", "b2", *(f"-{n}" for n in range(97)))

    assert shop.relay.step() == Shipped(read=100, accepted=98, refused=1)
    shop.publish(*(f"-{n}" for n in range(1000)))
    assert shop.relay.step().read == 200


def test_batches_begin_small_and_grow_while_that_goes_well() -> None:
    """The first event is out soon, whatever waits behind it; an outage is over when ten have gone out."""
    script = Script(lambda envelopes: [ACCEPTED] * len(envelopes))
    shop = Shop(publisher=script, batch=1000)
    shop.publish(*(f"a{n}" for n in range(3000)))

    for _ in range(3):
        shop.relay.step()
    script.down, script.answer = True, closing(*(f"a{n}" for n in range(3000)))
    with pytest.raises(BrokerDown):
        shop.relay.step()
    script.down, script.answer = False, lambda envelopes: [ACCEPTED] * len(envelopes)
    shop.relay.step()

    assert [len(batch) for batch in script.batches] == [100, 200, 400, 800, 10]


def test_what_is_unknown_is_sent_again_in_its_place() -> None:
    """Before what comes after it, and without an attempt being counted."""
    first = Script(lambda envelopes: [ACCEPTED if e.payload == b"a1" else UNKNOWN for e in envelopes])
    shop = Shop(retry=ONCE, publisher=first)
    shop.publish("a1", "a2")
    assert shop.relay.step() == Shipped(read=2, accepted=1)
    shop.publish("a3")
    first.answer = lambda envelopes: [ACCEPTED] * len(envelopes)

    shop.relay.step()

    assert first.batches == [["a1", "a2"], ["a2", "a3"]]
    assert shop.counts == (0, 0, 0, 0)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyboardInterrupt()])
def test_a_broker_that_fails_in_any_way_changes_nothing(error: BaseException) -> None:
    """What was read stays."""

    def fail(_: Sequence[Envelope]) -> Sequence[Receipt]:
        raise error

    shop = Shop(retry=ONCE, publisher=Script(fail))
    shop.publish("a1")

    with pytest.raises(type(error)):
        shop.relay.step()

    assert shop.counts == (1, 0, 0, 0)


def test_too_few_receipts_change_nothing() -> None:
    """An adapter with a bug does not make us delete what it did not acknowledge."""
    shop = Shop(publisher=Script(lambda envelopes: [ACCEPTED]))
    shop.publish("a1", "a2")

    with pytest.raises(ValueError, match="shorter"):
        shop.relay.step()

    assert shop.counts == (2, 0, 0, 0)


def test_what_comes_while_a_batch_is_sent_waits_for_the_next() -> None:
    """Only what was read is deleted."""

    def answer(envelopes: Sequence[Envelope]) -> Sequence[Receipt]:
        if envelopes[0].payload == b"a1":
            producer = threading.Thread(target=shop.publish, args=["a2"])
            producer.start()
            producer.join()
        return [ACCEPTED] * len(envelopes)

    script = Script(answer)
    shop = Shop(publisher=script)
    shop.publish("a1")

    shop.relay.step()
    shop.relay.step()

    assert script.batches == [["a1"], ["a2"]]


def test_other_queues_are_left_alone() -> None:
    """A relay ships for one broker."""
    shop = Shop()
    envelope = make("x", key="a")
    shop.outbox.append([("other", lane_of(envelope), envelope)])

    assert not shop.relay.step()
    assert [b.pending for b in shop.outbox.backlogs()] == [1]


def test_relays_in_threads_send_each_event_once_and_in_order() -> None:
    """Four of them, while two producers write."""
    shop = Shop(batch=10)
    stop = threading.Event()
    loops = [Loop([Relay(queue="shop", storage=shop.outbox, publisher=shop.broker, batch=10)], stop) for _ in range(4)]
    relays = [threading.Thread(target=loop.run) for loop in loops]
    producers = [
        threading.Thread(target=lambda key=key: [shop.publish(f"{key}{n}") for n in range(300)]) for key in "ab"
    ]
    for thread in (*relays, *producers):
        thread.start()
    for thread in producers:
        thread.join()

    Loop([shop.relay]).run(drain=True, seconds=20)
    stop.set()
    for thread in relays:
        thread.join()
    Loop([shop.relay]).run(drain=True, seconds=20)

    for key in "ab":
        assert [text for text in shop.sent if text[0] == key] == [f"{key}{n}" for n in range(300)]
    assert shop.counts == (0, 0, 0, 0)
