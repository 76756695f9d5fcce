"""``look``, ``claim``, ``release`` and ``savepoint``: who works a lane, and what its process did not come back from."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from simplecqrs.queue import LANES, Failure, Storage, Work
from tests.contracts.queue_harness import HOUR, QUEUE, Boom, MiB, QueueHarness, make, texts

ANNE, BERT, CORA = 1, 2**62, 3


class MarksContract(QueueHarness):
    """For the inbox, whose lanes have owners."""

    def claim(self, storage: Storage, owner: int, *, most: int = 2, dies: bool = False) -> int:
        """Hold the first row's lane and begin with it; ``dies``: the transaction is lost."""
        starts = -1
        with suppress(Boom), self.hold(storage) as held:
            assert held is not None
            starts = held.claim(held.read(1, MiB)[0], owner, most=most)
            if dies:
                raise Boom
        return starts

    def owned(self, storage: Storage, owners: Mapping[int, int]) -> None:
        """Fill lanes with a row each, under a key of its own, and let owners claim them."""
        for lane, owner in owners.items():
            with self.transaction():
                storage.append([(QUEUE, lane, make(f"lane {lane}", key=str(lane)))])
            with self.hold(storage, lanes=[lane]) as held:
                assert held is not None
                held.claim(held.read(1, MiB)[0], owner, most=2)

    def works(self, storage: Storage) -> list[Work]:
        """Look at all lanes."""
        return list(storage.look(QUEUE, range(16)))

    def test_looking_tells_the_lanes_that_have_work_in_the_order_asked_for(self, storage: Storage) -> None:
        """With the id of the first row of each."""
        with self.transaction():
            storage.append([(QUEUE, lane, make(str(lane), key=str(lane))) for lane in (1, 4, 9)])
        ids = {row.lane: row.id for row in self.read(storage)}

        assert list(storage.look(QUEUE, [9, 0, 4, 2])) == [Work(9, ids[9]), Work(4, ids[4])]

    def test_looking_tells_which_lanes_have_something_due(self, storage: Storage) -> None:
        """What waits for its pause is no work."""
        self.fill(storage, make("1", key="a"))
        self.park_first(storage, HOUR)
        assert self.works(storage) == []

        self.fill(storage, make("2", key="b"))
        self.park_first(storage, 0)

        [work] = self.works(storage)
        assert (work.due, work.head) == (True, 0)

    def test_a_claim_tells_others_whose_lane_it_is(self, storage: Storage) -> None:
        """At once, and even if the transaction is lost."""
        self.fill(storage, make("1", key="a"))
        assert self.works(storage)[0].owner == 0

        self.claim(storage, BERT, dies=True)

        assert self.works(storage)[0].owner == BERT

    def test_those_who_did_not_come_back_from_a_row_are_counted(self, storage: Storage) -> None:
        """Once for each owner; not ourselves."""
        self.fill(storage, make("1", key="a"))

        starts = [self.claim(storage, owner, most=9, dies=True) for owner in (ANNE, BERT, BERT, CORA)]

        assert starts == [0, 1, 0, 1]

    def test_who_has_come_back_from_a_row_is_not_counted(self, storage: Storage) -> None:
        """Though the transaction is lost; nobody takes back what another one has begun."""
        self.fill(storage, make("1", key="a"))
        for owner in (ANNE, BERT):
            with suppress(Boom), self.hold(storage) as held:
                assert held is not None
                row = held.read(1, MiB)[0]
                assert held.claim(row, owner, most=1) == 0
                held.disclaim(row, owner)
                raise Boom

        assert self.claim(storage, CORA, most=9, dies=True) == 0
        with self.hold(storage) as held:
            assert held is not None
            held.disclaim(held.read(1, MiB)[0], ANNE)
        assert self.claim(storage, ANNE, most=9) == 1

    def test_after_so_many_the_row_is_to_be_put_aside_and_the_count_begins_anew(self, storage: Storage) -> None:
        """Whoever is told puts it aside."""
        self.fill(storage, make("1", key="a"))

        starts = [self.claim(storage, owner, dies=True) for owner in (ANNE, BERT, CORA, ANNE)]

        assert starts == [0, 1, 2, 0]

    def test_another_row_at_the_head_begins_anew(self, storage: Storage) -> None:
        """What its predecessor died of is none of its business."""
        self.fill(storage, make("1", key="a"), make("2", key="a"))
        self.claim(storage, ANNE, dies=True)
        self.done(storage, self.read(storage)[0])

        assert self.claim(storage, BERT) == 0

    def test_a_row_that_is_parked_has_failed_and_killed_nobody(self, storage: Storage) -> None:
        """Its next attempt finds no trace."""
        self.fill(storage, make("1", key="a"))
        with self.hold(storage) as held:
            assert held is not None
            [row] = held.read(1, MiB)
            held.claim(row, ANNE, most=2)
            held.park(row, Failure("no", 1, 0))

        assert self.claim(storage, BERT) == 0

    def test_who_leaves_in_order_leaves_no_trace(self, storage: Storage) -> None:
        """Its lanes are free at once; those of others stay theirs."""
        with self.transaction():
            storage.append([(QUEUE, 1, make("one", key="a")), (QUEUE, 2, make("two", key="b"))])
        for lane, owner in ((1, ANNE), (2, BERT)):
            with self.hold(storage, lanes=[lane]) as held:
                assert held is not None
                held.claim(held.read(1, MiB)[0], owner, most=2)

        storage.release(QUEUE, ANNE)

        assert [work.owner for work in self.works(storage)] == [0, BERT]
        with self.hold(storage, lanes=[1]) as held:
            assert held is not None
            assert held.claim(held.read(1, MiB)[0], CORA, most=2) == 0

    def test_queues_do_not_share_owners(self, storage: Storage) -> None:
        """The same lane of another consumer is another lane."""
        self.fill(storage, make("1", key="a"))
        self.claim(storage, ANNE)
        self.fill(storage, make("1", key="a"), queue="other")

        assert [work.owner for work in storage.look("other", range(16))] == [0]

    def test_take_own_deletes_and_yields_the_first_row_of_an_own_lane(self, storage: Storage) -> None:
        """It comes with its content, and is gone when the transaction ends well; lanes of others are left to them."""
        self.owned(storage, {1: ANNE, 2: BERT, 3: BERT})

        with storage.take_own(QUEUE, BERT, lanes=range(LANES), idle=60) as row:
            assert row is not None
            assert row.envelope.payload in (b"lane 2", b"lane 3")

        assert sorted(texts(self.read(storage))) == sorted({"lane 1", "lane 2", "lane 3"} - set(texts([row])))
        with storage.take_own(QUEUE, CORA, lanes=range(LANES), idle=60) as row:
            assert row is None

    def test_take_own_leaves_the_row_if_an_exception_leaves_it(self, storage: Storage) -> None:
        """What its handler could not do, is to be done again."""
        self.owned(storage, {1: ANNE})

        with suppress(Boom), storage.take_own(QUEUE, ANNE, lanes=range(LANES), idle=60):
            raise Boom

        assert texts(self.read(storage)) == ["lane 1"]

    def test_take_own_leaves_what_waits_behind_a_blocked_key(self, storage: Storage) -> None:
        """A new row of a key that failed is not to overtake it."""
        self.owned(storage, {1: ANNE})
        self.park_first(storage, HOUR)
        with self.transaction():
            storage.append([(QUEUE, 1, make("behind", key="1"))])
        assert [work.owner for work in self.works(storage)] == [ANNE]

        with storage.take_own(QUEUE, ANNE, lanes=range(LANES), idle=60) as row:
            assert row is None

    def test_take_own_leaves_what_others_hold_or_have_taken(self, storage: Storage) -> None:
        """A lane has one worker at a time, and taking its first row locks as holding does."""
        self.owned(storage, {1: ANNE})

        def take() -> bool:
            with storage.take_own(QUEUE, ANNE, lanes=range(LANES), idle=60) as row:
                return row is not None

        with self.hold(storage):
            assert self.in_thread(take) is False
        with self.meanwhile(lambda: storage.take_own(QUEUE, ANNE, lanes=range(LANES), idle=60)):
            assert self.read(storage) == []
        assert take() is False
