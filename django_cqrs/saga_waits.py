"""
What sagas wait for: events and steps that find each other, whoever comes first.

Who begins to wait and who hands an event in lock the same row before they look for each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID
from zlib import crc32

from django_cqrs.databases.statements import placeholders
from django_cqrs.models import Lane, Saga, SagaMail, SagaWait
from django_cqrs.saga_rows import SagaRows, execute, query
from simplecqrs.saga.columns import address
from simplecqrs.saga.records import Record, Waiting

__all__ = ["SagaWaits"]

SAGAS, WAITS, MAIL, GATES = (model._meta.db_table for model in (Saga, SagaWait, SagaMail, Lane))
#: How many rows there are to lock; two that share one only wait for each other.
NUMBER: Final = 64
#: What tells such a row from a lane.
BOX, QUEUE = "saga", "mail"


class SagaWaits:
    """The waits of one alias."""

    def __init__(self, rows: SagaRows) -> None:
        self._rows = rows
        self._alias = rows.alias

    def meet(self, addresses: Sequence[str]) -> None:
        """Lock what both sides lock, until the transaction ends."""
        for gate in sorted({crc32(text.encode()) % NUMBER for text in addresses}):
            sql = f"SELECT id FROM {GATES} WHERE box = %s AND queue = %s AND lane = %s{self._rows.for_update()}"
            if not query(self._alias, sql, [BOX, QUEUE, gate]):
                columns = ("box", "queue", "lane")
                self._rows.speech.insert_new(GATES, columns, columns, [(BOX, QUEUE, gate)])
                query(self._alias, sql, [BOX, QUEUE, gate])

    def sync(self, record: Record) -> None:
        """Forget what does not wait any more, and store what waits now, with what came for it early."""
        waiting = [name for name, known in record.progress.items() if known.phase == "waiting"]
        others = f" AND step NOT IN ({', '.join(['%s'] * len(waiting))})" if waiting else ""
        execute(self._alias, f"DELETE FROM {WAITS} WHERE saga_id = %s{others}", [self._rows.uuid(record.id), *waiting])
        for wait in record.waits:
            self._add(record.id, wait)

    def _add(self, saga_id: UUID, wait: Waiting) -> None:
        where = address(wait.place, wait.key)
        ends = ("NULL", []) if wait.timeout is None else self._rows.later(wait.timeout)
        execute(
            self._alias,
            f"INSERT INTO {WAITS} (saga_id, step, address, place, event_key, ends, event)"
            f" VALUES (%s, %s, %s, %s, %s, {ends[0]}, %s)",
            [self._rows.uuid(saga_id), wait.step, where, wait.place, wait.key, *ends[1], self._early(where)],
        )

    def _early(self, where: str) -> bytes | None:
        """Take an event that came before anybody waited for it."""
        sql = f"SELECT id, payload FROM {MAIL} WHERE address = %s ORDER BY id LIMIT 1{self._rows.for_update()}"
        for number, payload in query(self._alias, sql, [where]):
            execute(self._alias, f"DELETE FROM {MAIL} WHERE id = %s", [number])
            return bytes(payload)
        return None

    def settle(self, record: Record, due: tuple[str, list[Any]]) -> None:
        """
        Let go of a saga that waits, until the first of its times is over; if an event is there, it is due.

        Args:
            due: when it is then, if nobody goes on with it.
        """
        saga_id = self._rows.uuid(record.id)
        come = query(self._alias, f"SELECT 1 FROM {WAITS} WHERE saga_id = %s AND event IS NOT NULL LIMIT 1", [saga_id])
        if come:
            execute(self._alias, f"UPDATE {SAGAS} SET due_at = {due[0]} WHERE id = %s", [*due[1], saga_id])
            return
        ends = f"(SELECT MIN(ends) FROM {WAITS} WHERE saga_id = %s)"
        execute(self._alias, f"UPDATE {SAGAS} SET owner = '', due_at = {ends} WHERE id = %s", [saga_id, saga_id])

    def hand_in(self, place: str, key: str, payload: bytes) -> list[UUID]:
        """Store an event with those that wait for it, and return them; keep it for one if there is none."""
        where = address(place, key)
        self.meet([where])
        found = self._lock_waiting(where)
        if not found:
            execute(self._alias, f"INSERT INTO {MAIL} (address, payload) VALUES (%s, %s)", [where, payload])
            return []
        execute(self._alias, f"UPDATE {WAITS} SET event = %s WHERE address = %s AND event IS NULL", [payload, where])
        ids = [self._rows.speech.uuid(saga_id) for saga_id in found]
        now: tuple[str, list[Any]] = (self._rows.speech.now, [])
        for saga_id in ids:
            self._rows.set_due(saga_id, now, "status = 'WAITING' AND owner = '' AND NOT paused", [])
        return ids

    def _lock_waiting(self, where: str) -> list[Any]:
        """
        Return who waits here, having locked the sagas first, and in their order, as whoever stores one does.

        The other way round this would meet somebody whose time to wait is over in a deadlock.
        """
        sql = f"SELECT saga_id FROM {WAITS} WHERE address = %s"
        before = sorted(saga_id for (saga_id,) in query(self._alias, sql, [where]))
        if not before:
            return []
        locking = self._rows.for_update()
        if locking:
            those = f"id IN ({placeholders(before)}) ORDER BY id{locking}"
            query(self._alias, f"SELECT id FROM {SAGAS} WHERE {those}", before)
        return [saga_id for (saga_id,) in query(self._alias, f"{sql}{locking}", [where])]

    def arrived(self, saga_id: UUID, step: str) -> bytes | None:
        """Return the event that has come for a step, or None."""
        sql = f"SELECT event FROM {WAITS} WHERE saga_id = %s AND step = %s{self._rows.for_update()}"
        for (event,) in query(self._alias, sql, [self._rows.uuid(saga_id), step]):
            return None if event is None else bytes(event)
        return None

    def overdue(self, saga_id: UUID) -> list[str]:
        """Return the steps that have waited for too long."""
        sql = f"SELECT step FROM {WAITS} WHERE saga_id = %s AND ends <= {self._rows.speech.now} ORDER BY ends"
        return [step for (step,) in query(self._alias, sql, [self._rows.uuid(saga_id)])]
