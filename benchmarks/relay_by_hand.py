"""Relays by hand: the database's driver and redis-py, with the same locks, the same fields and the same durability."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

from benchmarks.by_hand import COLUMNS
from benchmarks.models import LaneByHand, OutboxByHand
from benchmarks.servers import connect, connect_mariadb, connect_sqlite, redis_client, stream

__all__ = ["RELAYS"]

TABLE = OutboxByHand._meta.db_table
LANES = LaneByHand._meta.db_table
READ = f"SELECT id, {COLUMNS} FROM {TABLE} WHERE queue = 'streams'"
LOCK = """
SELECT lane FROM generate_series(0, 15) lane
WHERE pg_try_advisory_xact_lock(4711, lane) AND set_config('synchronous_commit', 'off', true) IS NOT NULL
"""


@cache
def _postgresql() -> Any:
    return connect(database=os.environ["CQRS_BENCH_DATABASE"])


def on_postgresql() -> int:
    """Ship a batch under advisory locks; a commit that is lost is sent again."""
    connection = _postgresql()
    with connection.transaction():
        lanes = [lane for (lane,) in connection.execute(LOCK).fetchall()]
        rows = connection.execute(f"{READ} AND lane = ANY(%s) ORDER BY id LIMIT 1000", [lanes]).fetchall()
        if rows:
            _publish(rows, str, datetime.isoformat)
            connection.execute(f"DELETE FROM {TABLE} WHERE id = ANY(%s)", [[row[0] for row in rows]])
    return len(rows)


@cache
def _mariadb() -> Any:
    connection = connect_mariadb(database=os.environ["CQRS_BENCH_DATABASE"])
    with connection.cursor() as cursor:
        cursor.executemany(f"INSERT IGNORE INTO {LANES} (lane) VALUES (%s)", [[lane] for lane in range(16)])
    connection.commit()
    return connection


def on_mariadb() -> int:
    """Ship a batch under the locks of rows."""
    connection = _mariadb()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT lane FROM {LANES} FOR UPDATE SKIP LOCKED")
        lanes = [lane for (lane,) in cursor.fetchall()]
        cursor.execute(f"{READ} AND lane IN ({_marks(lanes, '%s')}) ORDER BY id LIMIT 1000", lanes)
        rows = cursor.fetchall()
        if rows:
            _publish(rows, str, lambda time: time.replace(tzinfo=timezone.utc).isoformat())
            cursor.execute(f"DELETE FROM {TABLE} WHERE id IN ({_marks(rows, '%s')})", [row[0] for row in rows])
    connection.commit()
    return len(rows)


@cache
def _sqlite() -> Any:
    return connect_sqlite()


def on_sqlite() -> int:
    """Ship a batch under the lock of a file, and write only to delete."""
    connection = _sqlite()
    with Path(f"{os.environ['CQRS_BENCH_SQLITE']}.by-hand.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        rows = connection.execute(f"{READ} ORDER BY id LIMIT 1000").fetchall()
        if rows:
            _publish(rows, lambda text: str(UUID(text)), _read_time)
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(f"DELETE FROM {TABLE} WHERE id IN ({_marks(rows, '?')})", [row[0] for row in rows])
            connection.execute("COMMIT")
    return len(rows)


#: By the alias: ships a batch and returns how many events that were.
RELAYS: dict[str, Callable[[], int]] = {"default": on_postgresql, "mariadb": on_mariadb, "sqlite": on_sqlite}


def _marks(values: Sequence[Any], mark: str) -> str:
    return ", ".join([mark] * len(values))


def _read_time(text: str) -> str:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).isoformat()


def _publish(rows: Sequence[Any], uuid: Callable[[Any], str], time: Callable[[Any], str]) -> None:
    """Append them in MULTI, which is faster here than without: one fsync for all."""
    pipeline = redis_client().pipeline()
    for row in rows:
        pipeline.xadd(stream(row[3]), _fields(row, uuid, time))
    pipeline.execute()


def _fields(row: tuple[Any, ...], uuid: Callable[[Any], str], time: Callable[[Any], str]) -> dict[str, Any]:
    (
        _, _, _, _, key, message_id, kind, name, version, source, when, correlation_id, causation_id, headers, _,
        content_type, payload,
    ) = row  # fmt: skip
    fields = {
        "payload": payload,
        "id": uuid(message_id),
        "kind": kind,
        "name": name,
        "version": str(version),
        "time": time(when),
        "content_type": content_type,
        "key": key,
        "source": source,
        "correlation_id": correlation_id,
        "causation_id": causation_id,
    }
    if headers != "{}":
        fields["headers"] = headers
    return fields
