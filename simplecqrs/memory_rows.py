"""The rows of the in-memory queue: new, parked, dead, and the keys that are blocked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from itertools import count

from attrs import evolve, frozen

from simplecqrs.envelope import Envelope
from simplecqrs.letters import CAP, BlockedKey, Wanted
from simplecqrs.memory_transactions import MemoryTransactions
from simplecqrs.queue import Backlog, Box, Failure, Letter, Row, Work
from simplecqrs.transport import Garbage

__all__ = ["Rows"]

#: Who waits together: queue, topic and key; what has no key waits alone, under its own id.
Place = tuple[str, str, str, int]


@frozen
class _Blocked:
    """The schedule of a blocked key; it waits for an operator if ``next_at`` is None."""

    id: int
    head: int
    attempts: int
    next_at: float | None
    since: float
    reason: str
    waits_since: float | None = None


@frozen
class _Dead:
    letter: Letter
    row: Row | None


class Rows:
    """Keep the rows of one box.  Called inside a transaction, under the lanes' locks."""

    def __init__(self, box: Box, transactions: MemoryTransactions, clock: Callable[[], float]) -> None:
        self.dead: dict[int, _Dead] = {}
        self._box: Box = box
        self._db = transactions
        self._clock = clock
        self._ids = count(1)
        self._new: dict[tuple[str, int], dict[int, Row]] = {}
        self._parked: dict[Place, dict[int, Row]] = {}
        self._blocked: dict[Place, _Blocked] = {}
        self._born: dict[int, float] = {}

    def number(self) -> int:
        """Return a number that nothing else here has."""
        return next(self._ids)

    def add(self, queue: str, lane: int, envelope: Envelope) -> None:
        """Add a new row, which others see at commit; its id is given then, so that ids grow as rows appear."""
        self._db.at_commit(lambda: self._insert(Row(next(self._ids), queue, lane, envelope)))

    def work(self, queue: str, lane: int) -> Work:
        """Tell what a lane has to do."""
        due = any(True for _ in self._due(queue, [lane]))
        return Work(lane, min(self._new.get((queue, lane), ()), default=0), due)

    def first(self, queue: str, work: Work) -> Row | None:
        """Return the row that a lane had first, unless it is gone or its key is blocked."""
        row = self._new.get((queue, work.lane), {}).get(work.head)
        return None if row is None or _place(row) in self._blocked else row

    def readable(self, queue: str, lanes: Sequence[int]) -> Iterator[Row]:
        """Go through what is due, then through what is new; what is new under a blocked key is moved behind it."""
        for place in list(self._due(queue, lanes)):
            blocked = self._blocked[place]
            waited = 0.0 if blocked.waits_since is None else self._clock() - blocked.waits_since
            for row in _in_order(self._parked[place]):
                known = (blocked.attempts, waited) if row.id == blocked.head else (0, 0.0)
                yield evolve(row, attempts=known[0], waited=known[1])
        for lane in lanes:
            for row in _in_order(self._new.get((queue, lane), {})):
                if _place(row) in self._blocked:
                    self._move(row)
                else:
                    yield row

    def remove(self, row: Row) -> bool:
        """Remove a row, parked or not, and tell whether it was there; the last one of a blocked key unblocks it."""
        return self.remove_new(row) or self.remove_parked(row)

    def remove_new(self, row: Row) -> bool:
        """Remove a row unless it is gone, or parked meanwhile."""
        self._db.drop(self._born, row.id)
        return self._db.drop(self._new.get((row.queue, row.lane), {}), row.id)

    def remove_parked(self, row: Row) -> bool:
        """Remove a parked row: the next one of its key is due then; the last one unblocks the key."""
        place = _place(row)
        parked = self._parked.get(place, {})
        if not self._db.drop(parked, row.id):
            return False
        if parked:
            self._block(place, min(parked), 0, self._clock(), since=self._blocked[place].since)
        else:
            self._db.drop(self._parked, place)
            self._db.drop(self._blocked, place)
        return True

    def park(self, row: Row, failure: Failure) -> None:
        """Put a row aside, what follows under its key behind it, or make a dead letter of it."""
        place, now = _place(row), self._clock()
        before = self._blocked.get(place)
        if not self.remove(row):
            return
        since = before.since if before else now
        waiting = before.waits_since if before and before.head == row.id else None
        if row.envelope.key:
            for follower in _in_order(self._new.get((row.queue, row.lane), {})):
                if _place(follower) == place:
                    self._move(follower)
        if failure.pause is not None:
            self._move(row)
            self._block(
                place, row.id, failure.attempts, now + failure.pause, since=since, reason=failure.reason,
                waits_since=(now if waiting is None else waiting) if failure.waits else None,
            )  # fmt: skip
        else:
            number = self.bury(row.queue, row.envelope, failure.reason, failure.attempts)
            self.dead[number] = evolve(self.dead[number], row=row)
            self._close(place, row, failure, since)

    def bury(self, queue: str, content: Envelope | Garbage, reason: str, attempts: int = 0) -> int:
        """Make a dead letter of what never was a row, and return its number; nobody can retry it."""
        known, found = {}, content if isinstance(content, Envelope) else content.claim
        if found is not None:
            known = {"name": found.name, "topic": found.topic, "key": found.key, "message_id": str(found.id)}
        letter = Letter(
            id=next(self._ids), box=self._box, queue=queue, dead=True, name=known.get("name", ""),
            topic=known.get("topic", ""), key=known.get("key", ""), message_id=known.get("message_id", ""),
            reason=reason, attempts=attempts, since=_moment(self._clock()),
            headers=_text(content.headers), payload=content.payload,
        )  # fmt: skip
        self._db.put(self.dead, letter.id, _Dead(letter, None))
        return letter.id

    def revive(self, number: int) -> None:
        """Put a dead row back, ahead of its key's followers, due now and with all its attempts."""
        row, reason = self.dead[number].row, self.dead[number].letter.reason
        assert row is not None
        self._db.drop(self.dead, number)
        self._move(row)
        self._block(_place(row), row.id, 0, self._clock(), since=self._clock(), reason=reason)

    def forget(self, number: int) -> None:
        """Drop a dead row; if its key waits for it, the followers go on."""
        row = self.dead[number].row
        self._db.drop(self.dead, number)
        if row is None:
            return
        blocked = self._blocked.get(_place(row))
        if blocked is not None and blocked.head == row.id:
            self._release(_place(row), blocked.since)

    def letters(self, wanted: Wanted, after: int) -> Iterator[Letter]:
        """Go through dead letters, the oldest first."""
        for number in sorted(self.dead):
            if number > after and wanted.fits(self.dead[number].letter):
                yield self.dead[number].letter

    def blocked_keys(self, wanted: Wanted) -> Iterator[BlockedKey]:
        """Go through the keys that are blocked, the longest first."""
        for place, blocked in sorted(self._blocked.items(), key=lambda item: item[1].id):
            found = self._blocked_key(place, blocked)
            if wanted.fits(found):
                yield found

    def hasten(self, number: int) -> bool:
        """Make a blocked key due, unless it waits for a dead letter."""
        for place, blocked in self._blocked.items():
            if blocked.id == number and blocked.next_at is not None:
                self._db.put(self._blocked, place, evolve(blocked, next_at=self._clock()))
                return True
        return False

    def backlogs(self) -> list[Backlog]:
        """Count what waits in each queue."""
        queues = {queue for queue, _ in self._new} | {place[0] for place in self._blocked}
        queues |= {dead.letter.queue for dead in self.dead.values()}
        return [self._backlog(queue) for queue in sorted(queues)]

    def _backlog(self, queue: str) -> Backlog:
        new = [row for (owner, _), rows in self._new.items() if owner == queue for row in rows.values()]
        born = [self._born[row.id] for row in new]
        return Backlog(
            self._box,
            queue,
            pending=len(new),
            parked=sum(len(rows) for place, rows in self._parked.items() if place[0] == queue),
            blocked=sum(place[0] == queue for place in self._blocked),
            dead=sum(dead.letter.queue == queue for dead in self.dead.values()),
            oldest=self._clock() - min(born) if born else None,
            lanes=len({row.lane for row in new}),
        )

    def _blocked_key(self, place: Place, blocked: _Blocked) -> BlockedKey:
        queue, topic, key, _ = place
        return BlockedKey(
            id=blocked.id, box=self._box, queue=queue, topic=topic, key=key, reason=blocked.reason,
            attempts=blocked.attempts, since=_moment(blocked.since), waiting=min(len(self._parked.get(place, {})), CAP),
            next_at=None if blocked.next_at is None else _moment(blocked.next_at),
        )  # fmt: skip

    def _block(
        self, place: Place, head: int, attempts: int, next_at: float | None, *, since: float, reason: str | None = None,
        waits_since: float | None = None,
    ) -> None:  # fmt: skip
        """Set the schedule of a key; without a reason, the one that it has stays."""
        before = self._blocked.get(place)
        number = before.id if before else next(self._ids)
        said = reason if reason is not None else before.reason if before else ""
        self._db.put(self._blocked, place, _Blocked(number, head, attempts, next_at, since, said, waits_since))

    def _insert(self, row: Row) -> None:
        self._new.setdefault((row.queue, row.lane), {})[row.id] = row
        self._born[row.id] = self._clock()

    def _due(self, queue: str, lanes: Sequence[int]) -> Iterator[Place]:
        now = self._clock()
        for place, blocked in self._blocked.items():
            if place[0] == queue and blocked.next_at is not None and blocked.next_at <= now:
                first = next(iter(self._parked.get(place, {}).values()), None)
                if first is not None and first.lane in lanes:
                    yield place

    def _move(self, row: Row) -> None:
        """Put a row among the parked ones."""
        self.remove_new(row)
        parked = self._parked.setdefault(_place(row), {})
        self._db.put(parked, row.id, evolve(row, parked=True, attempts=0))

    def _close(self, place: Place, row: Row, failure: Failure, since: float) -> None:
        """Settle what becomes of a key whose head has died."""
        if failure.hold and row.envelope.key:
            self._block(place, row.id, failure.attempts, None, since=since, reason=failure.reason)
        else:
            self._release(place, since)

    def _release(self, place: Place, since: float) -> None:
        if self._parked.get(place):
            self._block(place, 0, 0, self._clock(), since=since)
        else:
            self._db.drop(self._blocked, place)


def _moment(clock: float) -> datetime:
    return datetime.fromtimestamp(clock, timezone.utc)


def _place(row: Row) -> Place:
    envelope = row.envelope
    return row.queue, envelope.topic, envelope.key, 0 if envelope.key else row.id


def _in_order(rows: Mapping[int, Row]) -> list[Row]:
    """Sort rows by id: one that a rollback brought back stands last in its dict."""
    return [row for _, row in sorted(rows.items())]


def _text(headers: Mapping[str, str]) -> str:
    return json.dumps(dict(headers), ensure_ascii=False) if headers else ""
