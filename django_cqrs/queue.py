"""Outbox and inbox on Django's tables: the storage port of ``simplecqrs.queue``."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from django.db import OperationalError, connections, transaction

from django_cqrs import rows
from django_cqrs.blocking import BlockedKeys
from django_cqrs.conf import settings
from django_cqrs.databases import Place, dialect, statements
from django_cqrs.databases.statements import placeholders
from django_cqrs.held import HeldLanes
from django_cqrs.history import remember
from django_cqrs.locks import refuse_inside
from django_cqrs.models import Blocked
from django_cqrs.safe_ids import SafeIds
from django_cqrs.schemas import with_tenant
from django_cqrs.wakeup import wake_after_commit
from simplecqrs.envelope import Envelope
from simplecqrs.queue import Box, Row, Work

__all__ = ["DjangoStorage", "inbox", "outbox"]

CHUNK = 1000


class DjangoStorage:
    """
    One box on one alias, as one worker sees it: it remembers how far its lanes are worked off.

    Args:
        box: ``outbox`` or ``inbox``.
        alias: of the database.

    Attributes:
        late: how often there was a row where none could come any more.
    """

    def __init__(self, box: Box, alias: str) -> None:
        self.box: Box = box
        self.alias = alias
        self.hot, self.parked = rows.TABLES[box]
        self.hot_index = rows.INDEXES[box]
        self.blocked = Blocked._meta.db_table
        self.late = 0
        self._safe: dict[str, SafeIds] = {}
        self._places: dict[str, Place] = {}
        self._seen_on: Any = None

    def append(self, rows_: Sequence[tuple[str, int, Envelope]], /) -> None:
        """Add rows, in several INSERTs if they are many or large, in the transaction that is open; its commit wakes."""
        if settings().schemas is not None:
            rows_ = [(queue, lane, with_tenant(self.alias, envelope)) for queue, lane, envelope in rows_]
        for portion in rows.portions(rows_, CHUNK):
            rows.insert(connections[self.alias], self.hot, portion)
        if rows_:
            wake_after_commit(self.alias, {f"{self.box}:{queue}" for queue, _, _ in rows_})

    def look(self, queue: str, lanes: Sequence[int], /) -> Sequence[Work]:
        """Return those of these lanes that have work, by one statement if none has."""
        is_test = refuse_inside(connections[self.alias])
        speech, place = dialect(self.alias), self.place(queue)
        safe = self._safe_ids(queue)
        if not is_test:
            safe.refresh(lanes)
        owner = speech.marks.owner(place) if self.box == "inbox" else ("0", [])
        found = statements.look(speech, place, safe.of(lanes), index=self.hot_index, owner=owner)
        works = {lane: Work(lane, head, due, last) for lane, head, due, last in found if head or due}
        self.late += safe.looked({lane: head for lane, head, *_ in found})
        return [works[lane] for lane in lanes if lane in works]

    @contextmanager
    def hold(
        self, queue: str, /, *, lanes: Sequence[int], limit: int, local: bool, idle: float
    ) -> Generator[HeldLanes | None, None, None]:
        """Lock lanes.  Reading is left to a later statement, which sees what was done meanwhile."""
        speech, place, safe = dialect(self.alias), self.place(queue), self._safe_ids(queue)
        with (
            self._noticing_loss(),
            speech.holding(place, lanes, limit=limit, local=local, idle=idle) as found,
        ):
            if not found:
                yield None
                return
            due = any(is_due for _, is_due in found)
            held = HeldLanes(self, speech, place, safe.of([lane for lane, _ in found]), has_due=due)
            yield held
        safe.worked(held.finished())

    @contextmanager
    def take(self, row: Row, /, *, idle: float) -> Generator[bool, None, None]:
        """Delete one row under its lane's lock, and unblock its key if it was the last one that was parked."""
        speech, place = dialect(self.alias), self.place(row.queue)
        table = self.parked if row.parked else self.hot
        with (
            self._noticing_loss(),
            speech.taking(place, row.lane, table=table, row=row.id, idle=idle) as ours,
        ):
            if ours and row.parked:
                BlockedKeys(self, speech, place).unblock([row])
            yield ours
        if ours and not row.parked:
            self._safe_ids(row.queue).worked({row.lane: row.id})

    @contextmanager
    def take_first(self, queue: str, work: Work, /, *, idle: float) -> Generator[Row | None, None, None]:
        """Delete the row that ``look`` found first in a lane, under the lane's lock."""
        speech, place = dialect(self.alias), self.place(queue)
        with (
            self._noticing_loss(),
            speech.taking_first(place, work.lane, row=work.head, columns=rows.selected(speech), idle=idle) as record,
        ):
            yield None if record is None else rows.read_row(speech, (record[0], 0, *record[1:]), parked=False)
        if record is not None:
            self._safe_ids(queue).worked({work.lane: work.head})

    @contextmanager
    def take_own(
        self, queue: str, owner: int, /, *, lanes: Sequence[int], idle: float
    ) -> Generator[Row | None, None, None]:
        """Delete the first new row of one of the owner's lanes, under the lane's lock; PostgreSQL: by one statement."""
        speech, place, floors = dialect(self.alias), self.place(queue), self._safe_ids(queue).of(lanes)
        with (
            self._noticing_loss(),
            speech.taking_own(place, floors, owner, columns=rows.selected(speech), idle=idle) as record,
        ):
            row = None if record is None else rows.read_row(speech, (record[0], 0, *record[1:]), parked=False)
            yield row
        if row is not None:
            self._safe_ids(queue).worked({row.lane: row.id})

    def _safe_ids(self, queue: str) -> SafeIds:
        """Return what is known on this connection: behind another one may be a replica that gives ids once more."""
        connection = connections[self.alias]
        connection.ensure_connection()
        if connection.connection is not self._seen_on:
            self._safe.clear()
            self._seen_on = connection.connection
        if queue not in self._safe:
            self._safe[queue] = SafeIds(self.alias, self.place(queue))
        return self._safe[queue]

    def place(self, queue: str) -> Place:
        """Return where the rows of a queue are."""
        if queue not in self._places:
            self._places[queue] = Place(self.box, queue, self.hot, self.parked, self.blocked)
        return self._places[queue]

    @contextmanager
    def _noticing_loss(self) -> Generator[None, None, None]:
        """
        Raise OperationalError in place of what was raised if the connection was lost meanwhile.

        The loop then connects anew; what was being handled is parked like any failure, so that a handler from which
        the database takes its lane each time does not go round for ever.
        """
        try:
            yield
        except Exception as error:
            connection = connections[self.alias]
            raw = connection.connection
            if raw is None or dialect(self.alias).is_closed(raw):
                connection.close()
                raise OperationalError(f"the connection to {self.alias!r} was lost: {error}") from error
            raise

    def done(self, table: str, ids: Sequence[int]) -> int:
        """Delete rows that are done with; what a broker has acknowledged goes to the history, if one is kept."""
        is_kept = self.box == "outbox" and settings().keep_history
        return remember(self.alias, table, ids) if is_kept else self.delete(table, ids)

    def delete(self, table: str, ids: Sequence[int]) -> int:
        """Delete just these rows of one of our tables, and return how many there were."""
        deleted = 0
        with connections[self.alias].cursor() as cursor:
            for start in range(0, len(ids), CHUNK):
                chunk = ids[start : start + CHUNK]
                cursor.execute(f"DELETE FROM {table} WHERE id IN ({placeholders(chunk)})", chunk)
                deleted += cursor.rowcount
        return deleted

    def release(self, queue: str, owner: int, /) -> None:
        """Set an owner's lanes free."""
        dialect(self.alias).marks.release(self.place(queue), owner)

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
