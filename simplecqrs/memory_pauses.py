"""The queues in memory that pause as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timezone

from attrs import evolve, frozen

from simplecqrs.backoff import Pause
from simplecqrs.letters import BlockedKey, Box, Wanted
from simplecqrs.memory_transactions import MemoryTransactions

__all__ = ["Pauses"]


@frozen
class _Paused:
    id: int
    times: int
    since: float
    until: float
    reason: str


class Pauses:
    """
    Keep which queues pause.  Called inside a transaction.

    Args:
        number: gives each queue that pauses a number of its own.
    """

    def __init__(
        self, box: Box, transactions: MemoryTransactions, clock: Callable[[], float], number: Callable[[], int]
    ) -> None:
        self._box: Box = box
        self._db = transactions
        self._clock = clock
        self._number = number
        self._paused: dict[str, _Paused] = {}

    def is_paused(self, queue: str) -> bool:
        """Tell whether a queue pauses now."""
        found = self._paused.get(queue)
        return found is not None and found.until > self._clock()

    def pause(self, queue: str, pause: Pause, reason: str, took: float) -> float | None:
        """Let a queue pause, see ``Held.pause``."""
        if self.is_paused(queue):
            return None
        now, before = self._clock(), self._paused.get(queue)
        times = pause.times(before.times if before else 0, now - took - before.until if before else 0.0)
        seconds = pause.seconds(times)
        since = before.since if before and times > 1 else now
        number = before.id if before else self._number()
        self._db.put(self._paused, queue, _Paused(number, times, since, now + seconds, reason))
        return seconds

    def shown(self, wanted: Wanted) -> Iterator[BlockedKey]:
        """Go through the queues that pause now, as blocked keys that have no key and no topic."""
        for queue, paused in self._paused.items():
            found = BlockedKey(
                id=paused.id, box=self._box, queue=queue, topic="", key="", reason=paused.reason, waiting=0,
                attempts=paused.times, since=_moment(paused.since), next_at=_moment(paused.until),
            )  # fmt: skip
            if self.is_paused(queue) and wanted.fits(found):
                yield found

    def resume(self, number: int) -> bool:
        """Let a queue go on; False if none pauses that has this number."""
        for queue, paused in self._paused.items():
            if paused.id == number and self.is_paused(queue):
                self._db.put(self._paused, queue, evolve(paused, until=self._clock()))
                return True
        return False


def _moment(clock: float) -> datetime:
    return datetime.fromtimestamp(clock, timezone.utc)
