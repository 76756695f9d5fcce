"""Sagas in a SQLite file: for scripts, and for what has no database of its own."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from simplecqrs.codec import Codec, JSONCodec
from simplecqrs.errors import SagaMovedOn
from simplecqrs.saga.columns import address, entry_of, from_columns, to_columns, to_entry_columns
from simplecqrs.saga.records import ENDED, Entry, Record, Run, SagaStatus
from simplecqrs.saga.sqlite_file import NOW, SQLiteFile
from simplecqrs.saga.sqlite_tables import TABLES
from simplecqrs.saga.sqlite_waits import forget_early, keep_early, store_waits

__all__ = ["SQLiteSagas"]

#: The columns of a record; the table has ``due`` as well.
COLUMNS: Final = (
    "id", "saga", "state", "status", "progress", "position", "version", "fingerprint", "paused", "cancelled", "error",
    "owner", "recoveries", "correlation_id", "headers",
)  # fmt: skip
SELECT: Final = f"SELECT {', '.join(COLUMNS)} FROM simplecqrs_sagas"
INSERT: Final = (
    f"INSERT INTO simplecqrs_sagas ({', '.join(COLUMNS)}, due) VALUES ({', '.join(f':{c}' for c in COLUMNS)}, :due)"
)
#: What a save changes.
CHANGED: Final = (*[c for c in COLUMNS if c not in ("id", "saga", "version")], "due")
UPDATE: Final = (
    f"UPDATE simplecqrs_sagas SET {', '.join(f'{c} = :{c}' for c in CHANGED)}, version = version + 1 "
    "WHERE id = :id AND version = :version"
)
LOG: Final = (
    f"INSERT INTO simplecqrs_saga_log (saga_id, {', '.join(Entry._fields)}) "
    f"VALUES (:saga_id, {', '.join(f':{c}' for c in Entry._fields)})"
)
OPEN: Final = f"status NOT IN ({', '.join(repr(status) for status in sorted(ENDED))})"
#: Sagas that have ended, and need nobody, for so many seconds; a few, so that others may write in between.
OLD: Final = (
    "SELECT id FROM simplecqrs_sagas WHERE status IN ('COMPLETED', 'COMPENSATED', 'CANCELLED') AND "
    f"COALESCE((SELECT MAX(at) FROM simplecqrs_saga_log WHERE saga_id = id), 0) <= {NOW} - ? LIMIT 500"
)


class SQLiteSagas:
    """
    Keep sagas in a SQLite file, by the standard library: for scripts.

    Threads and processes of one machine share the file; fork before threads use it.  It is made at first use, and its
    tables.

    What steps write themselves is not in its transactions: if a process dies after a step's own commit and before that
    of its outcome, the step is asked again, with the same key.  So each effect happens at least once, and once if the
    step honours ``current_step().key``.

    Keep sagas in a file of their own: a step whose own transaction writes to the same file waits for itself.

    Args:
        path: the file.  Not on a network drive: SQLite's locks do not work there.
        codec: makes bytes of states.
        timeout: seconds to wait for another one that writes.
        keep_events: seconds for which an event is kept that came before anybody waited for it.
    """

    keeps_objects = False
    has_consumer = False
    joins = False
    parallel = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        codec: Codec | None = None,
        *,
        timeout: float = 30.0,
        keep_events: float = 7 * 24 * 3600.0,
    ) -> None:
        self.codec: Codec = codec or JSONCodec()
        self._keep_events = keep_events
        self._file = SQLiteFile(path, timeout=timeout, tables=TABLES)

    def __repr__(self) -> str:
        return f"SQLiteSagas({self._file.path!r})"

    def close(self) -> None:
        """Close the file in this thread; it is opened again when it is needed."""
        self._file.close()

    def create(self, record: Record, /, *, lease: float | None) -> bool:
        """Store a new saga; False if there is one of its id."""
        columns = to_columns(record, self.codec) | {"version": 1}
        with self._file.writing() as db:
            if db.execute("SELECT 1 FROM simplecqrs_sagas WHERE id = ?", (str(record.id),)).fetchone():
                return False
            db.execute(INSERT, self._settled(db, record, columns, lease))
        _is_stored(record)
        return True

    def load(self, saga_id: UUID, /, *, lock: bool = False) -> Record | None:
        """Return a saga, or None.  There is no transaction that a lock could outlast: ``save`` compares versions."""
        row = self._file.db.execute(f"{SELECT} WHERE id = ?", (str(saga_id),)).fetchone()
        return None if row is None else _record(row)

    def save(self, record: Record, /, *, lease: float | None) -> None:
        """Store a saga, if nobody has changed it meanwhile."""
        columns = to_columns(record, self.codec)
        with self._file.writing() as db:
            if not db.execute(UPDATE, self._settled(db, record, columns, lease)).rowcount:
                raise SagaMovedOn(f"the saga {record.id} was changed by somebody else")
        _is_stored(record)

    def _settled(
        self, db: sqlite3.Connection, record: Record, columns: dict[str, Any], lease: float | None
    ) -> Mapping[str, Any]:
        """Store the log and what is waited for, and return the columns with who owns the saga and when it is stale."""
        saga_id, now = str(record.id), self._file.now()
        columns |= {"id": saga_id, "due": now + (lease or 0.0)}
        db.executemany(LOG, [{**to_entry_columns(entry), "saga_id": saga_id} for entry in record.entries])
        waits = store_waits(db, record, now)
        waiting = record.status == "WAITING" and not waits.arrived
        if record.ended or waiting:
            columns |= {"owner": "", "due": waits.ends}
        if record.ended or (record.paused and not columns["owner"]):
            columns["due"] = None
        return columns

    def later(self, record: Record, runs: Sequence[Run], /) -> None:
        """Let whoever recovers sagas take it up, at once or when the pause is over."""
        if runs:
            sql = f"UPDATE simplecqrs_sagas SET due = {NOW} + ? WHERE id = ? AND owner = '' AND {OPEN}"
            self._write(sql, min(run.pause for run in runs), str(record.id))

    def claim(self, saga_id: UUID, owner: str, /, *, lease: float) -> Record | None:
        """Make somebody the owner of a saga that nobody else holds, and that has not ended."""
        sql = (
            f"UPDATE simplecqrs_sagas SET owner = ?, due = {NOW} + ?, version = version + 1 "
            f"WHERE id = ? AND {OPEN} AND (owner IN ('', ?) OR due <= {NOW})"
        )
        with self._file.writing() as db:
            if not db.execute(sql, (owner, lease, str(saga_id), owner)).rowcount:
                return None
            return self.load(saga_id)

    def renew(self, saga_id: UUID, owner: str, /, *, lease: float) -> bool:
        """Hold a saga for longer; False: it is not ours any more."""
        sql = f"UPDATE simplecqrs_sagas SET due = {NOW} + ? WHERE id = ? AND owner = ?"
        return self._write(sql, lease, str(saga_id), owner) > 0

    def release(self, saga_id: UUID, owner: str, /, *, due: float | None) -> None:
        """Let go of a saga that is ours."""
        sql = (
            f"UPDATE simplecqrs_sagas SET owner = '', due = {NOW} + ?, version = version + 1 WHERE id = ? AND owner = ?"
        )
        self._write(sql, due, str(saga_id), owner)

    def stale(self, *, limit: int, saga: str | None = None) -> Sequence[UUID]:
        """Return sagas that are due, the one that was due first before others."""
        named, names = ("", ()) if saga is None else ("AND saga = ?", (saga,))
        sql = f"SELECT id FROM simplecqrs_sagas WHERE due <= {NOW} {named} ORDER BY due, number LIMIT ?"
        return [UUID(row[0]) for row in self._file.db.execute(sql, (*names, limit))]

    def history(self, saga_id: UUID, /) -> Sequence[Entry]:
        """Return a saga's log, in its order."""
        sql = f"SELECT {', '.join(Entry._fields)} FROM simplecqrs_saga_log WHERE saga_id = ? ORDER BY number"
        rows = self._file.db.execute(sql, (str(saga_id),))
        return [entry_of(dict(zip(Entry._fields, row, strict=True))) for row in rows]

    def find(self, *, saga: str | None = None, status: SagaStatus | None = None, limit: int = 100) -> Sequence[Record]:
        """Return sagas, those that were begun last first."""
        wanted = {column: value for column, value in (("saga", saga), ("status", status)) if value is not None}
        where = f"WHERE {' AND '.join(f'{column} = ?' for column in wanted)}" if wanted else ""
        rows = self._file.db.execute(f"{SELECT} {where} ORDER BY number DESC LIMIT ?", (*wanted.values(), limit))
        return [_record(row) for row in rows]

    def hand_in(self, place: str, key: str, payload: bytes, /) -> Sequence[UUID]:
        """Give an event to whoever waits for it; keep it if nobody does yet."""
        where = address(place, key)
        waiting = "SELECT saga_id FROM simplecqrs_saga_waits WHERE address = ?"
        with self._file.writing() as db:
            found = [UUID(row[0]) for row in db.execute(f"{waiting} ORDER BY rowid", (where,))]
            if found:
                db.execute(
                    "UPDATE simplecqrs_saga_waits SET event = ? WHERE address = ? AND event IS NULL", (payload, where)
                )
                db.execute(
                    f"UPDATE simplecqrs_sagas SET due = MIN(COALESCE(due, {NOW}), {NOW}) "
                    f"WHERE id IN ({waiting}) AND status = 'WAITING' AND owner = '' AND NOT paused",
                    (where,),
                )
            else:
                keep_early(db, where, payload)
            forget_early(db, self._keep_events)
        return found

    def arrived(self, saga_id: UUID, step: str, /) -> bytes | None:
        """Return the event that has come for a step that waits, or None."""
        sql = "SELECT event FROM simplecqrs_saga_waits WHERE saga_id = ? AND step = ?"
        row = self._file.db.execute(sql, (str(saga_id), step)).fetchone()
        return None if row is None or row[0] is None else bytes(row[0])

    def overdue(self, saga_id: UUID, /) -> Sequence[str]:
        """Return the steps that have waited for too long."""
        sql = f"SELECT step FROM simplecqrs_saga_waits WHERE saga_id = ? AND ends <= {NOW} ORDER BY ends"
        return [row[0] for row in self._file.db.execute(sql, (str(saga_id),))]

    def forget(self, age: timedelta) -> int:
        """Delete sagas that ended well so long ago, with their logs, and return how many; their ids can begin anew."""
        deleted = 0
        while True:
            with self._file.writing() as db:
                ids = db.execute(OLD, (age.total_seconds(),)).fetchall()
                db.executemany("DELETE FROM simplecqrs_saga_log WHERE saga_id = ?", ids)
                db.executemany("DELETE FROM simplecqrs_sagas WHERE id = ?", ids)
            deleted += len(ids)
            if not ids:
                return deleted

    def _write(self, sql: str, *values: Any) -> int:
        with self._file.writing() as db:
            return db.execute(sql, values).rowcount


def _record(row: Sequence[Any]) -> Record:
    return from_columns(dict(zip(COLUMNS, row, strict=True)))


def _is_stored(record: Record) -> None:
    record.version += 1
    record.entries, record.waits = [], []
