"""``Inspection``: what is dead, and what an operator may do about it."""

from __future__ import annotations

from uuid import UUID

from simplecqrs.queue import Backlog, Inspection, Storage
from tests.contracts.queue_harness import HOUR, QUEUE, QueueHarness, make, texts


class LettersContract(QueueHarness):
    """``Inspection``: what is dead, and what an operator may do about it."""

    def test_what_died_is_a_letter_with_all_that_is_known(self, storage: Storage, inspection: Inspection) -> None:
        """An operator sees what it was, why it died, and its bytes."""
        envelope = make("x", key="a", headers={"user": "ada"})
        self.fill(storage, envelope)

        self.park_first(storage, None, attempts=10)

        [letter] = self.letters(inspection)
        assert (letter.box, letter.queue, letter.dead) == (self.box, QUEUE, True)
        assert (letter.name, letter.topic, letter.key) == ("OrderPlaced", "orders", "a")
        assert UUID(letter.message_id) == envelope.id
        assert (letter.reason, letter.cause, letter.attempts) == ("ValueError: no\nmore of it", "ValueError: no", 10)
        assert bytes(letter.payload) == b"x"
        assert "user" in letter.headers
        assert "ada" in letter.headers
        assert letter.since.tzinfo is not None
        assert letter.next_at is None

    def test_letters_come_oldest_first(self, storage: Storage, inspection: Inspection) -> None:
        """In the order in which they died."""
        for text in "123":
            self.fill(storage, make(text, key=text))
            self.park_first(storage, None)

        assert [letter.payload for letter in self.letters(inspection)] == [b"1", b"2", b"3"]
        assert len({letter.id for letter in self.letters(inspection)}) == 3

    def test_what_is_parked_is_no_dead_letter(self, storage: Storage, inspection: Inspection) -> None:
        """It will be tried again."""
        self.fill(storage, make("1", key="a"))
        self.park_first(storage, HOUR)

        assert not self.letters(inspection)

    def test_a_dead_one_that_holds_keeps_its_key_blocked(self, storage: Storage, inspection: Inspection) -> None:
        """What was there waits, and what comes later waits behind it."""
        self.fill(storage, make("1", key="a"), make("2", key="a"))
        self.park_first(storage, None)
        self.fill(storage, make("3", key="a"), make("4", key="b"))

        assert texts(self.read(storage)) == ["4"]
        backlog = self.backlog(inspection)
        assert (backlog.pending, backlog.parked, backlog.blocked, backlog.dead) == (1, 2, 1, 1)

    def test_a_dead_one_that_holds_keeps_an_empty_key_blocked(self, storage: Storage, inspection: Inspection) -> None:
        """It holds although nothing waits behind it yet."""
        self.fill(storage, make("1", key="a"))
        self.park_first(storage, None)
        assert self.backlog(inspection).blocked == 1

        self.fill(storage, make("2", key="a"))

        assert not self.read(storage)

    def test_behind_a_dead_one_that_does_not_hold_the_key_goes_on(
        self, storage: Storage, inspection: Inspection
    ) -> None:
        """Its followers are due at once, in their order, with all their attempts."""
        self.fill(storage, make("1", key="a"), make("2", key="a"))
        self.park_first(storage, 0, attempts=9)
        self.fill(storage, make("3", key="a"))

        self.park_first(storage, None, attempts=10, hold=False)

        rows = self.read(storage)
        assert texts(rows)[0] == "2"
        assert rows[0].attempts == 0
        assert self.drain(storage) == ["2", "3"]
        assert (self.backlog(inspection).blocked, self.backlog(inspection).dead) == (0, 1)

    def test_a_dead_one_that_does_not_hold_and_has_no_followers_blocks_nothing(
        self, storage: Storage, inspection: Inspection
    ) -> None:
        """The next one of the key is new, not parked."""
        self.fill(storage, make("1", key="a"))
        self.park_first(storage, None, hold=False)
        assert self.backlog(inspection).blocked == 0

        self.fill(storage, make("2", key="a"))

        assert [(row.envelope.payload, row.parked) for row in self.read(storage)] == [(b"2", False)]

    def test_what_has_no_key_holds_nothing_when_dead(self, storage: Storage, inspection: Inspection) -> None:
        """No order, no followers."""
        with self.transaction():
            storage.append([(QUEUE, 0, make("1")), (QUEUE, 0, make("2"))])

        self.park_first(storage, None, hold=True)

        assert texts(self.read(storage)) == ["2"]
        assert (self.backlog(inspection).blocked, self.backlog(inspection).dead) == (0, 1)

    def test_retry_puts_a_dead_one_ahead_of_its_followers(self, storage: Storage, inspection: Inspection) -> None:
        """It is due now, has all its attempts, and is no dead letter any more."""
        self.fill(storage, make("1", key="a"), make("2", key="a"))
        dead = self.park_first(storage, None, attempts=10)
        self.fill(storage, make("3", key="a"))
        [letter] = self.letters(inspection)

        assert inspection.retry(letter.id) is True

        assert not self.letters(inspection)
        rows = self.read(storage)
        assert (rows[0].id, rows[0].envelope, rows[0].attempts) == (dead.id, dead.envelope, 0)
        assert self.drain(storage) == ["1", "2", "3"]
        assert self.backlog(inspection) == Backlog(self.box, QUEUE, 0, 0, 0, 0)

    def test_retry_works_where_the_key_went_on(self, storage: Storage, inspection: Inspection) -> None:
        """After ``continue`` the dead one is tried before what is new."""
        self.fill(storage, make("1", key="a"))
        self.park_first(storage, None, hold=False)
        self.fill(storage, make("2", key="a"))

        assert inspection.retry(self.letters(inspection)[0].id) is True

        first = self.read(storage, limit=1)
        assert texts(first) == ["1"]
        self.done(storage, *first)
        assert texts(self.read(storage)) == ["2"]

    def test_retry_of_what_has_no_key(self, storage: Storage, inspection: Inspection) -> None:
        """It is read again, and done as ever."""
        self.fill(storage, make("1"))
        self.park_first(storage, None)

        assert inspection.retry(self.letters(inspection)[0].id) is True

        rows = self.read(storage)
        assert texts(rows) == ["1"]
        self.done(storage, *rows)
        assert self.backlog(inspection).blocked == 0

    def test_what_was_retried_may_die_again(self, storage: Storage, inspection: Inspection) -> None:
        """Any number of times."""
        self.fill(storage, make("1", key="a"), make("2", key="a"))
        for _ in range(2):
            self.park_first(storage, None)
            assert inspection.retry(self.letters(inspection)[0].id) is True

        assert texts(self.read(storage)) == ["1", "2"]

    def test_skip_drops_a_dead_one_and_its_key_goes_on(self, storage: Storage, inspection: Inspection) -> None:
        """Its followers are due at once."""
        self.fill(storage, make("1", key="a"), make("2", key="a"))
        self.park_first(storage, None)
        [letter] = self.letters(inspection)

        assert inspection.skip(letter.id) is True

        assert not self.letters(inspection)
        rows = self.read(storage)
        assert [(row.envelope.payload, row.attempts) for row in rows] == [(b"2", 0)]
        self.done(storage, *rows)
        assert self.backlog(inspection).blocked == 0

    def test_skip_of_the_only_one_unblocks_its_key(self, storage: Storage, inspection: Inspection) -> None:
        """What comes next is new."""
        self.fill(storage, make("1", key="a"))
        self.park_first(storage, None)
        inspection.skip(self.letters(inspection)[0].id)
        self.fill(storage, make("2", key="a"))

        assert [(row.envelope.payload, row.parked) for row in self.read(storage)] == [(b"2", False)]
        assert self.backlog(inspection).blocked == 0

    def test_skip_leaves_the_schedule_of_a_key_that_went_on(self, storage: Storage, inspection: Inspection) -> None:
        """A dead letter that holds nothing does not make due what waits for something else."""
        self.fill(storage, make("1", key="a"), make("2", key="a"))
        self.park_first(storage, None, hold=False)
        self.park_first(storage, HOUR)

        assert inspection.skip(self.letters(inspection)[0].id) is True

        assert not self.read(storage)
        assert self.backlog(inspection).blocked == 1

    def test_a_letter_that_is_not_there_is_neither_retried_nor_skipped(
        self, storage: Storage, inspection: Inspection
    ) -> None:
        """Twice is once; and an unknown number is False."""
        self.fill(storage, make("1", key="a"))
        self.park_first(storage, None)
        [letter] = self.letters(inspection)
        inspection.skip(letter.id)

        assert inspection.skip(letter.id) is False
        assert inspection.retry(letter.id) is False

    # backlogs

    def test_backlogs_tell_what_waits_in_each_queue(self, storage: Storage, inspection: Inspection) -> None:
        """Queue by queue, with the age of the oldest in seconds."""
        self.fill(storage, make("1", key="a"), make("2", key="b"))
        self.fill(storage, make("3", key="a"), queue="other")

        assert (self.backlog(inspection).pending, self.backlog(inspection, "other").pending) == (2, 1)
        oldest = self.backlog(inspection).oldest
        assert oldest is not None
        assert 0 <= oldest < self.patience

    def test_an_empty_queue_has_no_oldest(self, storage: Storage, inspection: Inspection) -> None:
        """Nothing waits, nothing is old."""
        self.fill(storage, make("1", key="a"))
        self.done(storage, *self.read(storage))

        assert self.backlog(inspection) == Backlog(self.box, QUEUE, 0, 0, 0, 0)
