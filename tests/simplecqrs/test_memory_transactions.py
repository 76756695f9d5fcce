"""Dicts with transactions: what fails is undone, a nested one is a savepoint, locks end with the outermost."""

from __future__ import annotations

import threading

import pytest

from simplecqrs.memory_transactions import MemoryTransactions


class Boom(Exception):
    """Leaves a transaction."""


def test_what_an_exception_leaves_is_undone() -> None:
    """Items that were set, changed and removed are as they were."""
    db, table = MemoryTransactions(), {"changed": 1, "removed": 2}

    with pytest.raises(Boom), db.transaction():
        db.put(table, "changed", 9)
        db.put(table, "new", 9)
        db.drop(table, "removed")
        raise Boom

    assert table == {"changed": 1, "removed": 2}


def test_a_nested_transaction_is_a_savepoint() -> None:
    """Only what was done in it is undone, what was to follow its commit included."""
    db, table, followed = MemoryTransactions(), dict[str, int](), list[str]()

    with db.transaction():
        db.put(table, "outer", 1)
        db.at_commit(lambda: followed.append("outer"))
        with pytest.raises(Boom), db.transaction():
            db.put(table, "inner", 1)
            db.at_commit(lambda: followed.append("inner"))
            raise Boom
        assert followed == []

    assert table == {"outer": 1}
    assert followed == ["outer"]


def test_a_nested_transaction_shares_the_fate_of_the_outer_one() -> None:
    """It is committed with it or not at all."""
    db, table, followed = MemoryTransactions(), dict[str, int](), list[str]()

    with pytest.raises(Boom), db.transaction():
        with db.transaction():
            db.put(table, "inner", 1)
            db.at_commit(lambda: followed.append("inner"))
        raise Boom

    assert (table, followed) == ({}, [])


def test_a_lock_is_kept_until_the_outermost_transaction_ends() -> None:
    """Who waits gets it then; who does not is told at once."""
    db, got = MemoryTransactions(), list[bool]()

    def take(*, wait: bool) -> None:
        with db.transaction():
            got.append(db.lock("lane", wait=wait))

    with db.transaction():
        with db.transaction():
            assert db.lock("lane")
        hasty = threading.Thread(target=take, kwargs={"wait": False})
        hasty.start()
        hasty.join()
        patient = threading.Thread(target=take, kwargs={"wait": True})
        patient.start()
        assert got == [False]
    patient.join()

    assert got == [False, True]
