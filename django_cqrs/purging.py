"""Retention: forgetting what is of no use any more, the oldest first, a few at a time, with rests in between."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from attrs import Factory, evolve, field, frozen
from django.db import connections, transaction
from django.utils import timezone

from django_cqrs.bounded import capped, count_each
from django_cqrs.conf import settings
from django_cqrs.models import (
    Action,
    Dead,
    History,
    Idempotency,
    Outbox,
    Saga,
    SagaEntry,
    SagaMail,
    SagaWait,
    Seen,
    Tally,
)
from django_cqrs.partitions import drop_before, make_ahead, rest_of
from simplecqrs.letters import CAP

__all__ = [
    "ACTIONS",
    "ALL",
    "HISTORY",
    "KEYS",
    "LEFT",
    "LETTERS",
    "MAIL",
    "SEEN",
    "STORIES",
    "TALLIES",
    "Remembered",
    "horizon",
    "number_of",
    "purge",
]

log = logging.getLogger("django_cqrs")

#: Rows that one statement deletes: the more, the longer others wait who write.
CHUNKS = {"postgresql": 5000, "mysql": 1000, "sqlite": 500}
#: Sagas that one transaction deletes, with their logs; dead letters between two rests.
FEW = 500
#: Statuses in which nobody has anything to do with a saga any more.
SETTLED = ("CANCELLED", "COMPENSATED", "COMPLETED")
#: The pause after a chunk, in times of what the chunk took: the database's other work comes first.
REST = 2

#: How a database deletes the oldest rows, and no more than so many.
_STATEMENTS = {
    "postgresql": "DELETE FROM {0} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {0} WHERE {1}))",
    "sqlite": "DELETE FROM {0} WHERE rowid IN (SELECT rowid FROM {0} WHERE {1})",
    "mysql": "DELETE FROM {0} WHERE {1}",
}


@frozen
class Remembered:
    """
    What is remembered for some days.

    Args:
        what: it is.
        setting: that says how many days; 0 is for ever.
        table: where it is.
        at: the column that says since when.
        delete: deletes some on an alias that came before a time, no more than so many, and returns how many.  Default:
            by one statement.
        count: counts them, up to so many.  Default: what is in the table.
        kind: the word for it on the command line.
    """

    what: str
    setting: str
    table: str
    at: str
    delete: Callable[[str, datetime, int], int] | None = field(default=None, eq=False)
    count: Callable[[str, datetime, int], int] | None = field(default=None, eq=False)
    kind: str = field(kw_only=True, default=Factory(lambda self: self.what, takes_self=True))


def _ended_sagas(alias: str, since: datetime) -> Any:
    """Return sagas that have ended well, or were undone; what was given up is a person's to settle first."""
    return Saga.objects.using(alias).filter(status__in=SETTLED, created_at__lt=since, updated_at__lt=since)


def _count_sagas(alias: str, since: datetime, cap: int) -> int:
    return capped(_ended_sagas(alias, since), cap)


def _delete_sagas(alias: str, since: datetime, limit: int) -> int:
    with transaction.atomic(using=alias):
        chosen = _ended_sagas(alias, since).select_for_update().order_by("created_at").values_list("id", flat=True)
        ids: Sequence[Any] = list(chosen[: min(limit, FEW)])
        for kind in (SagaEntry, SagaWait):
            kind.objects.using(alias).filter(saga_id__in=ids).delete()
        return int(Saga.objects.using(alias).filter(id__in=ids).delete()[0])


def _count_letters(alias: str, since: datetime, cap: int) -> int:
    from django_cqrs.old_letters import count_letters

    return count_letters(alias, since, cap)


def _delete_letters(alias: str, since: datetime, limit: int) -> int:
    from django_cqrs.old_letters import delete_letters

    return delete_letters(alias, since, min(limit, FEW))


def _delete_history(alias: str, since: datetime, limit: int) -> int:
    """Drop the days that are over, and delete what is in no day, where there are days; make those that come."""
    if connections[alias].vendor != "postgresql":
        return _delete(alias, HISTORY, since, limit)
    if settings().keep_history:
        make_ahead(alias, HISTORY.table)
    dropped = drop_before(alias, HISTORY.table, since)
    return dropped + _delete(alias, evolve(HISTORY, table=rest_of(HISTORY.table)), since, limit)


def _count_left(alias: str, since: datetime, cap: int) -> int:
    from django_cqrs.cdc import count_left

    return count_left(alias, since, cap)


def _delete_left(alias: str, since: datetime, limit: int) -> int:
    from django_cqrs.cdc import delete_left

    return delete_left(alias, since, limit)


SEEN = Remembered("ids", "SEEN_DAYS", Seen._meta.db_table, "seen_at", kind="seen")
KEYS = Remembered("idempotency keys", "IDEMPOTENCY_DAYS", Idempotency._meta.db_table, "created_at", kind="keys")
STORIES = Remembered(
    "sagas that have ended", "SAGA_DAYS", Saga._meta.db_table, "updated_at", _delete_sagas, _count_sagas, kind="sagas"
)
MAIL = Remembered("events that no saga waited for", "SAGA_DAYS", SagaMail._meta.db_table, "at", kind="mail")
LETTERS = Remembered(
    "dead letters", "DEAD_DAYS", Dead._meta.db_table, "since", _delete_letters, _count_letters, kind="dead"
)
ACTIONS = Remembered("acts of operators", "ACTION_DAYS", Action._meta.db_table, "at", kind="actions")
LEFT = Remembered(
    "events left to Debezium", "CDC_DAYS", Outbox._meta.db_table, "created_at", _delete_left, _count_left, kind="cdc"
)
TALLIES = Remembered("tallies", "TALLY_DAYS", Tally._meta.db_table, "minute")
HISTORY = Remembered(
    "events that were shipped", "KEEP_HISTORY", History._meta.db_table, "shipped_at", _delete_history, kind="history"
)
ALL = (SEEN, KEYS, STORIES, MAIL, LETTERS, ACTIONS, LEFT, TALLIES, HISTORY)


def horizon(of: Remembered = SEEN, days: float | None = None) -> datetime | None:
    """
    Return since when something is remembered; None if for ever.

    Args:
        days: instead of what its setting says.
    """
    if days is None:
        known = getattr(settings(), of.setting.lower())
        if isinstance(known, timedelta):
            return timezone.now() - known
        days = known
    return timezone.now() - timedelta(days=days) if days else None


def number_of(alias: str, of: Remembered, *, days: float | None = None, cap: int = CAP) -> int:
    """Count what a purge would forget, up to a cap."""
    since = horizon(of, days)
    if since is None:
        return 0
    if of.count is not None:
        return of.count(alias, since, cap)
    late = connections[alias].ops.adapt_datetimefield_value(since)
    return count_each(alias, [(f"{of.table} WHERE {of.at} < %s", [late])], cap)[0]


def purge(
    alias: str,
    *,
    seconds: float,
    of: Remembered = SEEN,
    days: float | None = None,
    chunk: int | None = None,
    rest: Callable[[float], object] | None = None,
) -> tuple[int, bool]:
    """
    Forget what came before the horizon, the oldest first, and return how much, and whether that was all.

    Any number of purges may run; what one has left another one takes.

    Args:
        alias: of the database.
        seconds: how long it may take.
        of: what is to be forgotten.
        days: for how long it is remembered, instead of what its setting says.
        chunk: rows at a time.  Default: as many as others beside it do not notice.
        rest: waits so many seconds between two chunks.
    """
    since, ends, total = horizon(of, days), time.monotonic() + seconds, 0
    chunk = chunk or CHUNKS[connections[alias].vendor]
    if since is None:
        return 0, True
    wait = rest or threading.Event().wait
    while True:
        began = time.monotonic()
        deleted = of.delete(alias, since, chunk) if of.delete is not None else _delete(alias, of, since, chunk)
        total += deleted
        if deleted < (chunk if of.delete is None else min(chunk, FEW)):
            return total, True
        pause = REST * (time.monotonic() - began)
        if time.monotonic() + pause >= ends:
            return total, False
        wait(pause)


def _delete(alias: str, of: Remembered, since: datetime, chunk: int) -> int:
    connection = connections[alias]
    sql = _STATEMENTS[connection.vendor].format(of.table, f"{of.at} < %s ORDER BY {of.at} LIMIT %s")
    with connection.cursor() as cursor:
        cursor.execute(sql, [connection.ops.adapt_datetimefield_value(since), chunk])
        return int(cursor.rowcount)
