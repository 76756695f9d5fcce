"""``append`` and ``hold``: rows appear with their transaction, lanes have one holder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from attrs import evolve

from simplecqrs.queue import Failure, Inspection, Storage, lane_of
from tests.contracts.queue_harness import HOUR, QUEUE, Boom, MiB, QueueHarness, make, texts


class HoldingContract(QueueHarness):
    """``append`` and ``hold``: rows appear with their transaction, lanes have one holder."""

    def test_what_is_appended_is_read_as_it_was(self, storage: Storage) -> None:
        """All of an envelope comes back, with its queue and lane, not parked and never failed."""
        envelope = make("\N{SNOWMAN}", key="K\u00e4se/1", headers={"user": "Zo\u00eb"})

        self.fill(storage, envelope)

        [row] = self.read(storage)
        assert row.envelope == envelope
        assert (row.queue, row.lane, row.parked, row.attempts) == (QUEUE, lane_of(envelope), False, 0)

    def test_payloads_are_bytes(self, storage: Storage) -> None:
        """A payload need not be text."""
        envelope = evolve(make(), payload=bytes(range(256)))

        self.fill(storage, envelope)

        assert self.read(storage)[0].envelope.payload == bytes(range(256))

    def test_ids_grow_in_the_order_of_appending(self, storage: Storage) -> None:
        """Rows of one append are in its order, those of the next one behind them."""
        self.fill(storage, *(make(str(n), key="a") for n in range(3)))
        self.fill(storage, make("3", key="a"))

        rows = self.read(storage)

        assert texts(rows) == ["0", "1", "2", "3"]
        assert [row.id for row in rows] == sorted({row.id for row in rows})

    def test_many_rows_are_appended_at_once(self, storage: Storage) -> None:
        """There is no limit to the rows of one append."""
        self.fill(storage, *(make(str(n), key="a") for n in range(2500)))

        assert texts(self.read(storage, limit=5000)) == [str(n) for n in range(2500)]

    def test_appending_nothing_is_fine(self, storage: Storage) -> None:
        """An empty append does nothing."""
        self.fill(storage)

        assert not self.read(storage)

    def test_one_message_may_be_in_several_queues(self, storage: Storage) -> None:
        """The same id once per queue is no conflict; each queue has its own row."""
        envelope = make("x", key="a")
        with self.transaction():
            storage.append([("one", lane_of(envelope), envelope), ("two", lane_of(envelope), envelope)])

        assert texts(self.read(storage, queue="one")) == ["x"]
        assert texts(self.read(storage, queue="two")) == ["x"]

    def test_what_was_appended_in_a_transaction_that_failed_is_not_there(self, storage: Storage) -> None:
        """Rows share the fate of their transaction."""
        with pytest.raises(Boom), self.transaction():
            storage.append([(QUEUE, 0, make("x"))])
            raise Boom

        assert not self.read(storage)

    def test_what_is_not_committed_is_not_seen(self, storage: Storage) -> None:
        """Another thread sees rows after their commit, not before."""

        @contextmanager
        def appending() -> Iterator[None]:
            with self.transaction():
                storage.append([(QUEUE, 0, make("x"))])
                yield

        if self.parallel:
            with self.meanwhile(appending):
                assert not self.read(storage)

        self.fill(storage, make("y"))
        assert "y" in texts(self.read(storage))

    # hold

    def test_nothing_is_held_where_there_is_nothing_to_do(self, storage: Storage) -> None:
        """An empty queue yields None, and so does one whose lanes have no work."""
        self.fill(storage, make("x", key="a"), queue="other")

        with self.hold(storage) as held:
            assert held is None

    def test_lanes_that_were_not_asked_for_are_not_read(self, storage: Storage) -> None:
        """Only rows of the lanes that are held are returned."""
        with self.transaction():
            storage.append([(QUEUE, 3, make("three", key="a")), (QUEUE, 5, make("five", key="b"))])

        with self.hold(storage, lanes=[5, 7]) as held:
            assert held is not None
            assert texts(held.read(10, MiB)) == ["five"]

    def test_a_limit_takes_the_first_lanes_that_have_work(self, storage: Storage) -> None:
        """Lanes without work do not count against the limit; the order is the caller's."""
        with self.transaction():
            storage.append([(QUEUE, lane, make(str(lane), key=str(lane))) for lane in (1, 4, 9)])

        with self.hold(storage, lanes=[0, 9, 2, 4, 1], limit=1) as held:
            assert held is not None
            assert texts(held.read(10, MiB)) == ["9"]
        with self.hold(storage, lanes=[0, 9, 2, 4, 1], limit=2) as held:
            assert held is not None
            assert sorted(texts(held.read(10, MiB))) == ["4", "9"]

    def test_a_lane_that_only_waits_has_no_work(self, storage: Storage) -> None:
        """A blocked key that is not due is no work."""
        self.fill(storage, make("x", key="a"))
        self.park_first(storage, HOUR)

        with self.hold(storage) as held:
            assert held is None

    def test_a_lane_that_is_held_is_passed_over_by_others(self, storage: Storage) -> None:
        """A second worker gets nothing of a lane that is held, at once, and gets it afterwards."""
        self.fill(storage, make("x", key="a"))

        with self.hold(storage) as held:
            assert held is not None
            assert texts(held.read(10, MiB)) == ["x"]
            assert self.in_thread(lambda: self.read(storage)) == []

        assert texts(self.in_thread(lambda: self.read(storage))) == ["x"]

    @pytest.mark.needs("parallel")
    def test_lanes_that_are_free_are_held_by_others(self, storage: Storage) -> None:
        """A second worker gets the lanes that the first one has not."""
        with self.transaction():
            storage.append([(QUEUE, 1, make("one", key="a")), (QUEUE, 2, make("two", key="b"))])

        with self.hold(storage, lanes=[1, 2], limit=1) as held:
            assert held is not None
            assert texts(self.in_thread(lambda: self.read(storage))) == ["two"]

    @pytest.mark.needs("parallel")
    def test_queues_do_not_share_their_locks(self, storage: Storage) -> None:
        """Who holds a lane of one queue is not in the way of another queue."""
        self.fill(storage, make("x", key="a"))
        self.fill(storage, make("y", key="a"), queue="other")

        with self.hold(storage):
            assert texts(self.in_thread(lambda: self.read(storage, queue="other"))) == ["y"]

    def test_others_append_while_lanes_are_held_for_a_broker(self, storage: Storage) -> None:
        """Who waits for a server (``local=False``) does not keep producers from writing."""
        self.fill(storage, make("x", key="a"))

        with self.hold(storage, local=False) as held:
            assert held is not None
            rows = held.read(10, MiB)
            self.in_thread(lambda: self.fill(storage, make("y", key="a")))
            assert held.done(rows) == 1

        assert texts(self.read(storage)) == ["y"]

    @pytest.mark.parametrize("local", [True, False])
    @pytest.mark.needs("whole")
    def test_what_an_exception_leaves_is_undone(self, storage: Storage, inspection: Inspection, *, local: bool) -> None:
        """Deleting, parking and moving are rolled back together."""
        self.fill(storage, make("1", key="a"), make("2", key="a"), make("3", key="b"), make("4", key="c"))
        with pytest.raises(Boom), self.hold(storage, local=local) as held:
            assert held is not None
            rows = {row.envelope.payload.decode(): row for row in held.read(10, MiB)}
            held.done([rows["4"]])
            held.park(rows["1"], Failure("no", 1, HOUR))
            held.park(rows["3"], Failure("no", 1, None))
            raise Boom

        assert sorted(texts(self.read(storage))) == ["1", "2", "3", "4"]
        assert self.backlog(inspection).blocked == 0
        assert not self.letters(inspection)

    def test_a_lane_is_free_after_an_exception(self, storage: Storage) -> None:
        """Locks end with their transaction, however it ends."""
        self.fill(storage, make("x", key="a"))
        with pytest.raises(Boom), self.hold(storage):
            raise Boom

        assert texts(self.in_thread(lambda: self.read(storage))) == ["x"]
