"""``hand_in``, ``arrived`` and ``overdue``: events that sagas wait for, in any order, and times that are over."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from simplecqrs.saga.storage import SagaStorage
from tests.contracts.sagas_harness import LEASE, SAGA, SagaHarness, begin_waiting, end_waiting, saga, wait

__all__ = ["WaitingContract"]

PassTime = Callable[[float], None]
PLACE = f"{SAGA}:paid"


def stale(sagas: SagaStorage) -> list[UUID]:
    """Return the sagas that are stale."""
    return list(sagas.stale(limit=100))


class WaitingContract(SagaHarness):
    """``hand_in``, ``arrived`` and ``overdue``: events that sagas wait for, in any order, and times that are over."""

    def hand_in(self, sagas: SagaStorage, key: str = "1", payload: bytes = b"event", place: str = PLACE) -> list[UUID]:
        """Hand an event in, in a transaction of its own."""
        with self.transaction():
            return list(sagas.hand_in(place, key, payload))

    def test_an_event_finds_those_that_wait_for_it(self, sagas: SagaStorage) -> None:
        """In that place, for that key, to the letter; nobody else."""
        one, other = self.waiting(sagas), self.waiting(sagas)
        for key in ("2", "1 ", "\u00e4", "A", "x" * 5000):
            self.waiting(sagas, key)

        assert sorted(self.hand_in(sagas)) == sorted([one.id, other.id])
        assert self.hand_in(sagas, place=f"{SAGA}:other") == []
        assert self.hand_in(sagas, "a") == []
        assert len(self.hand_in(sagas, "x" * 5000)) == 1

    def test_what_was_handed_in_is_stored_with_whom_it_is_for(self, sagas: SagaStorage) -> None:
        """Though whoever handed it in died, it is there, and the saga is stale at once; the first one counts."""
        record = self.waiting(sagas, timeout=None)
        assert stale(sagas) == []

        self.hand_in(sagas, payload=b"\x00\xff first")
        self.hand_in(sagas, payload=b"second")

        assert sagas.arrived(record.id, "paid") == b"\x00\xff first"
        assert sagas.arrived(record.id, "other") is None
        assert stale(sagas) == [record.id]

    def test_an_event_that_comes_early_is_kept(self, sagas: SagaStorage) -> None:
        """For the first saga that waits for it, which stays with its owner."""
        assert self.hand_in(sagas) == []
        record = self.waiting(sagas)
        late = self.waiting(sagas)

        assert sagas.arrived(record.id, "paid") == b"event"
        assert sagas.arrived(late.id, "paid") is None
        assert self.load(sagas, record.id).owner == "me"
        assert sagas.claim(record.id, "other", lease=LEASE) is None

    def test_early_events_come_in_their_order(self, sagas: SagaStorage) -> None:
        """One for each saga that waits."""
        for payload in (b"1", b"2"):
            self.hand_in(sagas, payload=payload)
        records = [self.waiting(sagas) for _ in range(3)]

        assert [sagas.arrived(record.id, "paid") for record in records] == [b"1", b"2", None]

    def test_an_event_stays_until_it_is_taken(self, sagas: SagaStorage, pass_time: PassTime) -> None:
        """Whoever asked for it may die; a saga that is saved meanwhile keeps it, and is taken up again."""
        record = self.waiting(sagas, timeout=10)
        self.hand_in(sagas)
        sagas.arrived(record.id, "paid")
        again = self.load(sagas, record.id)
        sagas.save(again, lease=LEASE)
        pass_time(LEASE + 1)

        assert sagas.arrived(record.id, "paid") == b"event"
        assert stale(sagas) == [record.id]

    def test_what_is_not_waited_for_any_more_is_forgotten(self, sagas: SagaStorage) -> None:
        """With its event; another one is kept for others."""
        record = self.waiting(sagas)
        self.hand_in(sagas)
        again = self.load(sagas, record.id)
        end_waiting(again)
        sagas.save(again, lease=LEASE)

        assert sagas.arrived(record.id, "paid") is None
        assert self.hand_in(sagas, payload=b"second") == []
        assert sagas.arrived(self.waiting(sagas).id, "paid") == b"second"

    def test_a_saga_that_waits_is_held_by_nobody(self, sagas: SagaStorage, pass_time: PassTime) -> None:
        """And is not stale, for as long as nothing comes."""
        record = self.waiting(sagas)
        pass_time(LEASE * 100)

        assert self.load(sagas, record.id).owner == ""
        assert stale(sagas) == []
        assert list(sagas.overdue(record.id)) == []

    def test_a_saga_is_stale_when_its_time_to_wait_is_over(self, sagas: SagaStorage, pass_time: PassTime) -> None:
        """A save in between does not make it longer."""
        record = self.waiting(sagas, timeout=100)
        pass_time(60)
        assert stale(sagas) == []
        sagas.save(again := self.load(sagas, record.id), lease=None)
        pass_time(60)

        assert stale(sagas) == [again.id]
        assert list(sagas.overdue(record.id)) == ["paid"]

    def test_the_first_time_that_is_over_counts(self, sagas: SagaStorage, pass_time: PassTime) -> None:
        """Steps that run in parallel wait for something each."""
        record = saga(owner="me")
        for step, timeout in (("a", None), ("b", 50.0), ("c", 20.0), ("d", 500.0)):
            begin_waiting(record, wait(step, timeout=timeout))
        sagas.create(record, lease=LEASE)
        assert stale(sagas) == []
        pass_time(51)

        assert stale(sagas) == [record.id]
        assert list(sagas.overdue(record.id)) == ["c", "b"]

    def test_an_event_leaves_a_saga_that_is_held_to_its_owner(self, sagas: SagaStorage, pass_time: PassTime) -> None:
        """Another step of it runs at the same time; it finds the event when it is done."""
        record = saga(owner="me")
        begin_waiting(record, wait())
        record.status = "RUNNING"
        sagas.create(record, lease=LEASE)

        assert self.hand_in(sagas) == [record.id]

        assert stale(sagas) == []
        assert sagas.arrived(record.id, "paid") == b"event"
        pass_time(LEASE + 1)
        assert stale(sagas) == [record.id]

    def test_a_saga_that_rests_goes_on_with_its_event_when_it_does_not_rest_any_more(self, sagas: SagaStorage) -> None:
        """What came meanwhile makes it stale then."""
        record = self.waiting(sagas)
        resting = self.load(sagas, record.id)
        resting.paused = True
        sagas.save(resting, lease=None)
        assert self.hand_in(sagas) == [record.id]
        assert stale(sagas) == []

        resting.paused = False
        sagas.save(resting, lease=LEASE)

        assert sagas.arrived(record.id, "paid") == b"event"

    def test_a_saga_may_begin_to_wait_after_its_first_step(self, sagas: SagaStorage) -> None:
        """By save as by create."""
        self.hand_in(sagas, "early")
        records = [self.held(sagas), self.held(sagas)]
        for record, key in zip(records, ("early", "late"), strict=True):
            begin_waiting(record, wait(key=key))
            with self.transaction():
                sagas.save(record, lease=LEASE)
        self.hand_in(sagas, "late")

        assert [sagas.arrived(record.id, "paid") for record in records] == [b"event", b"event"]

    def test_no_event_is_lost_when_somebody_begins_to_wait_at_the_same_moment(self, sagas: SagaStorage) -> None:
        """Whoever is first: the event is there for the saga, each time, and once."""
        records = [self.held(sagas) for _ in range(self.delicate)]

        def begin(number: int) -> bool:
            record = records[number]
            begin_waiting(record, wait(key=str(number)))
            with self.transaction():
                sagas.save(record, lease=LEASE)
            return sagas.arrived(record.id, "paid") is not None

        outcomes = self.race(self.delicate, begin, lambda number: bool(self.hand_in(sagas, str(number))))

        for number, (was_there, found) in enumerate(outcomes):
            assert was_there or found, number
            assert sagas.arrived(records[number].id, "paid") == b"event"
        for number in range(10):
            assert sagas.arrived(self.waiting(sagas, str(number)).id, "paid") is None
