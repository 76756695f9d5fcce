"""``take``: one row, one transaction, under its lane's lock."""

from __future__ import annotations

import time

import pytest

from simplecqrs.queue import LANES, Failure, Inspection, Storage, Work
from tests.contracts.queue_harness import HOUR, QUEUE, Boom, QueueHarness, make, texts


class TakingContract(QueueHarness):
    """``take``: one row, one transaction, under its lane's lock."""

    def test_take_deletes_a_row(self, storage: Storage) -> None:
        """What is taken is gone when the transaction ends well."""
        self.fill(storage, make("1", key="a"), make("2", key="a"))

        with storage.take(self.read(storage)[0], idle=60) as ours:
            assert ours is True

        assert texts(self.read(storage)) == ["2"]

    def test_take_leaves_the_row_if_an_exception_leaves_it(self, storage: Storage) -> None:
        """What its handler could not do, is to be done again."""
        self.fill(storage, make("1", key="a"))
        with pytest.raises(Boom), storage.take(self.read(storage)[0], idle=60):
            raise Boom

        assert texts(self.read(storage)) == ["1"]

    def test_take_shares_its_transaction(self, storage: Storage) -> None:
        """What is written inside is committed, and rolled back, with it."""
        self.fill(storage, make("1", key="a"), make("2", key="a"))
        first, second = self.read(storage)
        with storage.take(first, idle=60):
            storage.append([("other", 0, make("written", key="a"))])
        with pytest.raises(Boom), storage.take(second, idle=60):
            storage.append([("other", 0, make("undone", key="a"))])
            raise Boom

        assert texts(self.read(storage, queue="other")) == ["written"]

    def test_what_is_gone_is_not_taken(self, storage: Storage) -> None:
        """Who was overtaken is told."""
        self.fill(storage, make("1", key="a"))
        [row] = self.read(storage)
        self.done(storage, row)

        with storage.take(row, idle=60) as ours:
            assert ours is False

    def test_what_was_parked_meanwhile_is_not_taken(self, storage: Storage) -> None:
        """A row that somebody else failed on waits for its time."""
        self.fill(storage, make("1", key="a"), make("2", key="a"))
        rows = self.read(storage)
        self.park(storage, rows[0], Failure("no", 1, HOUR))

        with storage.take(rows[0], idle=60) as ours:
            assert ours is False

    def test_what_is_dead_is_not_taken(self, storage: Storage) -> None:
        """Not before somebody retries it."""
        self.fill(storage, make("1", key="a"))
        self.park_first(storage, 0)
        [row] = self.read(storage)
        self.park(storage, row, Failure("no", 2, None))

        with storage.take(row, idle=60) as ours:
            assert ours is False

    def test_a_parked_row_is_taken_and_its_key_unblocked(self, storage: Storage, inspection: Inspection) -> None:
        """A retry is taken like any row; the last one of its key unblocks it."""
        self.fill(storage, make("1", key="a"), make("2", key="a"))
        self.park_first(storage, 0)
        first, second = self.read(storage)

        with storage.take(first, idle=60) as ours:
            assert ours is True
        assert self.backlog(inspection).blocked == 1
        with storage.take(second, idle=60) as ours:
            assert ours is True
        assert self.backlog(inspection).blocked == 0

    def test_what_others_hold_is_not_taken(self, storage: Storage) -> None:
        """A lane has one worker at a time, at once and without waiting."""
        self.fill(storage, make("1", key="a"), make("2", key="a"))
        first, second = self.read(storage)

        def take() -> bool:
            with storage.take(second, idle=60) as ours:
                return ours

        with self.hold(storage):
            assert self.in_thread(take) is False
        with self.meanwhile(lambda: storage.take(first, idle=60)) as ours:
            assert ours is True
            assert take() is False
        assert take() is True

    def test_a_lane_whose_row_is_taken_is_not_held(self, storage: Storage) -> None:
        """Taking locks as holding does."""
        self.fill(storage, make("1", key="a"), make("2", key="a"))
        [first, _] = self.read(storage)

        with self.meanwhile(lambda: storage.take(first, idle=60)):
            assert self.read(storage) == []

        assert texts(self.read(storage)) == ["2"]

    def test_take_first_deletes_and_yields_what_was_first(self, storage: Storage) -> None:
        """What look has found comes with its content, and is gone when the transaction ends well."""
        self.fill(storage, make("1", key="a"), make("2", key="a"))
        self.read(storage)  # the lane was worked before, as those are to which a worker comes by this way
        [work] = storage.look(QUEUE, range(LANES))

        with storage.take_first(QUEUE, work, idle=60) as row:
            assert row is not None
            assert texts([row]) == ["1"]

        assert texts(self.read(storage)) == ["2"]

    def test_take_first_leaves_the_row_if_an_exception_leaves_it(self, storage: Storage) -> None:
        """What its handler could not do, is to be done again."""
        self.fill(storage, make("1", key="a"))
        [work] = storage.look(QUEUE, range(LANES))
        with pytest.raises(Boom), storage.take_first(QUEUE, work, idle=60):
            raise Boom

        assert texts(self.read(storage)) == ["1"]

    def test_take_first_leaves_what_is_gone_or_parked_meanwhile(self, storage: Storage) -> None:
        """Who was overtaken since the look gets nothing."""
        self.fill(storage, make("1", key="a"), make("2", key="b"))
        rows = self.read(storage)
        first, second = (Work(row.lane, row.id) for row in rows)
        self.done(storage, rows[0])
        self.park(storage, rows[1], Failure("no", 1, HOUR))

        for work in (first, second):
            with storage.take_first(QUEUE, work, idle=60) as row:
                assert row is None

    def test_take_first_leaves_what_waits_behind_a_blocked_key(self, storage: Storage) -> None:
        """A new row of a key that failed is not yet moved behind it, and is not to overtake it."""
        self.fill(storage, make("1", key="a"))
        self.park(storage, self.read(storage)[0], Failure("no", 1, HOUR))
        self.fill(storage, make("2", key="a"))
        [work] = storage.look(QUEUE, range(LANES))

        with storage.take_first(QUEUE, work, idle=60) as row:
            assert row is None

    def test_take_first_leaves_what_others_hold(self, storage: Storage) -> None:
        """A lane has one worker at a time, and taking its first row locks as holding does."""
        self.fill(storage, make("1", key="a"))
        [work] = storage.look(QUEUE, range(LANES))

        def take() -> bool:
            with storage.take_first(QUEUE, work, idle=60) as row:
                return row is not None

        with self.hold(storage):
            assert self.in_thread(take) is False
        with self.meanwhile(lambda: storage.take_first(QUEUE, work, idle=60)):
            assert self.read(storage) == []

    def test_two_workers_take_each_row_once(self, storage: Storage) -> None:
        """Threads that take all they see share the rows among them, none twice."""
        self.fill(storage, *(make(str(n), key=str(n % 5)) for n in range(60)))
        taken: list[str] = []

        def work() -> None:
            ends = time.monotonic() + self.patience
            while len(taken) < 60 and time.monotonic() < ends:
                for row in self.read(storage, limit=7):
                    with storage.take(row, idle=60) as ours:
                        if not ours:
                            break
                        taken.append(texts([row])[0])

        for future in [self.start(work) for _ in range(3)]:
            future.result(self.patience + 5)

        assert sorted(taken, key=int) == [str(n) for n in range(60)]
        for key in range(5):
            of_key = [int(text) for text in taken if int(text) % 5 == key]
            assert of_key == sorted(of_key)
