"""A message's effect by hand, once: a row that remembers it and its handler share a transaction."""

from __future__ import annotations

import json
from uuid import UUID
from zlib import crc32

from django.db import connection, transaction

from benchmarks.handlers import add_one
from benchmarks.models import SeenByHand

__all__ = ["once"]

SEEN = (
    f"INSERT INTO {SeenByHand._meta.db_table} (consumer, source, message_id, crc) VALUES (%s, %s, %s, %s)"
    " ON CONFLICT DO NOTHING"
)


def once(source: str, message_id: str, payload: bytes) -> None:
    """Handle a message unless it was handled before."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(SEEN, ["by hand", source, UUID(message_id), crc32(payload)])
            if not cursor.rowcount:
                return
        add_one(json.loads(payload)["account"])
