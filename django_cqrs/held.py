"""Lanes of a queue whose lock we hold: reading, deleting, parking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from attrs import evolve
from django.db import Error, connections

from django_cqrs import rows
from django_cqrs.blocking import BlockedKeys, DueKey
from django_cqrs.databases import Dialect, Place
from django_cqrs.databases.statements import blocked, placeholders
from django_cqrs.pausing import pause_queue
from django_cqrs.safe_ids import Progress
from simplecqrs.backoff import Pause
from simplecqrs.queue import Failure, Row

if TYPE_CHECKING:
    from django_cqrs.queue import DjangoStorage

__all__ = ["HeldLanes"]

#: Reads in a row that only move rows behind their blocked keys, before the lanes are given back.
MOVES = 20


class HeldLanes:
    """
    See ``simplecqrs.queue.Held``.

    Args:
        lanes: and the ids after which their rows are.
    """

    def __init__(
        self, storage: DjangoStorage, speech: Dialect, place: Place, lanes: Mapping[int, int], *, has_due: bool
    ) -> None:
        self._storage = storage
        self._speech = speech
        self._place = place
        self._queue = place.queue
        self._lanes = list(lanes)
        self._after = lanes
        self._has_due = has_due
        self._keys = BlockedKeys(storage, speech, place)
        self._progress = Progress()

    def read(self, limit: int, max_bytes: int, /) -> Sequence[Row]:
        """Return parked rows that are due, then new ones; new ones of blocked keys are moved behind their keys."""
        due = self._read_due(limit, max_bytes) if self._has_due else []
        fresh: list[Row] = []
        for _ in range(MOVES):
            if len(due) >= limit:
                break
            fresh, behind = self._read_fresh(limit - len(due), max_bytes)
            self._move(behind)
            if fresh or not behind:
                break
        return due + fresh

    def done(self, done: Sequence[Row], /) -> int:
        """Delete rows by their ids."""
        parked = [row for row in done if row.parked]
        fresh = [row.id for row in done if not row.parked]
        with self._together():
            deleted = self._storage.done(self._storage.hot, fresh)
            self._progress.gone(fresh)
            if parked:
                deleted += self._storage.done(self._storage.parked, [row.id for row in parked])
                self._keys.unblock(parked)
        return deleted

    def finished(self) -> dict[int, int]:
        """Return for each lane the last id up to which all that was read of it is gone."""
        return self._progress.ends()

    def claim(self, row: Row, owner: int, /, *, most: int) -> int:
        """Mark who begins with this row, beside our transaction."""
        return self._speech.marks.claim(self._place, row.lane, row.id, owner, most=most)

    def disclaim(self, row: Row, owner: int, /) -> None:
        """Take back that an owner has begun with this row, beside our transaction, which is to be rolled back."""
        with suppress(Error):  # of a database that is gone: then it is taken for one who did not come back
            self._speech.marks.disclaim(self._place, row.lane, row.id, owner)

    def park(self, row: Row, failure: Failure, /) -> None:
        """Put a row aside and block its key, or make a dead letter of it."""
        with self._together():
            # It may be parked by now, whatever it was when it was read.
            if not self._move([row.id]) and not self._is_parked(row):
                return
            row = evolve(row, parked=True)
            if self._storage.box == "inbox":
                self._speech.marks.forget(self._place, row.lane)
            if failure.pause is None:
                self._keys.bury(row, failure)
            else:
                self._keys.block(row, failure)

    def pause(self, row: Row, pause: Pause, reason: str, /, *, took: float) -> float | None:
        """Let the whole queue pause; that somebody has begun with the row is forgotten."""
        with self._together():
            self._speech.marks.forget(self._place, row.lane)
            return pause_queue(self._storage.alias, self._place, pause, reason, took=took)

    # -- reading ---------------------------------------------------------------------------------------------------

    def _read_due(self, limit: int, max_bytes: int) -> list[Row]:
        """Return the first parked rows of keys whose retry is due, each key's in their order."""
        s = self._storage
        keys = self._keys.due(self._lanes)
        ids = self._first_parked(keys, limit, max_bytes) if keys else []
        if not ids:
            if keys:
                self._keys.unblock_empty(keys)
            return []
        known = {key.head: (key.attempts, key.waited) for key in keys}
        columns = rows.selected(self._speech)
        with connections[s.alias].cursor() as cursor:
            cursor.execute(f"SELECT id, {columns} FROM {s.parked} WHERE id IN ({placeholders(ids)}) ORDER BY id", ids)
            records = cursor.fetchall()
        return [self._parked_row(known, record) for record in records]

    def _parked_row(self, known: Mapping[int, tuple[int, float]], record: Sequence[Any]) -> Row:
        attempts, waited = known.get(record[0], (0, 0.0))
        return evolve(rows.read_row(self._speech, (record[0], attempts, *record[1:]), parked=True), waited=waited)

    def _first_parked(self, keys: Sequence[DueKey], limit: int, max_bytes: int) -> list[int]:
        """
        Return the ids of each key's first rows, as many in all as may be read, one at least.

        Each key is asked for by itself: what waits behind it may be millions, and is not to be gone through.
        """
        one = (
            f"SELECT id, size FROM (SELECT id, LENGTH(payload) AS size FROM {self._storage.parked} WHERE queue = %s"
            f" AND topic = %s AND order_key = %s AND %s IN (0, id) ORDER BY id LIMIT {-(-limit // len(keys))}) k"
        )
        places = [value for key in keys for value in (self._queue, key.topic, key.key, key.slot)]
        with connections[self._storage.alias].cursor() as cursor:
            cursor.execute(" UNION ALL ".join([one] * len(keys)), places)
            found = sorted(cursor.fetchall())
        ids: list[int] = []
        for row, size in found[:limit]:
            if ids and max_bytes <= 0:
                break
            ids.append(row)
            max_bytes -= size
        return ids

    def _read_fresh(self, limit: int, max_bytes: int) -> tuple[list[Row], list[int]]:
        """
        Return new rows that may go, and the ids of those whose key is blocked.

        Each lane's share is limited in rows and in bytes by the query itself.
        """
        s = self._storage
        share, weight = -(-limit // len(self._lanes)), -(-max_bytes // len(self._lanes))
        condition, parameters = blocked(self._place)
        first = self._speech.first_of_lanes(
            s.hot, s.hot_index, list(self._after), columns=f"{rows.COLUMNS}, created_at", rows=share, weight=weight
        )
        is_behind = f"CASE WHEN o.order_key <> '' AND {condition} THEN 1 ELSE 0 END"
        sql = f"SELECT o.id, {is_behind}, {rows.selected(self._speech, 'o')} FROM {first}"
        places = [value for after in self._after.values() for value in (self._queue, after)]
        with connections[s.alias].cursor() as cursor:
            cursor.execute(sql, [*parameters, *places])
            records = sorted(cursor.fetchall(), key=itemgetter(0))
        for record in records:
            self._progress.read(record[3], record[0])
        behind = [record[0] for record in records if record[1]]
        fresh = [rows.read_row(self._speech, (r[0], 0, *r[2:]), parked=False) for r in records if not r[1]]
        return fresh[:limit], behind

    # -- parking ---------------------------------------------------------------------------------------------------

    def _move(self, ids: Sequence[int]) -> int:
        """Move new rows to the parked table."""
        s = self._storage
        if not ids:
            return 0
        with self._together():
            with connections[s.alias].cursor() as cursor:
                cursor.execute(
                    f"INSERT INTO {s.parked} (id, created_at, {rows.COLUMNS})"
                    f" SELECT id, created_at, {rows.COLUMNS} FROM {s.hot} WHERE id IN ({placeholders(ids)})",
                    ids,
                )
            self._progress.gone(ids)
            return s.delete(s.hot, ids)

    def _is_parked(self, row: Row) -> bool:
        with connections[self._storage.alias].cursor() as cursor:
            cursor.execute(f"SELECT 1 FROM {self._storage.parked} WHERE id = %s", [row.id])
            return cursor.fetchone() is not None

    def _together(self) -> AbstractContextManager[Any]:
        """Open a transaction for several statements, where the lanes are not held in one."""
        in_transaction = connections[self._storage.alias].in_atomic_block
        return nullcontext() if in_transaction else self._storage.atomic()
