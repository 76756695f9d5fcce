"""The queue in memory: outbox or inbox for tests, scripts and the first day."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from zlib import crc32

from attrs import evolve

from simplecqrs.envelope import Envelope
from simplecqrs.letters import ANY, BlockedKey, Wanted
from simplecqrs.memory_held import HeldRows
from simplecqrs.memory_marks import Marks
from simplecqrs.memory_pauses import Pauses
from simplecqrs.memory_rows import Rows
from simplecqrs.memory_transactions import MemoryTransactions
from simplecqrs.queue import LANES, Backlog, Box, Letter, Row, Stored, Work, lane_of
from simplecqrs.transport import Garbage

__all__ = ["MemoryQueue"]


class MemoryQueue:
    """
    Keep the rows of one box in memory: ``Storage``, ``Inbox`` and ``Inspection`` in one.

    Threads may share it.  What ends the process ends the queue; until then it remembers all ids that it has seen.

    Args:
        box: ``outbox`` or ``inbox``.
        transactions: share them, and an outbox and an inbox are changed together.
        lanes: of what is stored at the door of an inbox.
        clock: seconds; by which retries are due.

    >>> outbox = MemoryQueue("outbox")
    >>> outbox.backlogs()
    []
    """

    def __init__(
        self,
        box: Box,
        *,
        transactions: MemoryTransactions | None = None,
        lanes: int = LANES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._box = box
        self._lanes = lanes
        self._db = transactions if transactions is not None else MemoryTransactions()
        self._rows = Rows(box, self._db, clock)
        self._seen: dict[tuple[str, str, str], int] = {}
        self._marks = Marks()
        self._pauses = Pauses(box, self._db, clock, self._rows.number)

    def transaction(self) -> AbstractContextManager[None]:
        """Open a transaction: what is appended in it is there when it ends well."""
        return self._db.transaction()

    def append(self, rows: Sequence[tuple[str, int, Envelope]], /) -> None:
        """Add rows in this order, within the transaction that is open, if one is."""
        with self._db.transaction():
            for queue, lane, envelope in rows:
                self._rows.add(queue, lane, envelope)

    def look(self, queue: str, lanes: Sequence[int], /) -> Sequence[Work]:
        """Return those of these lanes that have work."""
        with self._db.mutex:
            works = [] if self._pauses.is_paused(queue) else [self._rows.work(queue, lane) for lane in lanes]
        return [evolve(w, owner=self._marks.owner((queue, w.lane))) for w in works if w.head or w.due]

    @contextmanager
    def hold(
        self,
        queue: str,
        /,
        *,
        lanes: Sequence[int],
        limit: int,
        local: bool,
        idle: float,
    ) -> Generator[HeldRows | None, None, None]:
        """Lock up to ``limit`` of these lanes whose lock is free."""
        with self._db.transaction():
            held = self._lock(queue, lanes, limit)
            yield HeldRows(queue, held, self._rows, self._db, self._marks, self._pauses) if held else None

    @contextmanager
    def take(self, row: Row, /, *, idle: float) -> Generator[bool, None, None]:
        """Delete one row under its lane's lock, in a transaction that lasts as long."""
        with self._db.transaction():
            yield self._db.lock(self._name(row.queue, row.lane)) and self._remove(row)

    @contextmanager
    def take_first(self, queue: str, work: Work, /, *, idle: float) -> Generator[Row | None, None, None]:
        """Delete the row that ``look`` found first in a lane."""
        with self._db.transaction():
            row = self._first(queue, work) if self._db.lock(self._name(queue, work.lane)) else None
            yield row if row is not None and self._remove(row) else None

    @contextmanager
    def take_own(
        self, queue: str, owner: int, /, *, lanes: Sequence[int], idle: float
    ) -> Generator[Row | None, None, None]:
        """Look, and delete what is first in a lane of this owner."""
        own = [work for work in self.look(queue, lanes) if work.head and work.owner == owner]
        if not own:
            yield None
            return
        with self.take_first(queue, own[0], idle=idle) as row:
            yield row

    def release(self, queue: str, owner: int, /) -> None:
        """Say that an owner has left its lanes in order."""
        with self._db.mutex:
            self._marks.release(queue, owner)

    @contextmanager
    def fetching(self, consumer: str, feed: str, /) -> Generator[bool, None, None]:
        """Open a transaction and take the fetcher's lock of a feed."""
        with self._db.transaction():
            yield self._db.lock((self._box, "feed", consumer, feed))

    def store(self, consumer: str, envelopes: Sequence[Envelope], /) -> Stored:
        """Put what was not seen before into the inbox, in this order."""
        with self._db.transaction():
            # Another thread's unfinished batch may be undone yet: what it has seen counts when it is committed.
            self._db.lock((self._box, "seen"), wait=True)
            new = sum(self._enter(consumer, envelope) for envelope in envelopes)
        return Stored(new, len(envelopes) - new)

    def bury(self, consumer: str, garbage: Sequence[Garbage], /) -> None:
        """Make dead letters of what could not be read."""
        with self._db.transaction(), self._db.mutex:
            for piece in garbage:
                self._rows.bury(consumer, piece, piece.error)

    def backlogs(self) -> Sequence[Backlog]:
        """Return how much waits in each queue of this box."""
        with self._db.mutex:
            return self._rows.backlogs()

    def letters(
        self, wanted: Wanted = ANY, /, *, after: int = 0, limit: int = 100, payloads: bool = True
    ) -> Sequence[Letter]:
        """Return some of what is dead, the oldest first."""
        with self._db.mutex:
            found = list(islice(self._rows.letters(wanted, after), limit))
        return found if payloads else [evolve(letter, payload=b"") for letter in found]

    def blocked(self, wanted: Wanted = ANY, /, *, limit: int = 100) -> Sequence[BlockedKey]:
        """Return some of the keys that are blocked, the longest first."""
        with self._db.mutex:
            found = [*self._rows.blocked_keys(wanted), *self._pauses.shown(wanted)]
            return sorted(found, key=lambda blocked: blocked.id)[:limit]

    def retry(self, letter: int, /) -> bool:
        """Give a dead letter its attempts anew; False if there is none, or if it could not even be read."""
        with self._settling(letter) as row:
            if row is None:
                return False
            self._rows.revive(letter)
            return True

    def skip(self, letter: int, /) -> bool:
        """Drop a dead letter for good and let what waits behind it go on."""
        with self._settling(letter):
            if letter not in self._rows.dead:
                return False
            self._rows.forget(letter)
            return True

    def hasten(self, blocked: int, /) -> bool:
        """Make a blocked key due now; False if there is none, or if it waits for a dead letter."""
        with self._db.transaction(), self._db.mutex:
            return self._rows.hasten(blocked) or self._pauses.resume(blocked)

    @contextmanager
    def _settling(self, letter: int) -> Generator[Row | None, None, None]:
        """Open a transaction and wait for the lane of a dead letter, whose worker must not be in between."""
        with self._db.transaction():
            dead = self._rows.dead.get(letter)
            row = dead.row if dead is not None else None
            if row is not None:
                self._db.lock(self._name(row.queue, row.lane), wait=True)
            with self._db.mutex:
                yield row if letter in self._rows.dead else None

    def _enter(self, consumer: str, envelope: Envelope) -> bool:
        """Let one message in unless it was seen."""
        name, crc = (consumer, envelope.source, str(envelope.id)), crc32(envelope.payload)
        known = self._seen.get(name)
        if known is None:
            self._db.put(self._seen, name, crc)
            self._rows.add(consumer, lane_of(envelope, self._lanes), envelope)
        elif known != crc:
            reason = f"the id {envelope.id} was seen before with other content; an id is given once"
            self._rows.bury(consumer, envelope, reason)
        return known is None

    def _lock(self, queue: str, lanes: Sequence[int], limit: int) -> list[int]:
        held: list[int] = []
        with self._db.mutex:
            for lane in lanes:
                if len(held) < limit and self._db.lock(self._name(queue, lane)):
                    held.append(lane)
        return held

    def _first(self, queue: str, work: Work) -> Row | None:
        with self._db.mutex:
            return self._rows.first(queue, work)

    def _remove(self, row: Row) -> bool:
        with self._db.mutex:
            return self._rows.remove_parked(row) if row.parked else self._rows.remove_new(row)

    def _name(self, queue: str, lane: int) -> tuple[str, str, int]:
        return self._box, queue, lane
