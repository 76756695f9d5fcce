"""Promotion: what is due is moved from the schedule into outbox or inbox."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from attrs import define, field
from django.db import connections
from django.db.models import QuerySet

from django_cqrs.databases import dialect, now
from django_cqrs.databases.statements import placeholders
from django_cqrs.message_models import Inbox, MessageRow, Outbox, Scheduled
from django_cqrs.probes import of_schedule
from django_cqrs.relay import choose_aliases
from django_cqrs.rounds import everywhere
from django_cqrs.schedule import SCHEDULE
from django_cqrs.wakeup import wake_after_commit
from simplecqrs.bell import Bell
from simplecqrs.queue import Box

__all__ = ["Promoter", "promoters"]

#: Rows that are moved in one transaction.
CHUNK = 500
#: Seconds after which an idle promoter looks again, if nothing is due earlier: without a listener, and with one.
LOOK, LOOK_WHILE_HEARING = 2.0, 15.0
#: What the lock is called: two projects with prefixes of their own may share a database.
PLACE = Scheduled._meta.db_table
#: The table that each box's messages are moved into.
BOXES: dict[Box, type[MessageRow]] = {"outbox": Outbox, "inbox": Inbox}


@define(kw_only=True)
class Promoter:
    """
    Move what is due out of the schedule of one alias, a chunk in each transaction.

    A row gets a new id, which is its place in the lane, and keeps its message's.  Any number of promoters may run: one
    at a time moves something, so that the order of due times holds across all of them.  One that hangs loses its lock.

    Args:
        alias: of the database.
        ahead: by how much too early things are taken for due, for tests.
    """

    alias: str
    ahead: timedelta = timedelta(0)
    _look_at: float = field(default=0.0, init=False)
    _bell: Bell = field(factory=Bell, init=False)
    _heard: int = field(default=0, init=False)
    _is_hearing: Callable[[], bool] = field(default=lambda: False, init=False)

    @property
    def place(self) -> tuple[str, str]:
        """Name what a commit rings for that schedules something."""
        return self.alias, SCHEDULE

    def attend(self, bell: Bell, is_hearing: Callable[[], bool], /) -> None:
        """Look at once when a bell rings, and seldom by oneself while somebody hears of each commit."""
        self._bell, self._is_hearing = bell, is_hearing

    @property
    def name(self) -> str:
        """Name the job in log lines."""
        return f"schedule {self.alias}"

    def step(self) -> int:
        """Move a chunk of what is due, and return how many rows those were; 0 costs a statement at most."""
        rings = self._bell.rings
        if rings == self._heard and time.monotonic() < self._look_at:
            return 0
        self._heard = rings
        seconds = self._seconds_until_next()
        if seconds > 0:
            self._look_at = time.monotonic() + min(seconds, LOOK_WHILE_HEARING if self._is_hearing() else LOOK)
            return 0
        # No lock is asked for to find nothing; where there is one writer at a time, to be that one is enough.
        speech, locks = dialect(self.alias), connections[self.alias].features.has_select_for_update
        with speech.fetching(PLACE) if locks else speech.writing() as ours:
            return self._promote() if ours else 0

    def due(self) -> QuerySet[Scheduled]:
        """Return the rows that are due, as they are to be moved."""
        by: Any = now(self.alias) + self.ahead if self.ahead else now(self.alias)
        rows: QuerySet[Scheduled] = Scheduled.objects.using(self.alias).filter(due__lte=by).order_by("due", "id")
        return rows

    def _seconds_until_next(self) -> float:
        """Return the time until the first row is due, by the database's clock; if there is none, the longest wait."""
        rows = Scheduled.objects.using(self.alias).order_by("due", "id").annotate(now=now(self.alias))
        first = rows.values_list("due", "now").first()
        return LOOK_WHILE_HEARING if first is None else (first[0] - first[1] - self.ahead).total_seconds()

    def _promote(self) -> int:
        wanted = list(self.due().values_list("id", flat=True)[:CHUNK])
        free = self._lock(wanted)
        ids = [row for row in wanted if row in free]
        if not ids:
            return 0
        for box in BOXES:
            self._copy(box, ids)
        self._wake(ids)
        Scheduled.objects.using(self.alias).filter(id__in=ids).delete()
        return len(ids)

    def _lock(self, ids: Sequence[int]) -> set[int]:
        """Lock those of these rows that are still there and that nobody else has."""
        skip = connections[self.alias].features.has_select_for_update_skip_locked
        rows = Scheduled.objects.using(self.alias).select_for_update(skip_locked=skip).filter(id__in=ids).order_by("id")
        return set(rows.values_list("id", flat=True))

    def _copy(self, box: Box, ids: Sequence[int]) -> None:
        """Copy rows inside of the database: their payloads may be large, and nobody here reads them."""
        connection = connections[self.alias]
        quote = connection.ops.quote_name
        columns = ", ".join(quote(f.column or f.name) for f in MessageRow._meta.fields if f.name != "created_at")
        sql = (
            f"INSERT INTO {quote(BOXES[box]._meta.db_table)} ({columns}) SELECT {columns}"
            f" FROM {quote(Scheduled._meta.db_table)} WHERE box = %s AND id IN ({placeholders(ids)}) ORDER BY due, id"
        )
        with connection.cursor() as cursor:
            cursor.execute(sql, [box, *ids])

    def _wake(self, ids: Sequence[int]) -> None:
        """Let the commit wake those who work the queues that these rows are moved to."""
        rows = Scheduled.objects.using(self.alias).filter(id__in=ids).order_by()
        for box, queue in rows.values_list("box", "queue").distinct():
            wake_after_commit(self.alias, {f"{box}:{queue}"})


def promoters(
    databases: Sequence[str] = (), *, ahead: timedelta = timedelta(0), schemas: Sequence[str] = ()
) -> list[Any]:
    """
    Return what moves messages that are due, for these aliases; for all that have an outbox, if none are named.

    Args:
        schemas: only in these; see ``schemas_of``.

    Raises:
        NotConfigured: if there is no such alias.
    """
    return [
        everywhere(alias, partial(Promoter, alias=alias, ahead=ahead), of_schedule(ahead.total_seconds()), schemas)
        for alias in choose_aliases(databases, schemas)
    ]
