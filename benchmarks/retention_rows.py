"""What is to be forgotten, many rows at a time, made inside of the database; and writers beside the purge."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connections, transaction
from django.db.models import F

from benchmarks.filling import empty
from benchmarks.models import Account
from django_cqrs.inbox import door
from django_cqrs.models import Idempotency, Inbox, Outbox, Seen
from django_cqrs.queue import outbox
from simplecqrs.envelope import Envelope
from simplecqrs.metadata import uuid7
from simplecqrs.queue import lane_of

__all__ = ["TABLES", "remember", "sweep", "write", "writes"]

TABLES = tuple(model._meta.db_table for model in (Seen, Idempotency, Outbox, Inbox))
#: Numbers from 1, by database.
NUMBERS = {
    "postgresql": "SELECT generate_series(1, {last}) n",
    "mysql": "SELECT seq AS n FROM seq_1_to_{last}",
    "sqlite": "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < {last}) SELECT n FROM r",
}
#: A time that lies so many seconds after another one.
AFTER = {
    "postgresql": "CAST(%s AS timestamptz) + {seconds} * interval '1 second'",
    "mysql": "CAST(%s AS DATETIME(6)) + INTERVAL ({seconds}) SECOND",
    "sqlite": "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', %s, PRINTF('%%.3f seconds', {seconds}))",
}
IDS = {"postgresql": "gen_random_uuid()", "mysql": "UUID()", "sqlite": "lower(hex(randomblob(16)))"}
DIGESTS = {
    "postgresql": "md5(random()::text) || md5(random()::text)",
    "mysql": "SHA2(CONCAT(UUID(), n), 256)",
    "sqlite": "lower(hex(randomblob(32)))",
}


def remember(alias: str, ids: int, keys: int, *, since: datetime, within: timedelta) -> None:
    """Add so many ids and idempotency keys, spread over a time."""
    connection = connections[alias]
    vendor, start = connection.vendor, connection.ops.adapt_datetimefield_value(since)
    for table, columns, values, number in (
        (Seen._meta.db_table, "consumer, source, message_id, crc, seen_at", f"'bench', 'bench', {IDS[vendor]}, n", ids),
        (Idempotency._meta.db_table, "digest, name, fingerprint, created_at", f"{DIGESTS[vendor]}, 'x', ''", keys),
    ):
        if number:
            at = AFTER[vendor].format(seconds=f"n * {within.total_seconds() / number:.6f}")
            numbers = NUMBERS[vendor].format(last=number)
            with connection.cursor() as cursor:
                cursor.execute(f"INSERT INTO {table} ({columns}) SELECT {values}, {at} FROM ({numbers}) t", [start])


def sweep(alias: str) -> None:
    """Delete everything, and let the database have the space."""
    for table in TABLES:
        empty(table, alias=alias)


def write(alias: str, account: int) -> None:
    """Do what a command and a consumer do: change a row, store an event, let another one in."""
    envelopes = [
        Envelope(
            id=uuid7(), kind="event", name="Changed", topic="Changed", key=str(account), source="bench",
            time=datetime.now().astimezone(), payload=b"x" * 180,
        )
        for _ in range(2)
    ]  # fmt: skip
    with transaction.atomic(using=alias):
        Account.objects.using(alias).filter(pk=account).update(n=F("n") + 1)
        outbox(alias).append([("streams", lane_of(envelopes[0]), envelopes[0])])
        door(alias).store("bench", envelopes[1:])


def writes(alias: str, account: int, times: Sequence[float], start: Any, told: Any) -> None:
    """Write at these times, in seconds from the start, and tell how long each took; the body of a process."""
    write(alias, account)
    start.wait()
    began, took = time.perf_counter(), []
    for due in times:
        time.sleep(max(began + due - time.perf_counter(), 0))
        at = time.perf_counter()
        write(alias, account)
        took.append(time.perf_counter() - at)
    told.put(took)
