"""Blocked keys: what failed and when it is tried again; or that it is dead, and whether others wait for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from attrs import evolve
from django.db import connections

from django_cqrs import rows
from django_cqrs.databases import Dialect, Place
from django_cqrs.databases.statements import placeholders
from django_cqrs.masking import kept
from django_cqrs.models import Dead
from simplecqrs.queue import Failure, Row

if TYPE_CHECKING:
    from django_cqrs.queue import DjangoStorage

__all__ = ["BlockedKeys", "DueKey"]

#: Blocked keys whose retry is due and that are looked at in one read.
DUE = 100


class DueKey(NamedTuple):
    """
    A blocked key whose retry is due.

    ``slot`` is the id of the only row, or 0 for all of the key; ``waited`` are seconds for another release.
    """

    id: int
    topic: str
    key: str
    slot: int
    head: int
    attempts: int
    waited: float


class BlockedKeys:
    """The blocked keys of one queue, for who holds the lanes of their rows."""

    def __init__(self, storage: DjangoStorage, speech: Dialect, place: Place) -> None:
        self._storage = storage
        self._speech = speech
        self._place = place

    def due(self, lanes: Sequence[int], /) -> list[DueKey]:
        """Return keys whose retry is due, those that have waited longest first."""
        s = self._storage
        with connections[s.alias].cursor() as cursor:
            cursor.execute(
                f"SELECT id, topic, order_key, slot, head, attempts, waits_since, {self._speech.now} FROM {s.blocked}"
                f" WHERE box = %s AND queue = %s AND lane IN ({placeholders(lanes)}) AND next_at <= {self._speech.now}"
                f" ORDER BY next_at LIMIT {DUE}",
                [s.box, self._place.queue, *lanes],
            )
            return [DueKey._make((*key, self._waited(since, now))) for *key, since, now in cursor.fetchall()]

    def _waited(self, since: Any, now: Any) -> float:
        """Return for how many seconds the head of a key has waited for another release."""
        moment = self._speech.moment
        return 0.0 if since is None else (moment(now) - moment(since)).total_seconds()

    def block(self, row: Row, failure: Failure) -> None:
        """Set when a key is tried again; without a pause it waits for an operator."""
        s = self._storage
        next_at = "NULL" if failure.pause is None else self._speech.later
        pause = [] if failure.pause is None else [failure.pause]
        place = [s.box, self._place.queue, row.envelope.topic, row.envelope.key, _slot(row)]
        error, since = kept(failure.reason), self._speech.now if failure.waits else "NULL"
        still = f"CASE WHEN head = {row.id:d} THEN COALESCE(waits_since, {since}) ELSE {since} END"
        with connections[s.alias].cursor() as cursor:
            # MariaDB assigns from left to right, and goes on with what is new by then.
            cursor.execute(
                f"UPDATE {s.blocked} SET waits_since = {still if failure.waits else since}, head = %s, attempts = %s,"
                f" error = %s, next_at = {next_at}"
                " WHERE box = %s AND queue = %s AND topic = %s AND order_key = %s AND slot = %s",
                [row.id, failure.attempts, error, *pause, *place],
            )
            if cursor.rowcount:
                return
            cursor.execute(
                f"INSERT INTO {s.blocked}"
                " (head, attempts, error, next_at, waits_since, lane, box, queue, topic, order_key, slot)"
                f" VALUES (%s, %s, %s, {next_at}, {since}, %s, %s, %s, %s, %s, %s)",
                [row.id, failure.attempts, error, *pause, row.lane, *place],
            )

    def bury(self, row: Row, failure: Failure) -> None:
        """Make a dead letter of a row; its key waits for an operator, or goes on."""
        s = self._storage
        holds = failure.hold and row.envelope.key != ""
        with connections[s.alias].cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {Dead._meta.db_table} (box, row_id, attempts, reason, holds, created_at, {rows.COLUMNS})"
                f" SELECT %s, id, %s, %s, %s, created_at, {rows.COLUMNS} FROM {s.parked} WHERE id = %s",
                [s.box, failure.attempts, kept(failure.reason), holds, row.id],
            )
        s.delete(s.parked, [row.id])
        if holds:
            self.block(row, evolve(failure, waits=False))
        else:
            self.unblock([row])

    def unblock(self, settled: Sequence[Row], /) -> None:
        """Let keys go on whose parked rows these were: with what waits there still, else with new rows."""
        s = self._storage
        for topic, key, slot in {(r.envelope.topic, r.envelope.key, _slot(r)) for r in settled}:
            waits = (
                f"(SELECT MIN(p.id) FROM {s.parked} p WHERE p.queue = %s AND p.topic = %s AND p.order_key = %s"
                " AND %s IN (0, p.id))"
            )
            waiting = [self._place.queue, topic, key, slot]
            place = [s.box, self._place.queue, topic, key, slot]
            where = "WHERE box = %s AND queue = %s AND topic = %s AND order_key = %s AND slot = %s"
            self._lock(where, place)
            with connections[s.alias].cursor() as cursor:
                cursor.execute(f"DELETE FROM {s.blocked} {where} AND {waits} IS NULL", [*place, *waiting])
                if cursor.rowcount == 0:
                    cursor.execute(
                        f"UPDATE {s.blocked} SET waits_since = NULL, head = {waits}, attempts = 0,"
                        f" next_at = {self._speech.now} {where}",
                        [*waiting, *place],
                    )

    def unblock_empty(self, keys: Sequence[DueKey], /) -> None:
        """
        Unblock due keys behind which nothing waits, as after a dead letter was skipped.

        They go by their ids: a database that locks rows while it looks for them would wait for other lanes.
        """
        s = self._storage
        due = [key.id for key in keys]
        self._lock(f"WHERE id IN ({placeholders(due)})", due)
        with connections[s.alias].cursor() as cursor:
            cursor.execute(
                f"DELETE FROM {s.blocked} WHERE id IN ({placeholders(due)}) AND next_at <= {self._speech.now}"
                f" AND NOT EXISTS (SELECT 1 FROM {s.parked} p WHERE p.queue = %s AND p.topic = {s.blocked}.topic"
                f" AND p.order_key = {s.blocked}.order_key AND {s.blocked}.slot IN (0, p.id))",
                [*due, self._place.queue],
            )

    def _lock(self, where: str, parameters: Sequence[Any]) -> None:
        """
        Lock blocked keys before it is asked in a later statement what waits behind them.

        An operator who parks a dead letter again has locked his; in one statement we would wait for him, and go on
        with what was there before.
        """
        connection = connections[self._storage.alias]
        if connection.features.has_select_for_update:
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT id FROM {self._storage.blocked} {where} ORDER BY id FOR UPDATE", parameters)


def _slot(row: Row) -> int:
    return 0 if row.envelope.key else row.id
