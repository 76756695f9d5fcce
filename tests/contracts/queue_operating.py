"""``Inspection`` on call: pages and filters of dead letters, blocked keys, and a retry brought forward."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from simplecqrs.letters import Wanted
from simplecqrs.queue import Failure, Inspection, Storage
from tests.contracts.queue_harness import HOUR, QUEUE, QueueHarness, make, texts

LATER = datetime.now(timezone.utc) + timedelta(days=365)


class OperatingContract(QueueHarness):
    """What an operator sees of much, and does to a part of it."""

    def die(self, storage: Storage, text: str, reason: str = "ValueError: no", **options: Any) -> None:
        """Append a message and make a dead letter of it."""
        self.fill(storage, make(text, **options))
        [row] = [row for row in self.read(storage) if row.envelope.payload.decode() == text]
        self.park(storage, row, Failure(reason, 1, None, hold=False))

    def test_letters_come_in_pages(self, storage: Storage, inspection: Inspection) -> None:
        """Each goes on behind the last one of the page before."""
        for text in "12345":
            self.die(storage, text)

        first = inspection.letters(limit=2)
        second = inspection.letters(after=first[-1].id, limit=2)
        third = inspection.letters(after=second[-1].id, limit=2)

        assert [letter.payload for page in (first, second, third) for letter in page] == [b"1", b"2", b"3", b"4", b"5"]

    def test_letters_can_be_looked_at_without_their_bytes(self, storage: Storage, inspection: Inspection) -> None:
        """A page of a hundred may be a hundred megabytes."""
        self.die(storage, "1")

        [letter] = inspection.letters(payloads=False)

        assert (letter.payload, letter.name) == (b"", "OrderPlaced")

    @pytest.mark.parametrize(
        ("wanted", "found"),
        [
            (Wanted(), ["1", "2", "3"]),
            (Wanted(queue=QUEUE), ["1", "2", "3"]),
            (Wanted(queue="other"), []),
            (Wanted(topic="refunds"), ["3"]),
            (Wanted(key="a"), ["1", "3"]),
            (Wanted(key=""), ["2"]),
            (Wanted(name="OrderPlaced"), ["1", "2", "3"]),
            (Wanted(name="Other"), []),
            (Wanted(cause="ValueError: 100"), ["1", "2"]),
            (Wanted(cause="valueerror"), []),
            (Wanted(cause="ValueError: 100%"), ["1"]),
            (Wanted(cause="ValueError: 100_"), []),
            (Wanted(since=LATER), []),
            (Wanted(since=LATER - timedelta(days=366)), ["1", "2", "3"]),
            (Wanted(key="a", cause="Key"), ["3"]),
        ],
        ids=str,
    )
    def test_letters_can_be_chosen(
        self, storage: Storage, inspection: Inspection, wanted: Wanted, found: list[str]
    ) -> None:
        """By queue, topic, key, name, time, and by the beginning of their cause as it is written."""
        self.die(storage, "1", "ValueError: 100% full", key="a")
        self.die(storage, "2", "ValueError: 100 full\nof eels")
        self.die(storage, "3", "KeyError: 3", key="a", topic="refunds")

        assert [letter.payload.decode() for letter in inspection.letters(wanted)] == found

    def test_letters_can_be_chosen_by_box(self, storage: Storage, inspection: Inspection) -> None:
        """This one, or the other."""
        self.die(storage, "1")

        assert len(inspection.letters(Wanted(box=self.box))) == 1
        assert len(inspection.letters(Wanted(box="inbox" if self.box == "outbox" else "outbox"))) == 0

    def test_a_blocked_key_is_shown_with_cause_schedule_and_followers(
        self, storage: Storage, inspection: Inspection
    ) -> None:
        """All that somebody on call wants to know of it."""
        self.fill(storage, make("1", key="a"), make("2", key="a"))
        self.park_first(storage, HOUR, attempts=3)

        [blocked] = inspection.blocked()

        assert (blocked.box, blocked.queue, blocked.topic, blocked.key) == (self.box, QUEUE, "orders", "a")
        assert (blocked.cause, blocked.attempts, blocked.waiting) == ("ValueError: no", 3, 2)
        assert blocked.next_at is not None
        assert 0.9 * HOUR < (blocked.next_at - blocked.since).total_seconds() < 1.1 * HOUR

    def test_blocked_keys_can_be_chosen_and_the_longest_come_first(
        self, storage: Storage, inspection: Inspection
    ) -> None:
        """Up to a limit."""
        self.fill(storage, make("1", key="a"), make("2", key="b"), make("3", key="c"))
        for _ in "123":
            self.park_first(storage, HOUR)

        found = inspection.blocked()

        assert sorted(blocked.key for blocked in found) == ["a", "b", "c"]
        assert [blocked.since for blocked in found] == sorted(blocked.since for blocked in found)
        assert [blocked.id for blocked in inspection.blocked(limit=2)] == [blocked.id for blocked in found[:2]]
        assert [blocked.key for blocked in inspection.blocked(Wanted(key="b", cause="Value"))] == ["b"]
        assert not inspection.blocked(Wanted(cause="KeyError"))

    def test_what_has_no_key_is_blocked_alone(self, storage: Storage, inspection: Inspection) -> None:
        """Each counts itself."""
        with self.transaction():
            storage.append([(QUEUE, 0, make("1")), (QUEUE, 0, make("2"))])
        self.park_first(storage, HOUR)
        self.park_first(storage, HOUR)

        assert [(blocked.key, blocked.waiting) for blocked in inspection.blocked()] == [("", 1), ("", 1)]

    def test_a_key_that_waits_for_an_operator_has_no_next_attempt(
        self, storage: Storage, inspection: Inspection
    ) -> None:
        """Only its followers wait; its head is a dead letter."""
        self.fill(storage, make("1", key="a"), make("2", key="a"))
        self.park_first(storage, None)

        [blocked] = inspection.blocked()

        assert (blocked.next_at, blocked.waiting) == (None, 1)

    def test_a_retry_is_brought_forward(self, storage: Storage, inspection: Inspection) -> None:
        """Now, with the attempts that it had; its followers behind it."""
        self.fill(storage, make("1", key="a"), make("2", key="a"))
        self.park_first(storage, HOUR, attempts=3)
        self.fill(storage, make("3", key="b"))
        self.park_first(storage, HOUR)
        [blocked] = inspection.blocked(Wanted(key="a"))

        assert inspection.hasten(blocked.id) is True

        assert [(row.envelope.payload, row.attempts) for row in self.read(storage)] == [(b"1", 3), (b"2", 0)]

    def test_a_key_that_waits_for_a_dead_letter_is_not_brought_forward(
        self, storage: Storage, inspection: Inspection
    ) -> None:
        """Its followers would overtake; nor is one that is not there."""
        self.fill(storage, make("1", key="a"), make("2", key="a"))
        self.park_first(storage, None)
        [blocked] = inspection.blocked()

        assert inspection.hasten(blocked.id) is False
        assert inspection.hasten(4711) is False
        assert texts(self.read(storage)) == []
