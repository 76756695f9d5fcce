"""``read`` and ``done``: what is due and what is new, in order, deleted by id."""

from __future__ import annotations

from simplecqrs.queue import Inspection, Storage
from tests.contracts.queue_harness import HOUR, QUEUE, QueueHarness, make, texts


class ReadingContract(QueueHarness):
    """``read`` and ``done``: what is due and what is new, in order, deleted by id."""

    def test_a_limit_bounds_the_rows(self, storage: Storage) -> None:
        """No more rows than asked for, the first ones of the lane."""
        self.fill(storage, *(make(str(n), key="a") for n in range(5)))

        assert texts(self.read(storage, limit=3)) == ["0", "1", "2"]

    def test_bytes_bound_the_rows(self, storage: Storage) -> None:
        """The first row that is too much is the last one, at most: no later one takes its place."""
        self.fill(
            storage, make("a" * 40, key="a"), make("b" * 40, key="a"), make("c" * 40, key="a"), make("d", key="a")
        )

        read = [text[0] for text in texts(self.read(storage, max_bytes=100))]
        assert read in (["a", "b"], ["a", "b", "c"])

    def test_one_row_is_returned_whatever_its_size(self, storage: Storage) -> None:
        """A row larger than the bytes does not stop the queue."""
        self.fill(storage, make("a" * 200, key="a"), make("b", key="a"))

        assert [text[0] for text in texts(self.read(storage, max_bytes=100))] == ["a"]

    def test_reading_takes_nothing_away(self, storage: Storage) -> None:
        """What was read and not settled is read again."""
        self.fill(storage, make("x", key="a"))

        assert self.read(storage) == self.read(storage)

    def test_each_lane_is_read_in_the_order_of_its_ids(self, storage: Storage) -> None:
        """Keys that share lanes stay in the order of appending, each by itself."""
        self.fill(storage, *(make(f"{key}{n}", key=key) for n in range(10) for key in "abcdef"))

        read = texts(self.read(storage))

        for key in "abcdef":
            assert [text for text in read if text[0] == key] == [f"{key}{n}" for n in range(10)]

    def test_a_due_row_comes_before_new_ones(self, storage: Storage) -> None:
        """Retries go first."""
        with self.transaction():
            storage.append([(QUEUE, 0, make("1", key="a")), (QUEUE, 0, make("2", key="b"))])
        self.park_first(storage, 0)

        with self.transaction():
            storage.append([(QUEUE, 0, make("3", key="c"))])

        assert texts(self.read(storage)) == ["1", "2", "3"]

    def test_a_due_row_says_how_often_it_failed_and_its_followers_did_not(self, storage: Storage) -> None:
        """The head has the attempts of its key; what waited behind it has none."""
        self.fill(storage, make("1", key="a"), make("2", key="a"))
        self.park_first(storage, 0, attempts=3)

        rows = self.read(storage)

        assert [(row.envelope.payload, row.parked, row.attempts) for row in rows] == [(b"1", True, 3), (b"2", True, 0)]

    def test_new_rows_of_a_blocked_key_move_behind_it(self, storage: Storage, inspection: Inspection) -> None:
        """They are not returned, and are parked from then on."""
        self.fill(storage, make("1", key="a"))
        self.park_first(storage, HOUR)
        self.fill(storage, make("2", key="a"), make("3", key="b"))

        assert texts(self.read(storage)) == ["3"]
        assert (self.backlog(inspection).pending, self.backlog(inspection).parked) == (1, 2)

    def test_a_key_is_blocked_in_its_topic_and_queue_only(self, storage: Storage) -> None:
        """The same key of another topic, or in another queue, goes on."""
        self.fill(storage, make("1", key="a", topic="orders"))
        self.park_first(storage, HOUR)
        self.fill(storage, make("2", key="a", topic="customers"))
        self.fill(storage, make("3", key="a", topic="orders"), queue="other")

        assert texts(self.read(storage)) == ["2"]
        assert texts(self.read(storage, queue="other")) == ["3"]

    def test_keys_are_told_apart_by_case(self, storage: Storage) -> None:
        """``a`` and ``A`` are two keys."""
        with self.transaction():
            storage.append([(QUEUE, 0, make("1", key="a"))])
        self.park_first(storage, HOUR)
        with self.transaction():
            storage.append([(QUEUE, 0, make("2", key="A"))])

        assert texts(self.read(storage)) == ["2"]

    def test_rows_behind_a_long_blocked_key_are_found(self, storage: Storage) -> None:
        """More rows of a blocked key than the limit do not hide what comes after them."""
        with self.transaction():
            storage.append([(QUEUE, 0, make("1", key="a"))])
        self.park_first(storage, HOUR)
        with self.transaction():
            storage.append([(QUEUE, 0, make("n", key="a")) for _ in range(30)])
            storage.append([(QUEUE, 0, make("2", key="b"))])

        assert texts(self.read(storage, limit=5)) == ["2"]

    def test_new_rows_of_a_due_key_come_after_its_parked_ones(self, storage: Storage) -> None:
        """A key's order holds while it is retried: its new rows wait for a later read."""
        self.fill(storage, make("1", key="a"), make("2", key="a"))
        self.park_first(storage, 0)
        self.fill(storage, make("3", key="a"))

        first = self.read(storage, limit=2)
        assert texts(first) == ["1", "2"]
        self.done(storage, *first)
        assert texts(self.read(storage)) == ["3"]

    # done

    def test_done_deletes_just_these_rows(self, storage: Storage) -> None:
        """What lies between and before them stays."""
        self.fill(storage, *(make(str(n), key="a") for n in range(5)))
        rows = self.read(storage)

        assert self.done(storage, rows[1], rows[3]) == 2
        assert texts(self.read(storage)) == ["0", "2", "4"]

    def test_done_counts_what_was_still_there(self, storage: Storage) -> None:
        """Deleting twice is no error, and tells the truth."""
        self.fill(storage, make("1", key="a"), make("2", key="a"), make("3", key="a"))
        rows = self.read(storage)
        self.done(storage, rows[0])

        assert self.done(storage, *rows[:2]) == 1

    def test_done_with_nothing_is_fine(self, storage: Storage) -> None:
        """No rows, none deleted."""
        self.fill(storage, make("1", key="a"))

        assert self.done(storage) == 0

    def test_done_deletes_parked_rows_and_unblocks_a_key_that_has_none_left(
        self, storage: Storage, inspection: Inspection
    ) -> None:
        """A retry that succeeded lets the key go on as if nothing had been."""
        self.fill(storage, make("1", key="a"), make("2", key="a"))
        self.park_first(storage, 0)
        self.done(storage, self.read(storage)[0])
        assert self.backlog(inspection).blocked == 1

        self.done(storage, self.read(storage)[0])

        assert self.backlog(inspection).blocked == 0
        self.fill(storage, make("3", key="a"))
        [row] = self.read(storage)
        assert (row.parked, row.attempts) == (False, 0)

    def test_followers_go_on_without_a_wait_when_the_head_is_done(self, storage: Storage) -> None:
        """They are due as their head was."""
        self.fill(storage, *(make(str(n), key="a") for n in range(3)))
        self.park_first(storage, 0, attempts=4)
        self.done(storage, self.read(storage)[0])

        rows = self.read(storage)

        assert [(row.envelope.payload, row.attempts) for row in rows] == [(b"1", 0), (b"2", 0)]
