"""What an operator asks of the queues: backlogs, dead letters and blocked keys, each at a cost that has a bound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from attrs import evolve, frozen
from django.db import connections, transaction
from django.db.models import Q
from django.db.models.functions import Substr
from django.utils import timezone

from django_cqrs import rows
from django_cqrs.bounded import Rows, count_each, heads, narrowed, queues_of
from django_cqrs.cdc import cdc_brokers
from django_cqrs.databases import now
from django_cqrs.databases.statements import PAUSE
from django_cqrs.followers import count_followers
from django_cqrs.inbox import TOO_LATE, door, lanes_of
from django_cqrs.models import Blocked, Dead, Inbox, Outbox, ParkedInbox, ParkedOutbox
from django_cqrs.pausing import without_past_pauses
from django_cqrs.queue import DjangoStorage, inbox, outbox
from django_cqrs.saga_letters import let_recovery_take_it
from django_cqrs.schedule import scheduled
from django_cqrs.tenants import NO_SCHEMA, let_in
from simplecqrs.letters import ANY, CAP, LONGEST_CAUSE, BlockedKey, Wanted, cause_of
from simplecqrs.packing.signatures import FORGED
from simplecqrs.queue import LANES, Backlog, Box, Letter, lane_of_key

__all__ = ["BOXES", "Cause", "DjangoInspection", "box_of"]

#: Parked rows among which a crowd behind one key is looked for.
SAMPLE = 2000
BOXES: dict[Box, tuple[Any, Any]] = {
    "outbox": (Outbox, ParkedOutbox),
    "inbox": (Inbox, ParkedInbox),
}


def box_of(record: Blocked | Dead) -> Box:
    """Return the box of a row that both boxes have in one table."""
    return "outbox" if record.box == "outbox" else "inbox"


@frozen
class Cause:
    """What letters died of, and number, time, name and key of each."""

    box: str
    queue: str
    cause: str
    letters: tuple[tuple[int, datetime, str, str], ...]

    @property
    def count(self) -> int:
        """Count the letters."""
        return len(self.letters)


class DjangoInspection:
    """Looks at both boxes of one alias, and acts on their dead letters."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    def now(self) -> datetime:
        """Tell the time by which ages are told."""
        return timezone.now()

    def backlogs(self) -> Sequence[Backlog]:
        """Return how much waits in each queue that has anything."""
        return [backlog for box in BOXES for backlog in self._backlogs(box)]

    def _backlogs(self, box: Box) -> Iterator[Backlog]:
        hot, parked = (kind.objects.using(self.alias) for kind in BOXES[box])
        blocked, dead = (kind.objects.using(self.alias).filter(box=box) for kind in (Blocked, Dead))
        later, left = scheduled(self.alias, box), cdc_brokers()
        known = {queue for found in (hot, parked, blocked, dead) for queue in queues_of(found)}
        for queue in sorted({*known, *later}):
            pending, waiting, keys, given_up = count_each(self.alias, _rows_of(box, queue))
            # What is left to change data capture waits for nobody here.
            stored = [] if box == "outbox" and queue in left else heads(self.alias, rows.TABLES[box][0], queue)
            age = (self.now() - min(stored)).total_seconds() if stored else None
            number, due = later.get(queue, (0, None))
            yield Backlog(box, queue, pending, waiting, keys, given_up, age, number, due, lanes=len(stored))

    def letters(
        self, wanted: Wanted = ANY, /, *, after: int = 0, limit: int = 100, payloads: bool = True
    ) -> Sequence[Letter]:
        """Return some of what is dead, the oldest first."""
        found = narrowed(Dead.objects.using(self.alias), wanted).filter(pk__gt=after).order_by("pk")[:limit]
        return [_letter(dead, payloads=payloads) for dead in (found if payloads else found.defer("payload"))]

    def causes(self, wanted: Wanted = ANY, /) -> tuple[list[Cause], bool]:
        """
        Return what the newest dead letters died of, the most frequent first, and whether these were all.

        Each cause has number, time, name and key of its letters.
        """
        found = narrowed(Dead.objects.using(self.alias), wanted).order_by("-pk")
        start = Substr("reason", 1, LONGEST_CAUSE)
        read = list(found.values_list("box", "queue", start, "pk", "since", "name", "key")[:CAP])
        causes: dict[tuple[str, str, str], list[tuple[int, datetime, str, str]]] = {}
        for box, queue, reason, *rest in reversed(read[: CAP - 1]):
            causes.setdefault((box, queue, cause_of(reason)), []).append(tuple(rest))
        ordered = sorted(causes.items(), key=lambda item: -len(item[1]))
        return [Cause(*place, tuple(letters)) for place, letters in ordered], len(read) < CAP

    def blocked(self, wanted: Wanted = ANY, /, *, limit: int = 100) -> Sequence[BlockedKey]:
        """Return some of the keys that are blocked, the longest first."""
        blocked = without_past_pauses(Blocked.objects.using(self.alias))
        found = narrowed(blocked, evolve(wanted, name=None), reason="error")
        return self._keys(found.order_by("pk")[:limit])

    def crowded(self, wanted: Wanted = ANY, /, *, limit: int = 10) -> Sequence[BlockedKey]:
        """Return the keys of most of what was parked last: a crowd is found among them, however many are blocked."""
        places = Q()
        for box, (_, kind) in BOXES.items():
            last = kind.objects.using(self.alias).order_by("-pk").values_list("queue", "topic", "key")[:SAMPLE]
            for (queue, topic, key), _ in Counter(last).most_common(limit):
                places |= Q(box=box, queue=queue, topic=topic, key=key, slot=0)
        found = self._keys(Blocked.objects.using(self.alias).filter(places)) if places else []
        return [blocked for blocked in found if wanted.fits(blocked)]

    def _keys(self, found: Iterable[Blocked]) -> list[BlockedKey]:
        """Return what is known of blocked keys, with how much waits behind each."""
        keys = list(found)
        return [_key(key, waiting) for key, waiting in zip(keys, count_followers(self.alias, keys), strict=True)]

    def waiting(self, blocked: Blocked, cap: int = CAP) -> int:
        """Count the parked rows of a blocked key, up to a cap."""
        return count_followers(self.alias, [blocked], cap=cap)[0]

    def retry(self, letter: int, /) -> bool:
        """Park a dead letter again, due now and ahead of what waits behind it."""
        with transaction.atomic(using=self.alias):
            dead = self._lock(letter)
            if dead is not None and dead.reason.startswith(FORGED) and dead.message_id is not None:
                return door(self.alias).believe(dead)
            if dead is not None and dead.reason.startswith(NO_SCHEMA) and dead.message_id is not None:
                return let_in(dead)
            if dead is None or (dead.row is None and dead.reason != TOO_LATE):
                return False
            storage = self._storage(dead)
            Dead.objects.using(self.alias).filter(pk=letter).update(lane=self._lane(dead))
            if dead.row is None:
                self._let_in(dead, storage)
                return True
            with connections[self.alias].cursor() as cursor:
                cursor.execute(
                    f"INSERT INTO {storage.parked} (id, created_at, {rows.COLUMNS})"
                    f" SELECT row_id, created_at, {rows.COLUMNS} FROM {Dead._meta.db_table} WHERE id = %s",
                    [letter],
                )
            self._due_now(dead)
            dead.delete()
        return True

    def _let_in(self, dead: Dead, storage: DjangoStorage) -> None:
        """Store a message that was refused at the door, behind what is there."""
        with connections[self.alias].cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {storage.hot} ({rows.COLUMNS}) SELECT {rows.COLUMNS} FROM {Dead._meta.db_table}"
                " WHERE id = %s",
                [dead.pk],
            )
        dead.delete()

    def skip(self, letter: int, /) -> bool:
        """Drop a dead letter and let what waits behind it go on; a saga goes on by recovery."""
        with transaction.atomic(using=self.alias):
            dead = self._lock(letter)
            if dead is None:
                return False
            if dead.holds:
                # Whoever holds the lane next handles what waits, or finds that nothing does and unblocks the key.
                key = Blocked.objects.using(self.alias).filter(box=dead.box, queue=dead.queue, slot=0)
                key.filter(topic=dead.topic, key=dead.key).update(
                    next_at=now(self.alias), attempts=0, head=0, lane=self._lane(dead)
                )
            let_recovery_take_it(self.alias, dead)
            dead.delete()
        return True

    def hasten(self, blocked: int, /) -> bool:
        """Make a blocked key due now, unless a dead letter holds it."""
        with transaction.atomic(using=self.alias):
            found = Blocked.objects.using(self.alias).select_for_update().filter(pk=blocked).first()
            if found is None or (found.next_at is None and self.holder_of(found) is not None):
                return False
            # Nothing waits for the next attempt of what an operator has deleted by hand: the followers go on then.
            Blocked.objects.using(self.alias).filter(pk=blocked).update(next_at=now(self.alias))
        return True

    def holder_of(self, blocked: Blocked | BlockedKey) -> int | None:
        """Return the number of the dead letter that a blocked key waits for."""
        holding = Dead.objects.using(self.alias).filter(box=blocked.box, queue=blocked.queue, holds=True)
        number: int | None = (
            holding.filter(topic=blocked.topic, key=blocked.key).order_by("pk").values_list("pk", flat=True).first()
        )
        return number

    def _due_now(self, dead: Dead) -> None:
        slot = 0 if dead.key else dead.row
        assert slot is not None
        Blocked.objects.using(self.alias).update_or_create(
            {
                "head": dead.row, "attempts": 0, "next_at": now(self.alias), "error": dead.reason,
                "lane": self._lane(dead),
            },
            box=dead.box, queue=dead.queue, topic=dead.topic, key=dead.key, slot=slot,
        )  # fmt: skip

    def _lane(self, dead: Dead) -> int:
        """Return the lane of a letter now: an inbox may have got other lanes since, for it was empty."""
        if dead.message_id is None:
            return dead.lane
        lanes = LANES if dead.box == "outbox" else lanes_of(dead.queue, self.alias)
        return lane_of_key(dead.topic, dead.key, dead.message_id, lanes)

    def _lock(self, letter: int) -> Dead | None:
        found: Dead | None = Dead.objects.using(self.alias).select_for_update().filter(pk=letter).first()
        return found

    def _storage(self, dead: Dead) -> DjangoStorage:
        return outbox(self.alias) if dead.box == "outbox" else inbox(self.alias)


def _rows_of(box: Box, queue: str) -> list[Rows]:
    """Return what is counted of a queue: what is new, parked, blocked and dead."""
    hot, parked = rows.TABLES[box]
    blocked, dead = Blocked._meta.db_table, Dead._meta.db_table
    return [
        (f"{hot} WHERE queue = %s", [queue]),
        (f"{parked} WHERE queue = %s", [queue]),
        (f"{blocked} WHERE box = %s AND queue = %s AND lane <> {PAUSE}", [box, queue]),
        (f"{dead} WHERE box = %s AND queue = %s", [box, queue]),
    ]


def _key(blocked: Blocked, waiting: int) -> BlockedKey:
    return BlockedKey(
        id=blocked.pk,
        box=box_of(blocked),
        queue=blocked.queue,
        topic=blocked.topic,
        key=blocked.key,
        reason=blocked.error,
        attempts=blocked.attempts,
        since=blocked.since,
        next_at=blocked.next_at,
        waiting=waiting,
    )


def _letter(dead: Dead, *, payloads: bool) -> Letter:
    return Letter(
        id=dead.pk,
        box=box_of(dead),
        queue=dead.queue,
        dead=True,
        name=dead.name,
        topic=dead.topic,
        key=dead.key,
        message_id=str(dead.message_id or ""),
        reason=dead.reason,
        attempts=dead.attempts,
        since=dead.since,
        headers=dead.headers,
        content_type=dead.content_type,
        payload=bytes(dead.payload) if payloads else b"",
    )
