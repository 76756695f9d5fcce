"""Outbox and inbox on Django's tables: the storage port of ``simplecqrs.queue``."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from django.db import OperationalError, connections, transaction

from django_cqrs import rows
from django_cqrs.dialects import dialect, placeholders
from django_cqrs.held import HeldLanes
from django_cqrs.models import Blocked
from simplecqrs.envelope import Envelope
from simplecqrs.queue import Box, Row

__all__ = ["DjangoStorage", "inbox", "outbox"]

CHUNK = 1000


class DjangoStorage:
    """
    One box on one alias.

    Args:
        box: ``outbox`` or ``inbox``.
        alias: of the database.
    """

    def __init__(self, box: Box, alias: str) -> None:
        self.box = box
        self.alias = alias
        self.hot, self.parked = rows.TABLES[box]
        self.blocked = Blocked._meta.db_table

    def append(self, rows_: Sequence[tuple[str, int, Envelope]], /) -> None:
        """Add rows by one INSERT, or one per thousand, within the transaction that is open."""
        for start in range(0, len(rows_), CHUNK):
            rows.insert(connections[self.alias], self.hot, rows_[start : start + CHUNK])

    @contextmanager
    def hold(
        self, queue: str, /, *, lanes: Sequence[int], limit: int, local: bool, idle: float
    ) -> Generator[HeldLanes | None, None, None]:
        """Lock lanes that have work.  Reading is left to a later statement, which sees what was done meanwhile."""
        speech = dialect(self.alias)
        with self._noticing_loss(), speech.holding(f"{self.hot}:{queue}", local=local) as ours:
            found = self._lock(queue, lanes, limit, idle) if ours else []
            if not found:
                yield None
                return
            due = any(is_due for _, is_due in found)
            yield HeldLanes(self, speech, queue, [lane for lane, _ in found], has_due=due)

    def _lock(self, queue: str, lanes: Sequence[int], limit: int, idle: float) -> list[tuple[int, bool]]:
        """
        Return lanes that have work and that are ours now, and whether a parked key of theirs is due.

        The candidates are found first: a lock that was taken on an idle lane would be kept until the end.
        """
        speech = dialect(self.alias)
        lock, parameters = self._lane_lock(queue, idle)
        due = (
            f"EXISTS (SELECT 1 FROM {self.blocked} b WHERE b.box = %s AND b.queue = %s AND b.lane = c.lane"
            f" AND b.next_at <= {speech.now})"
        )
        sql = (
            f"WITH c(lane) AS (VALUES {', '.join(['(%s)'] * len(lanes))}), "
            f"work AS MATERIALIZED (SELECT c.lane, {due} AS due, EXISTS (SELECT 1 FROM {self.hot} o"
            " WHERE o.queue = %s AND o.lane = c.lane) AS fresh FROM c), "
            "candidates AS MATERIALIZED (SELECT lane, due FROM work WHERE due OR fresh) "
            f"SELECT lane, due FROM candidates WHERE {lock} LIMIT %s"
        )
        with connections[self.alias].cursor() as cursor:
            cursor.execute(sql, [*lanes, self.box, queue, queue, *parameters, limit])
            return [(lane, bool(is_due)) for lane, is_due in cursor.fetchall()]

    @contextmanager
    def take(self, row: Row, /, *, idle: float) -> Generator[bool, None, None]:
        """Delete one row and take its lane's lock in one statement; a row that somebody deleted is checked again."""
        speech = dialect(self.alias)
        table = self.parked if row.parked else self.hot
        with self._noticing_loss(), speech.holding(f"{self.hot}:{row.queue}", local=True) as free:
            ours = free and self._delete_locked(table, row, idle)
            if ours and row.parked:
                HeldLanes(self, speech, row.queue, [row.lane], has_due=False).unblock([row])
            yield ours

    def _delete_locked(self, table: str, row: Row, idle: float) -> bool:
        lock, parameters = self._lane_lock(row.queue, idle)
        with connections[self.alias].cursor() as cursor:
            cursor.execute(f"DELETE FROM {table} WHERE id = %s AND {lock}", [row.id, *parameters])
            return bool(cursor.rowcount == 1)

    def _lane_lock(self, queue: str, idle: float) -> tuple[str, list[Any]]:
        # What the relay's commit marks is sent again if the mark is lost, and dropped at the consumer's door; what a
        # consumer's commit says is final.
        return dialect(self.alias).lane_lock(f"{self.hot}:{queue}", idle=idle, relaxed=self.box == "outbox")

    @contextmanager
    def _noticing_loss(self) -> Generator[None, None, None]:
        """
        Raise OperationalError in place of what was raised if the connection was lost meanwhile.

        The loop then connects anew; what was being handled is parked like any failure, so that a handler from which
        the database takes its lane each time does not go round for ever.
        """
        connection = connections[self.alias]
        try:
            yield
        except Exception as error:
            raw = connection.connection
            if raw is None or getattr(raw, "closed", False):
                connection.close()
                raise OperationalError(f"the connection to {self.alias!r} was lost: {error}") from error
            raise

    def delete(self, table: str, ids: Sequence[int]) -> int:
        """Delete just these rows of one of our tables, and return how many there were."""
        deleted = 0
        with connections[self.alias].cursor() as cursor:
            for start in range(0, len(ids), CHUNK):
                chunk = ids[start : start + CHUNK]
                cursor.execute(f"DELETE FROM {table} WHERE id IN ({placeholders(chunk)})", chunk)
                deleted += cursor.rowcount
        return deleted

    def atomic(self) -> transaction.Atomic:
        """Open a transaction, or a savepoint, on this alias."""
        return transaction.atomic(using=self.alias)


@cache
def outbox(alias: str) -> DjangoStorage:
    """Return the outbox of an alias."""
    return DjangoStorage("outbox", alias)


@cache
def inbox(alias: str) -> DjangoStorage:
    """Return the inbox of an alias."""
    return DjangoStorage("inbox", alias)
