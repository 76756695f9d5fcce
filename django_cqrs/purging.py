"""Retention: forgetting ids that were seen longer ago than anybody could send them again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import connections
from django.utils import timezone

from django_cqrs.conf import settings
from django_cqrs.models import Seen

__all__ = ["horizon", "purge"]

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


def horizon() -> datetime | None:
    """Return since when ids are remembered: the setting SEEN_DAYS; None if for ever."""
    days = settings().seen_days
    return timezone.now() - timedelta(days=days) if days else None


def purge(
    alias: str, *, seconds: float, chunk: int = CHUNK, rest: Callable[[float], object] | None = None
) -> tuple[int, bool]:
    """
    Forget ids that were seen before the horizon, the oldest first, and return how many, and whether these were all.

    Any number of purges may run; what one has left another one takes.

    Args:
        alias: of the database.
        seconds: how long it may take.
        chunk: rows at a time.
        rest: waits so many seconds between two chunks.
    """
    since, ends, total = horizon(), time.monotonic() + seconds, 0
    if since is None:
        return 0, True
    wait = rest or threading.Event().wait
    while True:
        began = time.monotonic()
        deleted = _delete(alias, since, chunk)
        total += deleted
        if deleted < chunk:
            return total, True
        pause = REST * (time.monotonic() - began)
        if time.monotonic() + pause >= ends:
            return total, False
        wait(pause)


def _delete(alias: str, since: datetime, chunk: int) -> int:
    connection = connections[alias]
    oldest = "seen_at < %s ORDER BY seen_at LIMIT %s"
    sql = _STATEMENTS[connection.vendor].format(Seen._meta.db_table, oldest)
    with connection.cursor() as cursor:
        cursor.execute(sql, [connection.ops.adapt_datetimefield_value(since), chunk])
        return int(cursor.rowcount)
