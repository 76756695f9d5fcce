"""What a storage of sagas does, wherever it keeps them."""

from __future__ import annotations

import threading
from uuid import uuid4

import pytest

from simplecqrs.errors import SagaMovedOn
from simplecqrs.saga.records import Packed, Progress, Record, SagaStatus
from simplecqrs.saga.storage import SagaStorage
from tests.contracts.sagas_harness import LEASE, SAGA, Order, SagaHarness, entry, saga, wait
from tests.contracts.sagas_leases import LeaseContract
from tests.contracts.sagas_waiting import WaitingContract

__all__ = ["SagaContract"]


class KeepingContract(SagaHarness):
    """``create``, ``load``, ``save``, ``history`` and ``find``: what is stored, once, and by one at a time."""

    def test_a_saga_is_created_once(self, sagas: SagaStorage) -> None:
        """The second one of an id changes nothing, neither the saga nor its log nor what it waits for."""
        first, second = saga(), saga()
        second.id, second.state, second.entries = first.id, Order(2), [entry("late")]
        second.waits = [wait()]

        assert sagas.create(first, lease=LEASE)
        assert not sagas.create(second, lease=LEASE)

        assert self.load(sagas, first.id).state == Order(1)
        assert sagas.history(first.id) == []
        assert list(sagas.hand_in(f"{SAGA}:paid", "1", b"event")) == []

    def test_an_unknown_saga_is_none(self, sagas: SagaStorage) -> None:
        """Nothing breaks where there is none."""
        with self.transaction():
            assert sagas.load(uuid4(), lock=True) is None
        assert sagas.load(uuid4()) is None
        assert sagas.claim(uuid4(), "me", lease=LEASE) is None
        assert not sagas.renew(uuid4(), "me", lease=LEASE)
        sagas.release(uuid4(), "me", due=None)
        assert list(sagas.history(uuid4())) == []
        assert sagas.arrived(uuid4(), "paid") is None
        assert list(sagas.overdue(uuid4())) == []

    def test_all_of_a_saga_comes_back(self, sagas: SagaStorage) -> None:
        """Each field that is stored, of any length and in any script; what is not stored is as ever."""
        progress = {
            "z": Progress("done", "fallback", 3, 2, True, 1.5, "ValueError: \u2718 'no'"),
            "a": Progress("ready", "undo act", pause=0.25),
            "m": Progress("started"),
        }
        stored = Record(
            uuid4(), SAGA, Order(7, ("\u00e4\u4f60\U0001f600 '\"\\\n",), {"x": 0.1}), "COMPENSATING", progress, 2,
            fingerprint="0123456789abcdef", paused=True, cancelled=True, error="a: b", owner="me", recoveries=4,
            correlation_id="c-1", headers={"tenant": "\u00e4", "b": ""},
        )  # fmt: skip

        assert sagas.create(stored, lease=LEASE)

        loaded = self.load(sagas, stored.id)
        for name in ("id", "saga", "state", "status", "position", "fingerprint", "paused", "cancelled", "error",
                     "owner", "recoveries", "correlation_id", "headers"):  # fmt: skip
            assert getattr(loaded, name) == getattr(stored, name), name
        assert list(loaded.progress.items()) == list(progress.items())
        assert (loaded.version, loaded.entries, loaded.waits, loaded.ahead) == (stored.version, [], [], True)

    def test_what_branches_have_returned_comes_back(self, sagas: SagaStorage) -> None:
        """Steps of a Parallel keep their states until all have one, packed or not."""
        record = saga()
        record.progress = {"a": Progress("done", state=Order(2)), "b": Progress("started"), "c": Progress("done")}
        sagas.create(record, lease=LEASE)

        again = sagas.load(record.id)  # as it is stored: nobody has unpacked it
        assert again is not None
        assert type(again.state) is (Order if sagas.keeps_objects else Packed)
        sagas.save(again, lease=LEASE)

        loaded = self.load(sagas, record.id)
        assert loaded.state == Order(1)
        assert [known.state for known in loaded.progress.values()] == [Order(2), None, None]

    def test_a_loaded_saga_is_a_copy(self, sagas: SagaStorage) -> None:
        """What is done to it, or to what was stored, is stored by save only."""
        record = saga()
        sagas.create(record, lease=LEASE)
        record.progress["a"], record.status = Progress("done"), "FAILED"
        copy = self.load(sagas, record.id)
        copy.progress["a"], copy.status = Progress("started"), "COMPLETED"

        loaded = self.load(sagas, record.id)

        assert (loaded.progress, loaded.status) == ({}, "RUNNING")

    def test_each_save_counts_the_version_on(self, sagas: SagaStorage) -> None:
        """The record knows its new one, so that it can be saved again."""
        record = saga(owner="me")
        sagas.create(record, lease=LEASE)
        versions = [record.version]

        for number in range(2, 4):
            record.state = Order(number)
            sagas.save(record, lease=LEASE)
            versions.append(record.version)

        assert versions == sorted(set(versions))
        assert self.load(sagas, record.id).version == versions[-1]
        assert self.load(sagas, record.id).state == Order(3)

    def test_row_82_one_that_was_changed_meanwhile_is_not_stored(self, sagas: SagaStorage) -> None:
        """Nothing of it: neither its state, nor its log, nor what it waits for."""
        sagas.create(mine := saga(owner="me"), lease=LEASE)
        theirs = self.load(sagas, mine.id)
        theirs.state = Order(2)
        sagas.save(theirs, lease=LEASE)

        mine.state, mine.entries, mine.waits = Order(3), [entry("lost")], [wait()]
        mine.progress["paid"] = Progress("waiting")
        with pytest.raises(SagaMovedOn), self.transaction():
            sagas.save(mine, lease=LEASE)

        assert self.load(sagas, mine.id).state == Order(2)
        assert list(sagas.history(mine.id)) == []
        assert list(sagas.hand_in(f"{SAGA}:paid", "1", b"event")) == []
        assert (mine.entries, mine.waits) == ([entry("lost")], [wait()])

    def test_one_that_is_gone_is_not_stored(self, sagas: SagaStorage) -> None:
        """A saga that somebody has deleted does not come back."""
        with pytest.raises(SagaMovedOn), self.transaction():
            sagas.save(saga(), lease=LEASE)

    def test_of_two_that_save_at_the_same_time_one_wins(self, sagas: SagaStorage) -> None:
        """The other one is told, each time."""
        records = [saga() for _ in range(self.races)]
        for record in records:
            sagas.create(record, lease=LEASE)

        both_have_read_it = threading.Barrier(2, timeout=self.patience)

        def save(number: int) -> bool:
            mine = self.load(sagas, records[number].id)
            mine.entries = [entry("mine")]
            both_have_read_it.wait()
            try:
                with self.transaction():
                    sagas.save(mine, lease=LEASE)
            except SagaMovedOn:
                return False
            return True

        outcomes = self.race(self.races, save, save)

        assert all(sorted(outcome) == [False, True] for outcome in outcomes)
        assert {len(sagas.history(record.id)) for record in records} == {1}

    def test_a_log_is_in_its_order(self, sagas: SagaStorage) -> None:
        """Though clocks stand still, or go back; each line is as it was."""
        record = saga()
        record.entries = [entry("a", 5.0), entry("b", 5.0), entry("c", 5.0, attempt=3)]
        sagas.create(record, lease=LEASE)
        record.entries = [entry("d", 4.0, error="\u2718 'x'", who="Zo\u00eb"), entry("e", 1763740800.123456)]
        sagas.save(record, lease=LEASE)

        log = list(sagas.history(record.id))

        assert [line.step for line in log] == list("abcde")
        assert log[2].attempt == 3
        assert log[3] == entry("d", 4.0, error="\u2718 'x'", who="Zo\u00eb")
        assert log[4].at == pytest.approx(1763740800.123456, abs=1e-5)
        assert record.entries == []

    def test_each_saga_has_its_own_log(self, sagas: SagaStorage) -> None:
        """No line of another one."""
        one, other = saga(), saga()
        one.entries, other.entries = [entry("one")], [entry("other")]
        sagas.create(one, lease=LEASE)
        sagas.create(other, lease=LEASE)

        assert [line.step for line in sagas.history(one.id)] == ["one"]

    def test_find_gives_the_newest_first(self, sagas: SagaStorage) -> None:
        """Of a name, of a status, and not more than asked for."""
        statuses: list[SagaStatus] = ["RUNNING", "COMPLETED", "RUNNING", "COMPLETED"]
        records = [saga(status=status, name=f"contract.{n % 2 and 'x'}") for n, status in enumerate(statuses)]
        for record in records:
            sagas.create(record, lease=LEASE)
        a, b, c, d = [record.id for record in records]

        def found(**wanted: object) -> list[object]:
            return [record.id for record in sagas.find(**wanted)]  # type: ignore[arg-type]

        assert found() == [d, c, b, a]
        assert found(limit=2) == [d, c]
        assert found(saga="contract.x") == [d, b]
        assert found(status="RUNNING") == [c, a]
        assert found(saga="contract.x", status="RUNNING") == []


class SagaContract(KeepingContract, LeaseContract, WaitingContract):
    """All that a storage of sagas does.  Override ``sagas`` and ``pass_time``."""
