"""``park``: what fails waits, and what follows under its key behind it."""

from __future__ import annotations

from simplecqrs.queue import Failure, Inspection, Storage
from tests.contracts.queue_harness import HOUR, QUEUE, MiB, QueueHarness, make, texts


class ParkingContract(QueueHarness):
    """``park``: what fails waits, and what follows under its key behind it."""

    def test_a_parked_row_waits_and_its_followers_behind_it(self, storage: Storage, inspection: Inspection) -> None:
        """The key is out of the way; other keys, and what has no key, go on."""
        self.fill(storage, make("1", key="a"), make("2", key="b"), make("3", key="a"), make("4"))
        [row] = [row for row in self.read(storage) if row.envelope.payload == b"1"]

        self.park(storage, row, Failure("no", 1, HOUR))

        assert sorted(texts(self.read(storage))) == ["2", "4"]
        backlog = self.backlog(inspection)
        assert (backlog.pending, backlog.parked, backlog.blocked, backlog.dead) == (2, 2, 1, 0)

    def test_a_key_comes_back_in_its_order(self, storage: Storage) -> None:
        """Head, then followers, then what moved behind them later."""
        self.fill(storage, make("1", key="a"), make("2", key="a"))
        row = self.park_first(storage, HOUR)
        self.fill(storage, make("3", key="a"))

        with self.hold(storage) as held:
            assert held is not None
            assert not held.read(10, MiB)
            held.park(row, Failure("no", 2, 0))

        assert texts(self.read(storage)) == ["1", "2", "3"]

    def test_keys_and_topics_that_look_alike_are_not_one(self, storage: Storage) -> None:
        """Letters in the other case, accents and spaces at the end tell keys apart, whatever a database thinks."""
        alike = [("orders", "a"), ("orders", "A"), ("orders", "a "), ("orders", "á"), ("Orders", "a"), ("orders ", "a")]
        self.fill(storage, make("first", key="a"))
        self.park_first(storage, HOUR)

        self.fill(storage, *(make(str(n), topic=topic, key=key) for n, (topic, key) in enumerate(alike)))

        assert sorted(texts(self.read(storage))) == ["1", "2", "3", "4", "5"]

    def test_a_row_that_fails_again_waits_again(self, storage: Storage) -> None:
        """Each failure sets attempts and due time anew; followers stay behind."""
        self.fill(storage, make("1", key="a"), make("2", key="a"))
        self.park_first(storage, 0, attempts=1)
        self.park_first(storage, 0, attempts=2)
        assert [row.attempts for row in self.read(storage)] == [2, 0]

        self.park_first(storage, HOUR, attempts=3)

        assert not self.read(storage)

    def test_what_waits_for_a_release_tells_how_long(self, storage: Storage) -> None:
        """From its first wait on, until it fails otherwise; nor has what follows it waited."""
        self.fill(storage, make("1", key="a"), make("2", key="a"))
        seen = [self.read(storage)[0]]
        for failure in (Failure("no", 0, 0, waits=True), Failure("no", 0, 0, waits=True), Failure("no", 1, 0)):
            self.park(storage, seen[-1], failure)
            seen.append(self.read(storage)[0])
        self.park(storage, seen[-1], Failure("no", 1, 0, waits=True))
        self.done(storage, self.read(storage)[0])

        assert 0 <= seen[1].waited <= seen[2].waited < HOUR
        assert [row.attempts for row in seen] == [0, 0, 0, 1]
        assert (seen[0].waited, seen[3].waited, self.read(storage)[0].waited) == (0, 0, 0)

    def test_a_follower_may_fail_in_its_turn(self, storage: Storage) -> None:
        """Behind a head that is done, the next one is the head, with its own attempts."""
        self.fill(storage, *(make(str(n), key="a") for n in range(3)))
        self.park_first(storage, 0, attempts=5)
        self.done(storage, self.read(storage)[0])

        self.park_first(storage, 0, attempts=1)

        assert [(row.envelope.payload, row.attempts) for row in self.read(storage)] == [(b"1", 1), (b"2", 0)]

    def test_parking_what_is_gone_does_nothing(self, storage: Storage, inspection: Inspection) -> None:
        """Who was overtaken leaves no trace: nothing is blocked, nothing is dead."""
        self.fill(storage, make("1", key="a"), make("2", key="a"))
        row = self.read(storage)[0]
        self.done(storage, row)

        self.park(storage, row, Failure("no", 1, HOUR))
        self.park(storage, row, Failure("no", 1, None))

        assert texts(self.read(storage)) == ["2"]
        backlog = self.backlog(inspection)
        assert (backlog.parked, backlog.blocked, backlog.dead) == (0, 0, 0)

    def test_what_has_no_key_waits_alone(self, storage: Storage, inspection: Inspection) -> None:
        """Each row without a key has its own schedule, and nothing waits behind it."""
        with self.transaction():
            storage.append([(QUEUE, 0, make(str(n))) for n in range(4)])
        rows = self.read(storage)
        with self.hold(storage) as held:
            assert held is not None
            held.park(rows[0], Failure("no", 1, HOUR))
            held.park(rows[1], Failure("no", 7, 0))

        assert [(row.envelope.payload, row.attempts) for row in self.read(storage)] == [(b"1", 7), (b"2", 0), (b"3", 0)]
        assert (self.backlog(inspection).parked, self.backlog(inspection).blocked) == (2, 2)

    def test_a_reason_may_hold_anything(self, storage: Storage, inspection: Inspection) -> None:
        """What a handler's error says is not ours to choose: zeros, snowmen and long stories do no harm."""
        self.fill(storage, make("1", key="a"))

        self.park(storage, self.read(storage)[0], Failure("zero \0, \N{SNOWMAN}" + "x" * 10_000, 1, None))

        [letter] = self.letters(inspection)
        assert letter.reason.startswith("zero ")
        assert "\N{SNOWMAN}" in letter.reason
