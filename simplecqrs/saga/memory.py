"""Sagas in memory: for tests, and for what need not outlive its process."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from threading import RLock
from typing import Final
from uuid import UUID

from attrs import evolve

from simplecqrs.codec import Codec, JSONCodec
from simplecqrs.errors import SagaMovedOn
from simplecqrs.saga.kept import NEVER, Kept, Sketch, Wait
from simplecqrs.saga.records import SETTLED, Entry, Record, Run, SagaStatus, Waiting

__all__ = ["MemorySagas", "numbers"]

#: Names of who works on sagas in this process.
numbers: Final = count(1)


class MemorySagas:
    """
    Keep sagas in this process.

    Args:
        codec: copies states that can be changed.
        clock: tells the time, in seconds.
        keep: how many sagas that have ended, and how many events that nobody waits for yet, are kept, at most; those
            of them that came first are forgotten.

    Attributes:
        clock: tells the time.
        changing: to be held while a record is changed that was given to ``begin``.
    """

    keeps_objects = True
    joins = False
    has_consumer = False
    parallel = True

    def __init__(
        self, *, codec: Codec | None = None, clock: Callable[[], float] = time.monotonic, keep: int = 1000
    ) -> None:
        self.codec: Codec = codec or JSONCodec()
        self.clock = clock
        self._most = keep
        self.changing = self._lock = RLock()
        #: By the number that an id is, whose hash takes a tenth of the time that the id's takes.
        self._kept: dict[int, Kept | Sketch] = {}
        self._ended: deque[int] = deque()
        self._early: dict[tuple[str, str], list[bytes]] = {}
        self._mail: deque[tuple[str, str]] = deque()

    def begin(self, record: Record, /, *, lease: float) -> bool:
        """Keep a new saga, and the record itself instead of copies, until somebody else changes it."""
        with self._lock:
            if record.id.int in self._kept:
                return False
            record.version = 1
            kept = self._kept[record.id.int] = Kept(record, NEVER, [])
            self._keep(kept, record, lease)
            return True

    def create(self, record: Record, /, *, lease: float | None) -> bool:
        """Keep a new saga; False if there is one of its id."""
        with self._lock:
            if record.id.int in self._kept:
                return False
            record.version = 1
            kept = self._kept[record.id.int] = Kept(_copy(record), NEVER, [])
            self._keep(kept, record, lease)
            return True

    def put(self, sketch: Sketch) -> bool:
        """Do what ``begin`` does, with a sketch."""
        with self._lock:
            return self._kept.setdefault(sketch.id.int, sketch) is sketch

    def draw(self, sketch: Sketch) -> Record:
        """Return the record that a sketch stands for, which is kept from now on."""
        with self._lock:
            self._get(sketch.id)
            assert sketch.record is not None
            return sketch.record

    def load(self, saga_id: UUID, /, *, lock: bool = False) -> Record | None:
        """Return a copy of a saga, or None."""
        with self._lock:
            kept = self._get(saga_id)
            return None if kept is None else _copy(kept.record)

    def save(self, record: Record, /, *, lease: float | None) -> None:
        """Keep a copy of a saga, if nobody has changed it meanwhile."""
        with self._lock:
            kept = self._get(record.id)
            if kept is None or (kept.record is not record and kept.record.version != record.version):
                raise SagaMovedOn(f"the saga {record.id} was changed by somebody else")
            record.version += 1
            self._keep(kept, record, lease)

    def _keep(self, kept: Kept, record: Record, lease: float | None) -> None:
        kept.log += record.entries
        record.entries.clear()
        if kept.waits or record.waits:
            waiting = {name for name, known in record.progress.items() if known.phase == "waiting"}
            kept.waits = [wait for wait in kept.waits if wait.step in waiting]
            kept.waits += [self._wait(wait) for wait in record.waits]
            record.waits = []
        if kept.record is not record:
            kept.record = _copy(record)
        if record.status == "RUNNING" and lease is not None:
            kept.due = self.clock() + lease
        else:
            kept.due = self._due(kept, lease)
            if record.ended:
                self.ended(record.id)

    def ended(self, saga_id: UUID) -> None:
        """Note that a saga has ended, and forget those that have ended long ago."""
        ended = self._ended
        ended.append(saga_id.int)
        if len(ended) > self._most:
            first = ended.popleft()
            kept = self._kept.get(first)
            if type(kept) is Sketch or (type(kept) is Kept and kept.record.status in SETTLED):
                del self._kept[first]

    def _get(self, saga_id: UUID) -> Kept | None:
        return self._kept_as(saga_id.int)

    def _kept_as(self, number: int) -> Kept | None:
        kept = self._kept.get(number)
        if type(kept) is Sketch:
            kept = self._kept[number] = kept.drawn()
        return kept  # type: ignore[return-value]

    def _wait(self, wait: Waiting) -> Wait:
        ends = NEVER if wait.timeout is None else self.clock() + wait.timeout
        early = self._early.get((wait.place, wait.key))
        event = early.pop(0) if early else None
        if event is not None:
            self._mail.remove((wait.place, wait.key))
            if not early:
                del self._early[wait.place, wait.key]
        return Wait(wait.step, (wait.place, wait.key), ends, event)

    def _due(self, kept: Kept, lease: float | None) -> float:
        """Return from when on a saga is stale, and let go of one that has ended, or waits for what has not come."""
        record, ends = kept.record, None
        if record.status == "WAITING" and all(wait.event is None for wait in kept.waits):
            ends = min((wait.ends for wait in kept.waits), default=NEVER)
        if record.ended or ends is not None:
            record.owner = ""
        if record.ended or (record.paused and not record.owner):
            return NEVER
        return ends if ends is not None else self.clock() + (lease or 0.0)

    def later(self, record: Record, runs: Sequence[Run], /) -> None:
        """Let whoever recovers sagas take it up, at once or when the pause is over."""
        if runs:
            with self._lock:
                kept = self._get(record.id)
                assert kept is not None
                if not kept.record.owner:
                    kept.due = self.clock() + min(run.pause for run in runs)

    def claim(self, saga_id: UUID, owner: str, /, *, lease: float) -> Record | None:
        """Make somebody the owner of a saga that nobody else holds, and that has not ended."""
        with self._lock:
            kept = self._get(saga_id)
            if kept is None or kept.record.ended:
                return None
            if kept.record.owner not in ("", owner) and kept.due > self.clock():
                return None
            kept.record = _copy(kept.record)  # whoever has the one that was given to ``begin`` is not to be fooled
            kept.record.owner = owner
            kept.record.version += 1
            kept.due = self.clock() + lease
            return _copy(kept.record)

    def renew(self, saga_id: UUID, owner: str, /, *, lease: float) -> bool:
        """Hold a saga for longer; False: it is not ours any more."""
        with self._lock:
            kept = self._get(saga_id)
            if kept is None or kept.record.owner != owner:
                return False
            kept.due = self.clock() + lease
            return True

    def release(self, saga_id: UUID, owner: str, /, *, due: float | None) -> None:
        """Let go of a saga that is ours."""
        with self._lock:
            kept = self._get(saga_id)
            if kept is not None and kept.record.owner == owner:
                kept.record = _copy(kept.record)
                kept.record.owner = ""
                kept.record.version += 1
                kept.due = NEVER if due is None else self.clock() + due

    def stale(self, *, limit: int, saga: str | None = None) -> Sequence[UUID]:
        """Return sagas that are due, the one that was due first before others."""
        with self._lock:
            now = self.clock()
            due = [k for k in self._drawn() if k.due <= now and saga in (None, k.record.saga)]
            return [kept.record.id for kept in sorted(due, key=lambda kept: kept.due)[:limit]]

    def _drawn(self) -> Iterator[Kept]:
        """Go through the sagas that are more than sketches: those wait for nothing, and nobody need look after them."""
        return (kept for kept in self._kept.values() if type(kept) is Kept)

    def history(self, saga_id: UUID, /) -> Sequence[Entry]:
        """Return a saga's log, in its order."""
        with self._lock:
            kept = self._get(saga_id)
            return [Entry(*line) for line in kept.log] if kept is not None else []

    def find(self, *, saga: str | None = None, status: SagaStatus | None = None, limit: int = 100) -> Sequence[Record]:
        """Return sagas, those that were begun last first."""
        with self._lock:
            return [_copy(record) for record in self._newest(saga, status)][:limit]

    def _newest(self, saga: str | None, status: SagaStatus | None) -> Iterator[Record]:
        for kept in map(self._kept_as, reversed(list(self._kept))):
            if kept is not None and saga in (None, kept.record.saga) and status in (None, kept.record.status):
                yield kept.record

    def hand_in(self, place: str, key: str, payload: bytes, /) -> Sequence[UUID]:
        """Give an event to whoever waits for it; keep it if nobody does yet."""
        with self._lock:
            found = [k for k in self._drawn() if any(wait.address == (place, key) for wait in k.waits)]
            for kept in found:
                self._give(kept, (place, key), payload)
            if not found:
                self._keep_early((place, key), payload)
            return [kept.record.id for kept in found]

    def _keep_early(self, address: tuple[str, str], payload: bytes) -> None:
        self._early.setdefault(address, []).append(payload)
        self._mail.append(address)
        if len(self._mail) > self._most:
            oldest = self._mail.popleft()
            self._early.get(oldest, [b""]).pop(0)
            if not self._early.get(oldest):
                self._early.pop(oldest, None)

    def _give(self, kept: Kept, address: tuple[str, str], payload: bytes) -> None:
        for wait in kept.waits:
            if wait.address == address and wait.event is None:
                wait.event = payload
        if kept.record.status == "WAITING" and not kept.record.owner and not kept.record.paused:
            kept.due = min(kept.due, self.clock())

    def arrived(self, saga_id: UUID, step: str, /) -> bytes | None:
        """Return the event that has come for a step that waits, or None."""
        with self._lock:
            kept = self._get(saga_id)
            return next((wait.event for wait in kept.waits if wait.step == step), None) if kept is not None else None

    def overdue(self, saga_id: UUID, /) -> Sequence[str]:
        """Return the steps that have waited for too long."""
        with self._lock:
            kept, now = self._get(saga_id), self.clock()
            late = [wait for wait in kept.waits if wait.ends <= now] if kept is not None else []
            return [wait.step for wait in sorted(late, key=lambda wait: wait.ends)]


def _copy(record: Record) -> Record:
    return evolve(record, progress=dict(record.progress), entries=[], waits=[])
