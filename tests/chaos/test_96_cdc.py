"""Row 96: what PostgreSQL decodes of its log for Debezium is what the router needs, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any
from uuid import UUID

import pytest

from simplecqrs.brokers.kafka_records import content_of
from simplecqrs.brokers.named_formats import named_format
from simplecqrs.envelope import Envelope
from tests.chaos.children import ROOT
from tests.chaos.servers import private_servers
from tests.desk.event_router import configurations, publication, route

pytestmark = [pytest.mark.services, pytest.mark.postgresql, pytest.mark.processes]

RUN = f"cdc_{os.getpid()}"
#: Publish to Debezium, to the project's own consumers and by way of the schedule; ship; purge; print what is decoded.
PROJECT = """
import django, json
django.setup()
from datetime import timedelta
from django.core.management import call_command
from django.db import connection
from django_cqrs.models import Outbox
from django_cqrs.promotion import promoters
from django_cqrs.purging import LEFT, purge
from simplecqrs import context
from simplecqrs.timing import Timed
from tests.acceptance.test_cdc_rows import Sold
from tests.desk.event_router import publication
from tests.desk.messages import TicketOpened
from tests.desk.project import Project

project = Project()
call_command("migrate", verbosity=0)
with connection.cursor() as cursor:
    cursor.execute(publication())
    cursor.execute("SELECT pg_create_logical_replication_slot('cqrs_cdc', 'pgoutput')")
with context(tenant="Zoë"):
    project.publish(Sold("ada"), TicketOpened(1, "printer"), Timed(Sold("bob"), due=timedelta(0)))
for promoter in promoters(["default"]):
    promoter.step()
sent = list(Outbox.objects.filter(queue="cdc").order_by("pk").values("message_id", "key", "payload", "time"))
project.ship()
done = purge("default", of=LEFT, seconds=60, days=1e-9)
with connection.cursor() as cursor:
    cursor.execute(
        "SELECT data FROM pg_logical_slot_get_binary_changes('cqrs_cdc', NULL, NULL, 'proto_version', '1',"
        " 'publication_names', 'cqrs_cdc')"
    )
    changes = [bytes(data).hex() for (data,) in cursor.fetchall()]
sent = [[str(s["message_id"]), s["key"], bytes(s["payload"]).decode(), s["time"].isoformat()] for s in sent]
print(json.dumps({"changes": changes, "sent": sent, "purged": done[0], "left": Outbox.objects.count()}))
"""


@pytest.fixture
def server() -> Iterator[str]:
    """Run a server that writes a log from which changes can be decoded, with a database for the project."""
    import psycopg

    with private_servers("postgresql") as servers:
        url = servers.url("postgresql")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET wal_level = logical")
            connection.execute(f"CREATE DATABASE test_cqrs_{RUN}")
        servers.do("stop")
        servers.do("start")
        yield url


def test_row_96_what_is_decoded_for_debezium_is_an_insert_for_each_event_and_no_more(server: str) -> None:
    """Neither what the relay does, nor the purge, nor what goes elsewhere; consumers read the routed rows."""
    setting = {
        "MEDIATOR": "tests.desk.project.current_bus",
        "DATABASES": {},
        "BROKERS": {"cdc": {"BACKEND": "django_cqrs.cdc.Debezium", "OPTIONS": {}}},
        "ROUTES": {"sales": "cdc"},
        "SOURCE": "desk",
    }
    environment = {
        **os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "CQRS_TEST_DATABASE": "postgresql",
        "CQRS_TEST_POSTGRESQL": server, "CQRS_TEST_RUN": RUN, "CQRS_TEST_SETTING": json.dumps(setting),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", PROJECT], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)

    rows = list(decoded(found["changes"]))

    assert (found["purged"], found["left"]) == (2, 0)
    assert {kind for kind, _ in rows} == {"I"}
    records = [route(row, configurations()["postgresql"]) for _, row in rows]
    wire = named_format("cloudevents", prefix="ce_")
    read = [content_of(record, wire, topic="sales", max_bytes=10_000) for record in records]
    assert [record.name for record in records] == ["shop.sales", "shop.sales"]
    assert [read_of(envelope) for envelope in read] == found["sent"]
    assert all(isinstance(e, Envelope) and e.headers["tenant"] == "Zoë" and e.source == "desk" for e in read)
    assert publication().startswith("CREATE PUBLICATION")


def read_of(envelope: Any) -> list[str]:
    """Return what the project has printed of an event."""
    assert isinstance(envelope, Envelope), envelope
    return [str(envelope.id), envelope.key, envelope.payload.decode(), envelope.time.isoformat()]


def decoded(changes: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read messages of pgoutput, and give the changes of rows, with the values that Debezium makes of them."""
    columns: list[str] = []
    for data in map(bytes.fromhex, changes):
        kind, rest = chr(data[0]), data[1:]
        if kind == "R":
            columns = _columns(rest)
        elif kind in "IUDT":
            yield kind, dict(zip(columns, _values(rest[5:]), strict=True)) if kind == "I" else {}


def _columns(data: bytes) -> list[str]:
    _, _, data = data[4:].split(b"\0", 2)  # schema and table
    number, data, names = int.from_bytes(data[1:3], "big"), data[3:], []
    for _ in range(number):
        name, _, rest = data[1:].partition(b"\0")
        names.append(name.decode())
        data = rest[8:]
    return names


def _values(data: bytes) -> Iterator[Any]:
    number, data = int.from_bytes(data[:2], "big"), data[2:]
    for _ in range(number):
        kind, data = chr(data[0]), data[1:]
        if kind == "t":
            length = int.from_bytes(data[:4], "big")
            yield _as_debezium(data[4 : 4 + length].decode())
            data = data[4 + length :]
        else:
            assert kind == "n", "what is not sent would be missing in Kafka"
            yield None


def _as_debezium(text: str) -> Any:
    """Return bytes for bytea and a time in ISO 8601 for a timestamp; all else is text."""
    if text.startswith("\\x"):
        return bytes.fromhex(text[2:])
    try:
        UUID(text)
    except ValueError:
        pass
    else:
        return text
    try:
        moment = datetime.fromisoformat(f"{text}:00" if text[-3:-2] == "+" else text)
    except ValueError:
        return text
    return moment.astimezone(timezone.utc).isoformat()[:-6] + "Z" if moment.tzinfo else text
