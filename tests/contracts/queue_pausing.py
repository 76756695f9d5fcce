"""``Held.pause``: a consumer's whole queue stops for a while, since what its handlers need is down."""

from __future__ import annotations

import threading

import pytest

from simplecqrs.backoff import Pause
from simplecqrs.letters import Wanted
from simplecqrs.queue import LANES, Inspection, Row, Storage
from tests.contracts.queue_harness import HOUR, QUEUE, MiB, QueueHarness, make, texts

LONG = Pause(first=HOUR, cap=4 * HOUR)
#: Is over as soon as somebody looks.
SHORT = Pause(first=1e-6, cap=1e-6)


class PausingContract(QueueHarness):
    """Pauses of an inbox."""

    def pause(self, storage: Storage, row: Row, pause: Pause = LONG, *, took: float = 0.0) -> float | None:
        """Hold the row's lane, whether its queue pauses or not, and let the queue pause."""
        with storage.hold(row.queue, lanes=[row.lane], limit=1, local=True, idle=60.0) as held:
            assert held is not None
            return held.pause(row, pause, "ConnectionError: the bank\nis closed", took=took)

    def test_a_queue_that_pauses_has_no_work(self, storage: Storage) -> None:
        """None of its lanes, whatever comes, nor a retry that is due; other queues go on."""
        self.fill(storage, make("1", key="a"), make("2", key="b"), make("3", key="c"))
        self.fill(storage, make("4", key="a"), queue="other")
        self.park_first(storage, 0)

        assert self.pause(storage, self.read(storage)[0]) == HOUR
        self.fill(storage, make("5", key="d"))

        assert storage.look(QUEUE, range(LANES)) == []
        assert texts(self.read(storage, queue="other")) == ["4"]

    def test_a_queue_that_pauses_gives_nothing_to_who_does_not_look(self, storage: Storage) -> None:
        """Whosever lane it is."""
        self.fill(storage, make("1", key="a"))
        with self.hold(storage) as held:
            assert held is not None
            [row] = held.read(1, MiB)
            held.claim(row, 7, most=2)
        self.pause(storage, row)

        with storage.take_own(QUEUE, 7, lanes=range(LANES), idle=60) as taken:
            assert taken is None

    def test_what_has_failed_stays_where_it_was(self, storage: Storage) -> None:
        """New or parked, with its attempts, in its order."""
        self.fill(storage, make("1", key="a"), make("2", key="a"), make("3", key="b"))
        self.park_first(storage, 0, attempts=3)
        before = self.read(storage)

        for row in before:
            self.pause(storage, row, SHORT)

        assert self.read(storage) == before
        assert before[0].attempts == 3

    def test_it_goes_on_when_the_pause_is_over(self, storage: Storage, inspection: Inspection) -> None:
        """And nobody is shown a pause that is over."""
        self.fill(storage, make("1"))

        self.pause(storage, self.read(storage)[0], SHORT)

        assert texts(self.read(storage)) == ["1"]
        assert inspection.blocked() == []

    def test_who_pauses_a_queue_that_pauses_changes_nothing(self, storage: Storage) -> None:
        """Another worker, which was in the middle of a message, says the same."""
        self.fill(storage, make("1"))
        [row] = self.read(storage)
        self.pause(storage, row)

        assert self.pause(storage, row) is None

    def test_pauses_in_a_row_grow(self, storage: Storage, inspection: Inspection) -> None:
        """Up to their cap, as long as what begins after one fails again."""
        self.fill(storage, make("1"))
        [row] = self.read(storage)

        lengths = []
        for _ in range(4):
            lengths.append(self.pause(storage, row))
            [paused] = inspection.blocked()
            inspection.hasten(paused.id)

        assert lengths == [HOUR, 2 * HOUR, 4 * HOUR, 4 * HOUR]

    @pytest.mark.parametrize(("took", "seconds"), [(0.0, 1e-6), (HOUR, 2e-6)], ids=["quiet", "slow"])
    def test_after_a_quiet_time_they_begin_anew(self, storage: Storage, took: float, seconds: float) -> None:
        """What began right after the pause, and took its time to fail, was no quiet time."""
        self.fill(storage, make("1"))
        [row] = self.read(storage)
        self.pause(storage, row, Pause(first=1e-6, cap=HOUR))
        threading.Event().wait(0.01)  # databases tell milliseconds apart

        assert self.pause(storage, row, Pause(first=1e-6, cap=HOUR), took=took) == seconds

    def test_operators_see_a_pause_and_end_it(self, storage: Storage, inspection: Inspection) -> None:
        """As a blocked key without topic and key, with its cause."""
        self.fill(storage, make("1", key="a"))
        self.pause(storage, self.read(storage)[0])

        [paused] = inspection.blocked(Wanted(queue=QUEUE))
        assert paused.is_pause
        assert (paused.box, paused.topic, paused.key, paused.cause) == ("inbox", "", "", "ConnectionError: the bank")
        assert (paused.attempts, paused.waiting) == (1, 0)
        assert paused.next_at is not None
        assert 0.9 * HOUR < (paused.next_at - paused.since).total_seconds() < 1.1 * HOUR
        assert inspection.blocked(Wanted(queue="other")) == []

        assert inspection.hasten(paused.id) is True

        assert texts(self.read(storage)) == ["1"]
        assert inspection.blocked() == []

    def test_a_pause_is_no_blocked_key(self, storage: Storage, inspection: Inspection) -> None:
        """It is not counted as one."""
        self.fill(storage, make("1", key="a"))

        self.pause(storage, self.read(storage)[0])

        assert (self.backlog(inspection).pending, self.backlog(inspection).blocked) == (1, 0)

    def test_who_has_paused_did_not_die_of_the_message(self, storage: Storage) -> None:
        """However many workers in turn find that the bank is closed."""
        self.fill(storage, make("1", key="a"))
        for owner in (1, 2, 3, 4, 5):
            with self.hold(storage) as held:
                assert held is not None
                [row] = held.read(1, 1000)
                assert held.claim(row, owner, most=3) == 0
            self.pause(storage, row, SHORT)
        storage.release(QUEUE, 5)  # so that the next test finds a lane of nobody
