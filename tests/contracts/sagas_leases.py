"""``claim``, ``renew``, ``release``, ``later`` and ``stale``: who may take up a saga, and when."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest

from simplecqrs.saga.records import ENDED, Progress, Run, SagaStatus
from simplecqrs.saga.storage import SagaStorage
from tests.contracts.sagas_harness import LEASE, SagaHarness, saga

__all__ = ["LeaseContract"]

PassTime = Callable[[float], None]


def stale(sagas: SagaStorage, *, limit: int = 100, name: str | None = None) -> list[UUID]:
    """Return the sagas that are stale."""
    return list(sagas.stale(limit=limit, saga=name))


class LeaseContract(SagaHarness):
    """``claim``, ``renew``, ``release``, ``later`` and ``stale``: who may take up a saga, and when."""

    def test_a_saga_that_is_held_cannot_be_claimed(self, sagas: SagaStorage) -> None:
        """Until its lease is over; its owner may."""
        record = self.held(sagas)

        assert sagas.claim(record.id, "other", lease=LEASE) is None
        assert sagas.claim(record.id, "me", lease=LEASE) is not None
        assert self.load(sagas, record.id).owner == "me"

    def test_a_claim_counts_the_version_on(self, sagas: SagaStorage, pass_time: PassTime) -> None:
        """So whoever held it before stores nothing any more."""
        record = self.held(sagas)
        pass_time(LEASE + 1)

        claimed = sagas.claim(record.id, "other", lease=LEASE)

        assert claimed is not None
        assert (claimed.owner, claimed.id) == ("other", record.id)
        assert claimed.version > record.version
        assert self.load(sagas, record.id).version == claimed.version
        assert self.load(sagas, record.id).owner == "other"

    def test_a_lease_is_over_when_its_time_is(self, sagas: SagaStorage, pass_time: PassTime) -> None:
        """Not before; then it is stale, and whoever claims it first holds it."""
        record = self.held(sagas)
        pass_time(LEASE - 5)
        assert stale(sagas) == []
        pass_time(6)

        assert stale(sagas) == [record.id]
        assert sagas.claim(record.id, "one", lease=LEASE) is not None
        assert sagas.claim(record.id, "other", lease=LEASE) is None
        assert stale(sagas) == []

    def test_of_several_that_claim_at_the_same_time_one_wins(self, sagas: SagaStorage) -> None:
        """Each time."""
        records = [saga() for _ in range(self.races)]
        for record in records:
            sagas.create(record, lease=None)

        def claim(owner: str) -> Callable[[int], bool]:
            return lambda number: sagas.claim(records[number].id, owner, lease=LEASE) is not None

        outcomes = self.race(self.races, claim("a"), claim("b"))

        assert {sum(outcome) for outcome in outcomes} == {1}

    def test_each_save_makes_the_lease_longer(self, sagas: SagaStorage, pass_time: PassTime) -> None:
        """It counts from then."""
        record = self.held(sagas)
        pass_time(LEASE - 5)
        sagas.save(record, lease=LEASE)
        pass_time(LEASE - 5)

        assert stale(sagas) == []

    def test_a_lease_can_be_renewed(self, sagas: SagaStorage, pass_time: PassTime) -> None:
        """That changes no version: its owner goes on with the record that it has."""
        record = self.held(sagas)
        pass_time(LEASE - 5)
        assert sagas.renew(record.id, "me", lease=LEASE)
        pass_time(LEASE - 5)

        assert stale(sagas) == []
        sagas.save(record, lease=LEASE)

    def test_what_somebody_else_holds_now_cannot_be_renewed_or_released(
        self, sagas: SagaStorage, pass_time: PassTime
    ) -> None:
        """Whoever slept for too long learns that."""
        record = self.held(sagas, owner="sleeper")
        pass_time(LEASE + 1)
        sagas.claim(record.id, "other", lease=LEASE)

        assert not sagas.renew(record.id, "sleeper", lease=LEASE)
        sagas.release(record.id, "sleeper", due=0.0)

        assert stale(sagas) == []
        assert self.load(sagas, record.id).owner == "other"

    def test_a_released_saga_is_stale_when_it_is_due(self, sagas: SagaStorage, pass_time: PassTime) -> None:
        """Or never; anybody may claim it meanwhile."""
        soon, never, now = self.held(sagas), self.held(sagas), self.held(sagas)

        sagas.release(soon.id, "me", due=30.0)
        sagas.release(never.id, "me", due=None)
        sagas.release(now.id, "me", due=0.0)

        assert stale(sagas) == [now.id]
        pass_time(31)
        assert stale(sagas) == [now.id, soon.id]
        pass_time(LEASE * 100)
        assert never.id not in stale(sagas)
        assert sagas.claim(never.id, "other", lease=LEASE) is not None

    @pytest.mark.parametrize("status", sorted(ENDED))
    def test_a_saga_that_has_ended_is_never_stale(
        self, sagas: SagaStorage, pass_time: PassTime, status: SagaStatus
    ) -> None:
        """Nobody holds it, and nobody can claim it."""
        record = self.held(sagas)
        record.status = status
        sagas.save(record, lease=LEASE)
        sagas.release(record.id, "me", due=0.0)
        pass_time(LEASE * 100)

        assert stale(sagas) == []
        assert self.load(sagas, record.id).owner == ""
        assert sagas.claim(record.id, "other", lease=LEASE) is None

    def test_a_saga_that_rests_is_not_stale(self, sagas: SagaStorage, pass_time: PassTime) -> None:
        """Unless it was held, and whoever held it did not let go of it."""
        resting, held = saga(), self.held(sagas)
        resting.paused = held.paused = True
        sagas.create(resting, lease=None)
        sagas.save(held, lease=LEASE)
        pass_time(LEASE + 1)

        assert stale(sagas) == [held.id]

    def test_what_is_to_be_done_later_is_due_then(self, sagas: SagaStorage, pass_time: PassTime) -> None:
        """Where there is no consumer, whoever recovers sagas does it; even if its start was cut off before."""
        if sagas.has_consumer:
            return
        at_once, soon, cut_off = saga(), saga(), saga()
        for record in (at_once, soon, cut_off):
            record.progress["a"] = Progress("ready", pause=30.0)
            sagas.create(record, lease=None)
        sagas.later(at_once, [Run("a", "act", 1, begun=True)])
        sagas.later(soon, [Run("a", "act", 1, begun=False, pause=30.0)])

        assert sorted(stale(sagas)) == sorted([at_once.id, cut_off.id])
        pass_time(31)
        assert soon.id in stale(sagas)

    def test_what_is_held_stays_so_whatever_is_to_be_done_later(self, sagas: SagaStorage) -> None:
        """Its owner will see it."""
        record = self.held(sagas)
        if not sagas.has_consumer:
            sagas.later(record, [Run("a", "act", 1, begun=True)])

        assert stale(sagas) == []
        assert sagas.claim(record.id, "other", lease=LEASE) is None

    def test_stale_sagas_come_in_the_order_of_their_times(self, sagas: SagaStorage, pass_time: PassTime) -> None:
        """Not more than asked for, and of one name if one is named."""
        leases, records = [30.0, 10.0, 20.0], [saga(owner="me", name=f"contract.{n % 2}") for n in range(3)]
        for record, lease in zip(records, leases, strict=True):
            sagas.create(record, lease=lease)
        pass_time(31)
        third, first, second = [record.id for record in records]

        assert stale(sagas) == [first, second, third]
        assert stale(sagas, limit=2) == [first, second]
        assert stale(sagas, name="contract.0") == [second, third]
        assert stale(sagas, name="contract.nothing") == []
