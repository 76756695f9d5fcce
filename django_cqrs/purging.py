"""Retention: forgetting ids and idempotency keys that came longer ago than anybody could send them again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from attrs import frozen
from django.db import connections
from django.utils import timezone

from django_cqrs.conf import settings
from django_cqrs.models import Idempotency, Seen

__all__ = ["KEYS", "SEEN", "Remembered", "horizon", "purge"]

log = logging.getLogger("django_cqrs")

#: Rows that one statement deletes.
CHUNK = 5000
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
    """

    what: str
    setting: str
    table: str
    at: str


SEEN = Remembered("ids", "SEEN_DAYS", Seen._meta.db_table, "seen_at")
KEYS = Remembered("idempotency keys", "IDEMPOTENCY_DAYS", Idempotency._meta.db_table, "created_at")


def horizon(of: Remembered = SEEN) -> datetime | None:
    """Return since when something is remembered; None if for ever."""
    days = getattr(settings(), of.setting.lower())
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
        deleted = _delete(alias, of, since, chunk)
        total += deleted
        if deleted < chunk:
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
