"""The same by hand: what somebody would write who has no library."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any
from zlib import crc32

from django.db import connection, transaction

from benchmarks.handlers import add_one
from benchmarks.models import OutboxByHand

__all__ = ["COLUMNS", "command_by_hand", "insert_by_hand", "take_by_hand"]

COLUMNS = (
    "queue, lane, topic, order_key, message_id, kind, name, version, source, time, correlation_id, causation_id, "
    "headers, traceparent, content_type, payload"
)
ROW = f"({', '.join(['%s'] * 16)})"


def command_by_hand(account: int, events: int) -> None:
    """Change the row, and insert events into a table of the outbox's shape."""
    with transaction.atomic():
        add_one(account)
        if not events:
            return
        parameters: list[Any] = []
        command_id = str(uuid.uuid4())
        for number in range(events):
            parameters += _values(account, number, command_id)
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {OutboxByHand._meta.db_table} ({COLUMNS}) VALUES {', '.join([ROW] * events)}", parameters
            )


def _values(account: int, number: int, command_id: str) -> tuple[Any, ...]:
    key = str(account)
    payload = json.dumps({"account": account, "number": number}).encode()
    return (
        "streams", crc32(f"Changed\0{key}".encode()) % 16, "Changed", key, uuid.uuid4(), "event", "Changed", 1, "bench",
        datetime.now(timezone.utc), command_id, command_id, "{}", None, "application/json", payload,
    )  # fmt: skip


def insert_by_hand(number: int) -> None:
    """Put a message into a queue, in the transaction that is open."""
    with connection.cursor() as cursor:
        values = _values(number, number, "")
        cursor.execute(f"INSERT INTO {OutboxByHand._meta.db_table} ({COLUMNS}) VALUES {ROW}", values)


def take_by_hand(raw: Any, handle: Callable[[int], object]) -> bool:
    """Handle the first message of a queue in the transaction that deletes it, on psycopg's connection; False: none."""
    table = OutboxByHand._meta.db_table
    with raw.transaction():
        row = raw.execute(
            f"DELETE FROM {table} WHERE id = (SELECT id FROM {table} ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)"
            " RETURNING payload"
        ).fetchone()
        if row is not None:
            handle(int(json.loads(row[0])["number"]))
    return row is not None
