"""Lanes of a queue in memory that a thread holds."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from simplecqrs.backoff import Pause
from simplecqrs.memory_marks import Marks
from simplecqrs.memory_pauses import Pauses
from simplecqrs.memory_rows import Rows
from simplecqrs.memory_transactions import MemoryTransactions
from simplecqrs.queue import Failure, Row

__all__ = ["HeldRows"]


@frozen
class HeldRows:
    """Lanes that are locked by this thread's transaction."""

    _queue: str
    _lanes: Sequence[int]
    _rows: Rows
    _db: MemoryTransactions
    _marks: Marks
    _pauses: Pauses

    def read(self, limit: int, max_bytes: int, /) -> Sequence[Row]:
        """Return rows that may be worked now."""
        found: list[Row] = []
        with self._db.mutex:
            for row in self._rows.readable(self._queue, self._lanes):
                max_bytes -= len(row.envelope.payload)
                if found and max_bytes < 0:
                    break
                found.append(row)
                if len(found) >= limit:
                    break
        return found

    def done(self, rows: Sequence[Row], /) -> int:
        """Delete just these rows and return how many were still there."""
        with self._db.mutex:
            return sum([self._rows.remove(row) for row in rows])

    def claim(self, row: Row, owner: int, /, *, most: int) -> int:
        """Say who works this row's lane; return how often others began with it and did not come back."""
        with self._db.mutex:
            return self._marks.claim((row.queue, row.lane), row.id, owner, most=most)

    def disclaim(self, row: Row, owner: int, /) -> None:
        """Say that an owner has come back from this row."""
        with self._db.mutex:
            self._marks.disclaim((row.queue, row.lane), row.id, owner)

    def park(self, row: Row, failure: Failure, /) -> None:
        """Put a row aside, what follows under its key behind it, or make a dead letter of it."""
        with self._db.mutex:
            self._marks.forget((row.queue, row.lane))
            self._rows.park(row, failure)

    def pause(self, row: Row, pause: Pause, reason: str, /, *, took: float) -> float | None:
        """Let the whole queue pause; the row stays where it is."""
        with self._db.mutex:
            self._marks.forget((row.queue, row.lane))
            return self._pauses.pause(row.queue, pause, reason, took)
