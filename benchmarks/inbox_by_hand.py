"""A consumer by hand that has an inbox: ids and rows stored for many, then each deleted with what its handler does."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID
from zlib import crc32

from django.db import connection, transaction

from benchmarks.by_hand import COLUMNS
from benchmarks.consumer_by_hand import entries_of
from benchmarks.handlers import add_one
from benchmarks.models import InboxByHand, SeenByHand
from benchmarks.servers import redis_client, stream

__all__ = ["consume_inbox_by_hand", "join_inbox_by_hand"]

TOPIC, GROUP = "InboxByHand", "inbox-by-hand"
TABLE = InboxByHand._meta.db_table
ROW = f"({', '.join(['%s'] * 16)})"
#: Under the lane's lock, which the server takes from a process that hangs.
DELETE = (
    f"DELETE FROM {TABLE} WHERE id = %s AND pg_try_advisory_xact_lock(4712, %s)"
    " AND set_config('idle_in_transaction_session_timeout', '300s', true) IS NOT NULL"
)


def join_inbox_by_hand() -> None:
    """Make the consumer a group of the stream."""
    redis_client().xgroup_create(stream(TOPIC), GROUP, id="0", mkstream=True)


def consume_inbox_by_hand() -> None:
    """Fetch and handle until nothing is left."""
    while _fetch():
        while rows := _next_rows():
            for row in rows:
                _handle(*row)


def _fetch() -> int:
    """Store what is new in the stream, in one transaction, and acknowledge it."""
    client = redis_client()
    entries = entries_of(client.xreadgroup(GROUP, "one", {stream(TOPIC): ">"}, count=500))
    if not entries:
        return 0
    messages = {UUID(fields[b"id"].decode()): fields for _, fields in entries}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {SeenByHand._meta.db_table} (consumer, source, message_id, crc)"
            f" VALUES {', '.join(['(%s, %s, %s, %s)'] * len(messages))} ON CONFLICT DO NOTHING RETURNING message_id",
            [value for key, fields in messages.items() for value in ("inbox", "bench", key, crc32(fields[b"payload"]))],
        )
        new = {row[0] for row in cursor.fetchall()}
        rows = [_values(key, fields) for key, fields in messages.items() if key in new]
        if rows:
            cursor.execute(
                f"INSERT INTO {TABLE} ({COLUMNS}) VALUES {', '.join([ROW] * len(rows))}",
                [value for row in rows for value in row],
            )
    client.xack(stream(TOPIC), GROUP, *[entry_id for entry_id, _ in entries])
    return len(entries)


def _values(message_id: UUID, fields: dict[bytes, bytes]) -> tuple[Any, ...]:
    text = {name.decode(): value.decode() for name, value in fields.items() if name != b"payload"}
    return (
        "inbox", crc32(f"{TOPIC}\0{text['key']}".encode()) % 16, TOPIC, text["key"], message_id, text["kind"],
        text["name"], text["version"], text["source"], text["time"], text.get("correlation_id", ""),
        text.get("causation_id"), text.get("headers", "{}"), None, text["content_type"], fields[b"payload"],
    )  # fmt: skip


def _next_rows() -> list[tuple[int, int, bytes]]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT id, lane, payload FROM {TABLE} WHERE queue = 'inbox' ORDER BY id LIMIT 500")
        found: list[tuple[int, int, bytes]] = cursor.fetchall()
        return found


def _handle(row: int, lane: int, payload: bytes) -> None:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(DELETE, [row, lane])
            if not cursor.rowcount:
                return
        add_one(json.loads(bytes(payload))["account"])
