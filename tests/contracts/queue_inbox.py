"""``Inbox``: the door of a consumer, which lets a message in once."""

from __future__ import annotations

from uuid import UUID

import pytest
from attrs import evolve

from simplecqrs.envelope import Envelope
from simplecqrs.queue import Inbox, Inspection, Storage, Stored
from simplecqrs.transport import Garbage
from tests.contracts.queue_harness import HOUR, QUEUE, Boom, MiB, QueueHarness, make, texts


class InboxContract(QueueHarness):
    """``Inbox``: the door of a consumer."""

    box = "inbox"

    @pytest.fixture
    def inbox(self) -> Inbox:
        """Return the door of the storage."""
        raise NotImplementedError

    @pytest.fixture
    def outbox(self) -> Storage:
        """Return an empty outbox that shares its transactions with the inbox."""
        raise NotImplementedError

    def store(self, inbox: Inbox, *envelopes: Envelope, consumer: str = QUEUE) -> Stored:
        """Store a batch and commit."""
        with inbox.fetching(consumer, "orders") as ours:
            assert ours
            return inbox.store(consumer, envelopes)

    # store

    def test_what_is_stored_is_read_in_its_order(self, storage: Storage, inbox: Inbox) -> None:
        """A key comes out as it came in, over batches."""
        assert self.store(inbox, *(make(str(n), key="a") for n in range(3))) == Stored(3, 0)
        assert self.store(inbox, make("3", key="a")) == Stored(1, 0)

        assert texts(self.read(storage)) == ["0", "1", "2", "3"]

    def test_what_is_stored_comes_out_as_it_was(self, storage: Storage, inbox: Inbox) -> None:
        """The whole envelope, in the consumer's queue."""
        envelope = make("x", key="a", headers={"user": "ada"})
        self.store(inbox, envelope)

        [row] = self.read(storage)
        assert (row.envelope, row.queue, row.parked, row.attempts) == (envelope, QUEUE, False, 0)

    def test_storing_nothing_is_fine(self, storage: Storage, inbox: Inbox) -> None:
        """An empty batch stores nothing."""
        assert self.store(inbox) == Stored(0, 0)

    def test_what_was_seen_is_dropped(self, storage: Storage, inbox: Inbox, inspection: Inspection) -> None:
        """A redelivered message enters once; the rest of its batch enters, in order."""
        first, second, third = (make(text, key="a") for text in "123")
        self.store(inbox, first, second)

        assert self.store(inbox, second, third, first) == Stored(1, 2)

        assert texts(self.read(storage)) == ["1", "2", "3"]
        assert not self.letters(inspection)

    def test_what_repeats_inside_a_batch_is_dropped(self, storage: Storage, inbox: Inbox) -> None:
        """The first of them enters, where it stood."""
        first, second = make("1", key="a"), make("2", key="a")

        assert self.store(inbox, first, second, first, second, second) == Stored(2, 3)

        assert texts(self.read(storage)) == ["1", "2"]

    def test_what_was_handled_is_still_seen(self, storage: Storage, inbox: Inbox) -> None:
        """The door remembers longer than the inbox."""
        envelope = make("1", key="a")
        self.store(inbox, envelope)
        self.done(storage, *self.read(storage))

        assert self.store(inbox, envelope) == Stored(0, 1)
        assert not self.read(storage)

    def test_each_consumer_has_its_own_door(self, storage: Storage, inbox: Inbox) -> None:
        """What one has seen is new to another."""
        envelope = make("1", key="a")
        self.store(inbox, envelope)

        assert self.store(inbox, envelope, consumer="other") == Stored(1, 0)
        assert texts(self.read(storage, queue="other")) == ["1"]

    def test_ids_are_told_apart_by_source(self, storage: Storage, inbox: Inbox) -> None:
        """Two producers may give the same id."""
        envelope = make("1", key="a", source="web")
        self.store(inbox, envelope)

        assert self.store(inbox, evolve(envelope, source="shop", payload=b"2")) == Stored(1, 0)
        assert texts(self.read(storage)) == ["1", "2"]

    def test_sources_and_consumers_that_look_alike_have_doors_of_their_own(
        self, storage: Storage, inbox: Inbox
    ) -> None:
        """Letters in the other case and spaces at the end tell them apart, whatever a database thinks."""
        envelope = make("1", key="a", source="web")
        self.store(inbox, envelope)

        assert self.store(inbox, evolve(envelope, source="Web"), evolve(envelope, source="web ")) == Stored(2, 0)
        assert self.store(inbox, envelope, consumer=QUEUE.upper()) == Stored(1, 0)
        assert len(self.read(storage)) == 3

    def test_the_same_id_with_other_content_is_a_dead_letter(
        self, storage: Storage, inbox: Inbox, inspection: Inspection
    ) -> None:
        """It does not enter, is not new, blocks nothing, cannot be retried, and says what is wrong."""
        envelope = make("1", key="a")
        self.store(inbox, envelope)

        assert self.store(inbox, evolve(envelope, payload=b"forged"), make("2", key="a")).new == 1

        assert texts(self.read(storage)) == ["1", "2"]
        [letter] = self.letters(inspection)
        assert (letter.queue, bytes(letter.payload), letter.dead) == (QUEUE, b"forged", True)
        assert UUID(letter.message_id) == envelope.id
        assert "content" in letter.reason
        assert inspection.retry(letter.id) is False
        assert self.backlog(inspection).blocked == 0

    def test_the_same_id_with_other_content_inside_a_batch_is_a_dead_letter(
        self, storage: Storage, inbox: Inbox, inspection: Inspection
    ) -> None:
        """The first one enters."""
        envelope = make("1", key="a")

        assert self.store(inbox, envelope, evolve(envelope, payload=b"forged")).new == 1

        assert texts(self.read(storage)) == ["1"]
        assert [bytes(letter.payload) for letter in self.letters(inspection)] == [b"forged"]

    def test_a_large_batch_is_stored(self, storage: Storage, inbox: Inbox) -> None:
        """There is no limit to the messages of one batch; repeating it adds none."""
        batch = [make(str(n), key="a") for n in range(1500)]

        assert self.store(inbox, *batch) == Stored(1500, 0)
        assert self.store(inbox, *batch) == Stored(0, 1500)
        assert texts(self.read(storage, limit=5000)) == [str(n) for n in range(1500)]

    def test_what_is_stored_behind_a_blocked_key_waits(self, storage: Storage, inbox: Inbox) -> None:
        """The door knows nothing of blocked keys, the reader does."""
        self.store(inbox, make("1", key="a"))
        self.park_first(storage, HOUR)
        self.store(inbox, make("2", key="a"), make("3", key="b"))

        assert texts(self.read(storage)) == ["3"]

    # fetching

    @pytest.mark.needs("whole")
    def test_a_batch_that_an_exception_leaves_was_never_seen(self, storage: Storage, inbox: Inbox) -> None:
        """Rows, what was seen, and dead letters are undone together: the batch comes again."""
        envelope = make("1", key="a")
        with pytest.raises(Boom), inbox.fetching(QUEUE, "orders"):
            inbox.store(QUEUE, [envelope])
            raise Boom
        assert not self.read(storage)

        assert self.store(inbox, envelope) == Stored(1, 0)

    def test_a_feed_has_one_fetcher_at_a_time(self, inbox: Inbox, storage: Storage) -> None:
        """The second one is told so, at once; afterwards the feed is free."""

        def fetch() -> bool:
            with inbox.fetching(QUEUE, "orders") as ours:
                return ours

        with self.meanwhile(lambda: inbox.fetching(QUEUE, "orders")) as ours:
            assert ours is True
            assert fetch() is False
        assert fetch() is True
        with pytest.raises(Boom), inbox.fetching(QUEUE, "orders"):
            raise Boom
        assert self.in_thread(fetch) is True

    @pytest.mark.needs("parallel")
    def test_feeds_and_consumers_are_fetched_side_by_side(self, inbox: Inbox, storage: Storage) -> None:
        """The lock is one consumer's, for one feed."""

        def fetch(consumer: str, feed: str) -> bool:
            with inbox.fetching(consumer, feed) as ours:
                return ours

        with self.meanwhile(lambda: inbox.fetching(QUEUE, "orders")):
            assert fetch(QUEUE, "customers") is True
            assert fetch("other", "orders") is True

    def test_storing_joins_the_transaction_of_an_outbox(self, storage: Storage, inbox: Inbox, outbox: Storage) -> None:
        """The relay moves events into inboxes and deletes them in one transaction: both or neither."""
        envelope = make("1", key="a")
        self.fill(outbox, envelope, queue="database")
        with pytest.raises(Boom), self.hold(outbox, queue="database") as held:
            assert held is not None
            inbox.store(QUEUE, [envelope])
            held.done(held.read(10, MiB))
            raise Boom
        assert not self.read(storage)
        assert texts(self.read(outbox, queue="database")) == ["1"]

        with self.hold(outbox, queue="database") as held:
            assert held is not None
            assert inbox.store(QUEUE, [envelope]) == Stored(1, 0)
            held.done(held.read(10, MiB))

        assert texts(self.read(storage)) == ["1"]
        assert not self.read(outbox, queue="database")

    # bury

    def test_garbage_is_a_dead_letter_with_its_bytes(self, inbox: Inbox, inspection: Inspection) -> None:
        """What could not be read is kept as it came, with headers and error."""
        with inbox.fetching(QUEUE, "orders"):
            inbox.bury(QUEUE, [Garbage("no id", b"\x00\xff{", {"user": "ada"}), Garbage("no name", b"")])

        first, second = self.letters(inspection)
        assert (first.box, first.queue, first.dead) == ("inbox", QUEUE, True)
        assert (first.reason, bytes(first.payload)) == ("no id", b"\x00\xff{")
        assert "ada" in first.headers
        assert (second.reason, bytes(second.payload)) == ("no name", b"")
        assert self.backlog(inspection).dead == 2

    @pytest.mark.needs("whole")
    def test_garbage_shares_the_fate_of_its_batch(self, inbox: Inbox, inspection: Inspection) -> None:
        """If the batch comes again, so does its garbage."""
        with pytest.raises(Boom), inbox.fetching(QUEUE, "orders"):
            inbox.bury(QUEUE, [Garbage("no id", b"{")])
            raise Boom

        assert not self.letters(inspection)

    def test_garbage_may_hold_anything(self, inbox: Inbox, inspection: Inspection) -> None:
        """Zeros in headers and errors do no harm."""
        with inbox.fetching(QUEUE, "orders"):
            inbox.bury(QUEUE, [Garbage("zero \0", b"{", {"a\0": "b\0"})])

        [letter] = self.letters(inspection)
        assert letter.reason.startswith("zero ")

    def test_garbage_is_not_retried_but_skipped(self, inbox: Inbox, inspection: Inspection) -> None:
        """Nobody can handle it; it stays until it is dropped."""
        with inbox.fetching(QUEUE, "orders"):
            inbox.bury(QUEUE, [Garbage("no id", b"{")])
        [letter] = self.letters(inspection)

        assert inspection.retry(letter.id) is False
        assert len(self.letters(inspection)) == 1
        assert inspection.skip(letter.id) is True
        assert not self.letters(inspection)
