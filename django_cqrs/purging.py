"""Retention: forgetting what is of no use any more: ids and idempotency keys of long ago, and sagas that have ended."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from attrs import evolve, field, frozen
from django.db import connections, transaction
from django.utils import timezone

from django_cqrs.conf import settings
from django_cqrs.models import History, Idempotency, Saga, SagaEntry, SagaMail, SagaWait, Seen, Tally

__all__ = ["ALL", "HISTORY", "KEYS", "MAIL", "SEEN", "STORIES", "TALLIES", "Remembered", "horizon", "purge"]
from django_cqrs.partitions import drop_before, make_ahead, rest_of

log = logging.getLogger("django_cqrs")

#: Rows that one statement deletes.
CHUNK = 5000
#: Sagas that one transaction deletes, with their logs.
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
    """

    what: str
    setting: str
    table: str
    at: str
    delete: Callable[[str, datetime, int], int] | None = field(default=None, eq=False)


def _delete_sagas(alias: str, since: datetime, limit: int) -> int:
    """Delete sagas that have ended well, or were undone; what was given up is a person's to settle first."""
    ended = Saga.objects.using(alias).filter(status__in=SETTLED, created_at__lt=since, updated_at__lt=since)
    with transaction.atomic(using=alias):
        chosen = ended.select_for_update().order_by("created_at").values_list("id", flat=True)
        ids: Sequence[Any] = list(chosen[: min(limit, FEW)])
        for kind in (SagaEntry, SagaWait):
            kind.objects.using(alias).filter(saga_id__in=ids).delete()
        return int(Saga.objects.using(alias).filter(id__in=ids).delete()[0])


def _delete_history(alias: str, since: datetime, limit: int) -> int:
    """Drop the days that are over, and delete what is in no day, where there are days; make those that come."""
    if connections[alias].vendor != "postgresql":
        return _delete(alias, HISTORY, since, limit)
    if settings().keep_history:
        make_ahead(alias, HISTORY.table)
    dropped = drop_before(alias, HISTORY.table, since)
    return dropped or _delete(alias, evolve(HISTORY, table=rest_of(HISTORY.table)), since, limit)


SEEN = Remembered("ids", "SEEN_DAYS", Seen._meta.db_table, "seen_at")
KEYS = Remembered("idempotency keys", "IDEMPOTENCY_DAYS", Idempotency._meta.db_table, "created_at")
STORIES = Remembered("sagas that have ended", "SAGA_DAYS", Saga._meta.db_table, "updated_at", _delete_sagas)
MAIL = Remembered("events that no saga waited for", "SAGA_DAYS", SagaMail._meta.db_table, "at")
TALLIES = Remembered("tallies", "TALLY_DAYS", Tally._meta.db_table, "minute")
HISTORY = Remembered("events that were shipped", "KEEP_HISTORY", History._meta.db_table, "shipped_at", _delete_history)
ALL = (SEEN, KEYS, STORIES, MAIL, TALLIES, HISTORY)


def horizon(of: Remembered = SEEN) -> datetime | None:
    """Return since when something is remembered; None if for ever."""
    days = getattr(settings(), of.setting.lower())
    if isinstance(days, timedelta):
        return timezone.now() - days
    return timezone.now() - timedelta(days=days) if days else None


def purge(
    alias: str,
    *,
    seconds: float,
    of: Remembered = SEEN,
    chunk: int = CHUNK,
    rest: Callable[[float], object] | None = None,
) -> tuple[int, bool]:
    """
    Forget what came before the horizon, the oldest first, and return how much, and whether that was all.

    Any number of purges may run; what one has left another one takes.

    Args:
        alias: of the database.
        seconds: how long it may take.
        of: what is to be forgotten.
        chunk: rows at a time.
        rest: waits so many seconds between two chunks.
    """
    since, ends, total = horizon(of), time.monotonic() + seconds, 0
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
