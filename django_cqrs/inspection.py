"""What an operator asks of the queues: backlogs and dead letters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.db import connections, models, transaction
from django.db.models.functions import Now
from django.utils import timezone

from django_cqrs import rows
from django_cqrs.models import Blocked, Dead, Inbox, Outbox, ParkedInbox, ParkedOutbox
from django_cqrs.queue import DjangoStorage, inbox, outbox
from simplecqrs.queue import Backlog, Box, Letter

__all__ = ["DjangoInspection"]

BOXES: dict[Box, tuple[Any, Any]] = {
    "outbox": (Outbox, ParkedOutbox),
    "inbox": (Inbox, ParkedInbox),
}


class DjangoInspection:
    """Looks at both boxes of one alias, and acts on their dead letters."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    def backlogs(self) -> Sequence[Backlog]:
        """Return how much waits in each queue that has anything."""
        return [backlog for box in BOXES for backlog in self._backlogs(box)]

    def _backlogs(self, box: Box) -> Iterator[Backlog]:
        hot, parked = BOXES[box]
        pending = self._count(hot.objects)
        waiting = self._count(parked.objects)
        blocked = self._count(Blocked.objects.filter(box=box))
        dead = self._count(Dead.objects.filter(box=box))
        for queue in sorted({*pending, *waiting, *blocked, *dead}):
            yield Backlog(
                box,
                queue,
                pending.get(queue, 0),
                waiting.get(queue, 0),
                blocked.get(queue, 0),
                dead.get(queue, 0),
                self._oldest(hot, queue),
            )

    def _count(self, found: Any) -> dict[str, int]:
        counted = found.using(self.alias).order_by().values_list("queue").annotate(number=models.Count("pk"))
        return dict(counted)

    def _oldest(self, hot: Any, queue: str) -> float | None:
        """Return the age in seconds of the row that has waited longest."""
        first = hot.objects.using(self.alias).filter(queue=queue).order_by("id").values_list("created_at", flat=True)
        created = first.first()
        return (timezone.now() - created).total_seconds() if created is not None else None

    def letters(self) -> Sequence[Letter]:
        """Return what is dead, the oldest first."""
        return [_letter(dead) for dead in Dead.objects.using(self.alias).order_by("id")]

    def retry(self, letter: int, /) -> bool:
        """Park a dead letter again, due now and ahead of what waits behind it."""
        with transaction.atomic(using=self.alias):
            dead = self._lock(letter)
            if dead is None or dead.row is None:
                return False
            storage = self._storage(dead)
            with connections[self.alias].cursor() as cursor:
                cursor.execute(
                    f"INSERT INTO {storage.parked} (id, created_at, {rows.COLUMNS})"
                    f" SELECT row, created_at, {rows.COLUMNS} FROM {Dead._meta.db_table} WHERE id = %s",
                    [letter],
                )
            self._due_now(dead)
            dead.delete()
        return True

    def skip(self, letter: int, /) -> bool:
        """Drop a dead letter and let what waits behind it go on."""
        with transaction.atomic(using=self.alias):
            dead = self._lock(letter)
            if dead is None:
                return False
            if dead.holds:
                # Whoever holds the lane next handles what waits, or finds that nothing does and unblocks the key.
                key = Blocked.objects.using(self.alias).filter(box=dead.box, queue=dead.queue, slot=0)
                key.filter(topic=dead.topic, key=dead.key).update(next_at=Now(), attempts=0, head=0)
            dead.delete()
        return True

    def _due_now(self, dead: Dead) -> None:
        slot = 0 if dead.key else dead.row
        assert slot is not None
        Blocked.objects.using(self.alias).update_or_create(
            {"head": dead.row, "attempts": 0, "next_at": Now(), "error": dead.reason, "lane": dead.lane},
            box=dead.box, queue=dead.queue, topic=dead.topic, key=dead.key, slot=slot,
        )  # fmt: skip

    def _lock(self, letter: int) -> Dead | None:
        found: Dead | None = Dead.objects.using(self.alias).select_for_update().filter(pk=letter).first()
        return found

    def _storage(self, dead: Dead) -> DjangoStorage:
        return outbox(self.alias) if dead.box == "outbox" else inbox(self.alias)


def _letter(dead: Dead) -> Letter:
    return Letter(
        id=dead.pk,
        box="outbox" if dead.box == "outbox" else "inbox",
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
        payload=bytes(dead.payload),
    )
