"""Sagas in memory: for tests, and for what need not outlive its process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from threading import RLock
from typing import Final
from uuid import UUID

from attrs import define, evolve, field

from simplecqrs.codec import Codec, JSONCodec
from simplecqrs.errors import SagaMovedOn
from simplecqrs.saga.records import Entry, Record, Run, SagaStatus, Waiting

__all__ = ["MemorySagas"]

#: When nobody need look after a saga.
NEVER: Final = float("inf")


@define
class _Kept:
    """A saga, and from when on others may take it up."""

    record: Record
    due: float
    log: list[Entry]
    waits: list[Waiting] = field(factory=list[Waiting])


class MemorySagas:
    """
    Keep sagas in this process.

    Args:
        codec: copies states that can be changed.
        clock: tells the time, in seconds.
    """

    keeps_objects = True
    has_consumer = False
    parallel = True

    def __init__(self, *, codec: Codec | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.codec: Codec = codec or JSONCodec()
        self._clock = clock
        self._lock = RLock()
        self._kept: dict[UUID, _Kept] = {}
        self._early: dict[tuple[str, str], list[bytes]] = {}

    def create(self, record: Record, /, *, lease: float | None) -> bool:
        """Keep a new saga; False if there is one of its id."""
        with self._lock:
            if record.id in self._kept:
                return False
            record.version = 1
            self._kept[record.id] = _Kept(record, NEVER, [])
            self._keep(record, lease)
            return True

    def load(self, saga_id: UUID, /, *, lock: bool = False) -> Record | None:
        """Return a copy of a saga, or None."""
        with self._lock:
            kept = self._kept.get(saga_id)
            return None if kept is None else _copy(kept.record)

    def save(self, record: Record, /, *, lease: float | None) -> None:
        """Keep a copy of a saga, if nobody has changed it meanwhile."""
        with self._lock:
            if self._kept[record.id].record.version != record.version:
                raise SagaMovedOn(f"the saga {record.id} was changed by somebody else")
            record.version += 1
            self._keep(record, lease)

    def later(self, record: Record, runs: Sequence[Run], /) -> None:
        """Let whoever recovers sagas take it up, at once or when the pause is over."""
        if runs:
            with self._lock:
                self._kept[record.id].due = self._clock() + min(run.pause for run in runs)

    def _keep(self, record: Record, seconds: float | None) -> None:
        kept = self._kept[record.id]
        kept.log += record.entries
        record.entries = []
        waiting = [wait for wait in kept.waits if record.progress[wait.step].phase == "waiting"]
        kept.waits, record.waits = [*waiting, *record.waits], []
        ends = min((wait.timeout for wait in kept.waits if wait.timeout is not None), default=None)
        kept.record = _copy(record)
        if record.ended or record.status == "WAITING":
            kept.record.owner, seconds = "", None if record.ended else ends
        kept.due = NEVER if seconds is None else self._clock() + seconds

    def claim(self, saga_id: UUID, owner: str, /, *, lease: float) -> Record | None:
        """Make somebody the owner of a saga that nobody else holds."""
        with self._lock:
            kept = self._kept[saga_id]
            if kept.record.owner not in ("", owner) and kept.due > self._clock():
                return None
            kept.record.owner = owner
            kept.record.version += 1
            kept.due = self._clock() + lease
            return _copy(kept.record)

    def renew(self, saga_id: UUID, owner: str, /, *, lease: float) -> bool:
        """Hold a saga for longer; False: it is not ours any more."""
        with self._lock:
            kept = self._kept[saga_id]
            if kept.record.owner == owner:
                kept.due = self._clock() + lease
            return kept.record.owner == owner

    def release(self, saga_id: UUID, owner: str, /, *, due: float | None) -> None:
        """Let go of a saga that is ours."""
        with self._lock:
            kept = self._kept[saga_id]
            if kept.record.owner == owner:
                kept.record.owner = ""
                kept.record.version += 1
                kept.due = NEVER if due is None else self._clock() + due

    def stale(self, *, limit: int, saga: str | None = None) -> Sequence[UUID]:
        """Return sagas that are due, the one that was due first before others."""
        with self._lock:
            now = self._clock()
            due = [k for k in self._kept.values() if k.due <= now and saga in (None, k.record.saga)]
            return [kept.record.id for kept in sorted(due, key=lambda kept: kept.due)[:limit]]

    def history(self, saga_id: UUID, /) -> Sequence[Entry]:
        """Return a saga's log, in its order."""
        with self._lock:
            return list(self._kept[saga_id].log)

    def find(self, *, saga: str | None = None, status: SagaStatus | None = None, limit: int = 100) -> Sequence[Record]:
        """Return sagas, those that were begun last first."""
        with self._lock:
            return [_copy(record) for record in self._newest(saga, status)][:limit]

    def _newest(self, saga: str | None, status: SagaStatus | None) -> Iterator[Record]:
        for kept in reversed(self._kept.values()):
            if saga in (None, kept.record.saga) and status in (None, kept.record.status):
                yield kept.record

    def hand_in(self, place: str, key: str, payload: bytes, /) -> Sequence[UUID]:
        """Return who waits for an event; keep it if nobody does yet."""
        with self._lock:
            found = [
                kept.record.id
                for kept in self._kept.values()
                if any((wait.place, wait.key) == (place, key) for wait in kept.waits)
            ]
            if not found:
                self._early.setdefault((place, key), []).append(payload)
            return found

    def arrived(self, place: str, key: str, /) -> bytes | None:
        """Take an event that came before anybody waited for it."""
        with self._lock:
            early = self._early.get((place, key))
            return early.pop(0) if early else None


def _copy(record: Record) -> Record:
    return evolve(record, progress=dict(record.progress), entries=[], waits=[])
