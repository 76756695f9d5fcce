"""What sagas wait for, in a SQLite file, and events that came before anybody did."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from simplecqrs.saga.columns import address
from simplecqrs.saga.records import Record, Waiting
from simplecqrs.saga.sqlite_file import NOW

__all__ = ["Waits", "forget_early", "keep_early", "store_waits"]


class Waits(NamedTuple):
    """
    What a saga waits for, all in all.

    Args:
        arrived: whether an event has come for one of its steps.
        ends: when the first of its times to wait is over; None: never.
    """

    arrived: bool = False
    ends: float | None = None


def store_waits(db: sqlite3.Connection, record: Record, now: float) -> Waits:
    """Store what steps begin to wait for, with what came for it already; forget what they do not wait for any more."""
    waiting = [name for name, known in record.progress.items() if known.phase == "waiting"]
    saga_id = str(record.id)
    marks = ", ".join("?" * len(waiting))
    db.execute(f"DELETE FROM simplecqrs_saga_waits WHERE saga_id = ? AND step NOT IN ({marks})", (saga_id, *waiting))
    for wait in record.waits:
        _begin(db, saga_id, wait, now)
    if not waiting:
        return Waits()
    sql = "SELECT COUNT(event), MIN(ends) FROM simplecqrs_saga_waits WHERE saga_id = ?"
    events, ends = db.execute(sql, (saga_id,)).fetchone()
    return Waits(events > 0, ends)


def _begin(db: sqlite3.Connection, saga_id: str, wait: Waiting, now: float) -> None:
    where, ends = address(wait.place, wait.key), None if wait.timeout is None else now + wait.timeout
    sql = "SELECT number, event FROM simplecqrs_saga_events WHERE address = ? ORDER BY number LIMIT 1"
    number, event = db.execute(sql, (where,)).fetchone() or (None, None)
    if number is not None:
        db.execute("DELETE FROM simplecqrs_saga_events WHERE number = ?", (number,))
    db.execute(
        "INSERT OR REPLACE INTO simplecqrs_saga_waits (saga_id, step, address, ends, event) VALUES (?, ?, ?, ?, ?)",
        (saga_id, wait.step, where, ends, event),
    )


def keep_early(db: sqlite3.Connection, where: str, event: bytes) -> None:
    """Keep an event for somebody who will wait for it."""
    db.execute(f"INSERT INTO simplecqrs_saga_events (address, event, at) VALUES (?, ?, {NOW})", (where, event))


def forget_early(db: sqlite3.Connection, age: float) -> None:
    """Delete some of the events that nobody has waited for in so many seconds."""
    db.execute(
        "DELETE FROM simplecqrs_saga_events WHERE number IN "
        f"(SELECT number FROM simplecqrs_saga_events ORDER BY number LIMIT 100) AND at <= {NOW} - ?",
        (age,),
    )
