"""A relay by hand: psycopg and redis-py, with the same locks, the same fields and the same durability."""

from __future__ import annotations

from typing import Any

from benchmarks.by_hand import COLUMNS
from benchmarks.models import OutboxByHand
from benchmarks.servers import connect, redis_client, stream

__all__ = ["relay_by_hand"]

TABLE = OutboxByHand._meta.db_table
LOCK = """
SELECT lane FROM generate_series(0, 15) lane
WHERE pg_try_advisory_xact_lock(4711, lane) AND set_config('synchronous_commit', 'off', true) IS NOT NULL
"""
READ = f"SELECT id, {COLUMNS} FROM {TABLE} WHERE queue = 'streams' AND lane = ANY(%s) ORDER BY id LIMIT 1000"
DELETE = f"DELETE FROM {TABLE} WHERE id = ANY(%s)"


def relay_by_hand() -> None:
    """Ship batches until nothing is left."""
    import os

    client = redis_client()
    with connect(database=os.environ["CQRS_BENCH_DATABASE"]) as connection:
        while _ship_batch(connection, client):
            pass


def _ship_batch(connection: Any, client: Any) -> int:
    with connection.transaction():
        lanes = [lane for (lane,) in connection.execute(LOCK).fetchall()]
        rows = connection.execute(READ, [lanes]).fetchall()
        if not rows:
            return 0
        pipeline = client.pipeline()  # in MULTI, which is faster here than without: one fsync for all
        for row in rows:
            pipeline.xadd(stream(row[3]), _fields(row))
        pipeline.execute()
        connection.execute(DELETE, [[row[0] for row in rows]])
        return len(rows)


def _fields(row: tuple[Any, ...]) -> dict[str, Any]:
    (
        _, _, _, _, key, message_id, kind, name, version, source, time, correlation_id, causation_id, headers, _,
        content_type, payload,
    ) = row  # fmt: skip
    fields = {
        "payload": payload,
        "id": str(message_id),
        "kind": kind,
        "name": name,
        "version": str(version),
        "time": time.isoformat(),
        "content_type": content_type,
        "key": key,
        "source": source,
        "correlation_id": correlation_id,
        "causation_id": causation_id,
    }
    if headers != "{}":
        fields["headers"] = headers
    return fields
