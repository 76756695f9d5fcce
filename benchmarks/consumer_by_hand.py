"""A consumer by hand: per message one transaction with a row that remembers it, the handler, then XACK."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID
from zlib import crc32

from django.db import connection, transaction

from benchmarks.handlers import add_one
from benchmarks.models import SeenByHand
from benchmarks.servers import redis_client, stream

__all__ = ["consume_by_hand", "entries_of", "join"]

SEEN = (
    f"INSERT INTO {SeenByHand._meta.db_table} (consumer, source, message_id, crc) VALUES (%s, %s, %s, %s)"
    " ON CONFLICT DO NOTHING"
)


def join() -> None:
    """Make the consumer a group of the stream."""
    redis_client().xgroup_create(stream("ByHand"), "by-hand", id="0", mkstream=True)


def consume_by_hand() -> None:
    """Handle what is in the stream until nothing is left."""
    client = redis_client()
    while True:
        reply = client.xreadgroup("by-hand", "one", {stream("ByHand"): ">"}, count=500)
        entries = entries_of(reply)
        if not entries:
            return
        for entry_id, fields in entries:
            _handle(fields)
            client.xack(stream("ByHand"), "by-hand", entry_id)


def entries_of(reply: Any) -> list[Any]:
    """Read the reply of either version of the protocol."""
    if isinstance(reply, dict):
        return [entry for batches in reply.values() for batch in batches for entry in batch]
    return list(reply[0][1]) if reply else []


def _handle(fields: dict[bytes, bytes]) -> None:
    payload = fields[b"payload"]
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(SEEN, ["counting", fields[b"source"].decode(), UUID(fields[b"id"].decode()), crc32(payload)])
            if not cursor.rowcount:
                return
        add_one(json.loads(payload)["account"])
