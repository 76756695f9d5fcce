"""Envelopes to rows of our tables and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from time import monotonic
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_cqrs.conf import table
from django_cqrs.databases import Dialect, dialect
from django_cqrs.message_models import TRACEPARENT, Inbox, MessageRow, Outbox, ParkedInbox, ParkedOutbox
from simplecqrs.envelope import Envelope
from simplecqrs.queue import Row

__all__ = [
    "COLUMNS",
    "INDEXES",
    "TABLES",
    "envelope_of",
    "fields_of",
    "header_fields",
    "insert",
    "portions",
    "read_row",
    "selected",
    "text",
    "values_of",
]

#: The hot table and the parked table of each box.
TABLES = {
    "outbox": (Outbox._meta.db_table, ParkedOutbox._meta.db_table),
    "inbox": (Inbox._meta.db_table, ParkedInbox._meta.db_table),
}
#: The index by which a hot table is read.
INDEXES = {"outbox": table("outbox_lane"), "inbox": table("inbox_lane")}
#: Named in every statement, so that releases with more columns and with fewer work on one table.
COLUMNS = (
    "queue, lane, topic, order_key, message_id, kind, name, version, source, time, correlation_id, causation_id, "
    "headers, traceparent, content_type, payload"
)
#: Bytes of payload in one INSERT: MariaDB takes 16 MiB unless told otherwise, and escaping may double them.
LARGEST = 4 * 1024 * 1024
WIDTH = COLUMNS.count(",") + 1
ROW = f"({', '.join(['%s'] * WIDTH)})"


def text(said: str) -> str:
    """Return what somebody said as every database can keep it."""
    return said.replace("\0", "\ufffd").encode(errors="replace").decode()


def portions(rows: Sequence[tuple[str, int, Envelope]], most: int) -> Iterator[Sequence[tuple[str, int, Envelope]]]:
    """Cut rows into pieces that make one statement each; a piece has one row at least."""
    start = size = 0
    for index, (_, _, envelope) in enumerate(rows):
        length = len(envelope.payload)
        if index > start and (index - start == most or size + length > LARGEST):
            yield rows[start:index]
            start, size = index, 0
        size += length
    if rows:
        yield rows[start:]


def insert(connection: BaseDatabaseWrapper, table: str, rows: Sequence[tuple[str, int, Envelope]]) -> None:
    """Add rows by one statement."""
    speech = dialect(connection.alias)
    parameters: list[Any] = []
    for queue, lane, envelope in rows:
        parameters += values_of(connection, speech, queue, lane, envelope)
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} ({COLUMNS}) VALUES {', '.join([ROW] * len(rows))}", parameters)


def values_of(
    connection: BaseDatabaseWrapper, speech: Dialect, queue: str, lane: int, envelope: Envelope
) -> Iterable[Any]:
    """Return the values of COLUMNS."""
    fields = fields_of(envelope)
    fields["message_id"] = speech.uuid_parameter(envelope.id)
    fields["time"] = connection.ops.adapt_datetimefield_value(envelope.time)
    return (queue, lane, *fields.values())


def fields_of(envelope: Envelope) -> dict[str, Any]:
    """Return the fields of our models that tell of an envelope, in the order of COLUMNS behind queue and lane."""
    return {
        "topic": envelope.topic,
        "key": envelope.key,
        "message_id": envelope.id,
        "kind": envelope.kind,
        "name": envelope.name,
        "version": envelope.version,
        "source": envelope.source,
        "time": envelope.time,
        "correlation_id": envelope.correlation_id,
        "causation_id": envelope.causation_id,
        **header_fields(envelope.headers),
        "content_type": envelope.content_type,
        "payload": envelope.payload,
    }


def envelope_of(row: MessageRow) -> Envelope:
    """Return the envelope that a row of our models tells of."""
    return Envelope(
        id=row.message_id,
        kind="command" if row.kind == "command" else "event",
        name=row.name,
        version=row.version,
        topic=row.topic,
        key=row.key,
        source=row.source,
        time=row.time,
        correlation_id=row.correlation_id,
        causation_id=row.causation_id,
        headers=json.loads(row.headers),
        content_type=row.content_type,
        payload=bytes(row.payload),
    )


def header_fields(headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of headers; the one that change-data-capture maps has a column of its own."""
    return {
        "headers": json.dumps(dict(headers)) if headers else "{}",
        "traceparent": headers.get("traceparent", "")[:TRACEPARENT] or None,
    }


def selected(speech: Dialect, table: str = "") -> str:
    """Return what to select behind ``id`` for ``read_row``; of a table with this name, if it needs one."""
    return _selected(speech.moments, speech.since, table)


@cache
def _selected(moments: str, since: str, table: str) -> str:
    of = f"{table}." if table else ""
    columns = {name: f"{of}{name}" for name in (*COLUMNS.split(", "), "created_at")}
    columns["time"] = moments.format(columns["time"])
    columns["created_at"] = since.format(columns["created_at"])
    return ", ".join(columns.values())


def read_row(speech: Dialect, record: Sequence[Any], *, parked: bool) -> Row:
    """Make a row of ``id, attempts``, COLUMNS and, unless that does not matter, the seconds that it has waited."""
    (
        row_id, attempts, queue, lane, topic, key, message_id, kind, name, version, source, time, correlation_id,
        causation_id, headers, _, content_type, payload, *waited,
    ) = record  # fmt: skip
    envelope = Envelope(
        id=speech.uuid(message_id),
        kind=kind,
        name=name,
        version=version,
        topic=topic,
        key=key,
        source=source,
        time=speech.moment(time),
        correlation_id=correlation_id,
        causation_id=causation_id,
        headers=json.loads(headers) if headers != "{}" else {},
        content_type=content_type,
        payload=bytes(payload),
    )
    return Row(row_id, queue, lane, envelope, parked, attempts, monotonic() - sum(waited))
