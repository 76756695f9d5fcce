"""Row 96: Debezium's outbox event router reads the outbox."""

from __future__ import annotations

import re
from datetime import timedelta
from datetime import timezone as timezones
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from django.core.checks import run_checks
from django.db import connection
from django.utils import timezone

from django_cqrs.alarms import Limits, alarms_of
from django_cqrs.brokers import broker
from django_cqrs.inspection import DjangoInspection
from django_cqrs.loops import run
from django_cqrs.models import Dead, Outbox
from django_cqrs.purging import LEFT, number_of, purge
from django_cqrs.relay import relays
from django_cqrs.rows import envelope_of
from simplecqrs import NotificationEvent, Retry, context
from simplecqrs.brokers.kafka_records import content_of
from simplecqrs.brokers.named_formats import named_format
from simplecqrs.errors import NotConfigured
from tests.desk.event_router import configurations, route, routed_columns
from tests.desk.project import Project

pytestmark = pytest.mark.usefixtures("committed")


@frozen
class Sold(NotificationEvent, topic="sales", key="who"):
    """For everybody."""

    who: str


@frozen
class Lost(NotificationEvent, topic="losses", key="who"):
    """A broker may refuse it."""

    who: str
    step: str


#: What a column may be, by database, for what becomes of it: a text for a header, bytes for the value.
TEXTS = {"character varying", "text", "varchar", "longtext"}
TYPES = {
    "message_id": {"uuid"},
    "payload": {"bytea", "longblob"},
    "time": {"timestamp with time zone", "datetime"},
    "version": {"integer", "int"},
}


@pytest.fixture
def cdc(project: Project, settings: Any, tmp_path: Path) -> Path:
    """Route events to Debezium, others to a picky broker, and return where that writes."""
    path = tmp_path / "shipped"
    settings.DJANGO_CQRS = {
        **settings.DJANGO_CQRS,
        "BROKERS": {
            "cdc": {"BACKEND": "django_cqrs.cdc.Debezium", "OPTIONS": {"to": "kafka"}},
            "picky": {"BACKEND": "tests.desk.brokers.PickyBroker", "OPTIONS": {"path": str(path)}},
        },
        "ROUTES": {"sales": "cdc", "losses": "picky"},
        "RELAY_RETRY": Retry(2, first=0, jitter=0),
    }
    return path


def test_row_96_every_column_of_the_configurations_is_there_with_the_right_type() -> None:
    """On the page for each database, and on the database that we are on."""
    named = {database: routed_columns(config) for database, config in configurations().items()}
    columns = {field.column for field in Outbox._meta.get_fields()}

    assert named["postgresql"] == named["mysql"]
    assert set(named["postgresql"]) <= columns
    assert columns - set(named["postgresql"]) == {"id", "queue", "lane", "created_at"}
    if connection.vendor == "sqlite":  # which Debezium does not read
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s"
            f" AND table_schema = {'current_schema()' if connection.vendor == 'postgresql' else 'DATABASE()'}",
            [Outbox._meta.db_table],
        )
        types = dict(cursor.fetchall())
    assert [name for name in named["mysql"] if types[name] not in TYPES.get(name, TEXTS)] == []


def test_row_96_the_relay_changes_no_row(project: Project, cdc: Path) -> None:
    """It inserts and deletes: what is shipped, refused, parked and given up; what is Debezium's it leaves alone."""
    project.publish(Sold("ada"), *(Lost("eve", step) for step in ("", "refused", "behind it")))
    [left] = Outbox.objects.filter(queue="cdc").values()
    written: list[str] = []

    def note(execute: Any, sql: str, *rest: Any) -> Any:
        written.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(note):
        run(relays(), drain=True)

    about = [sql for sql in written if re.search(rf"\b{Outbox._meta.db_table}\b", sql)]
    assert {sql.split()[0] for sql in about} >= {"SELECT", "DELETE"}
    assert [sql for sql in about if sql.startswith("UPDATE")] == []
    assert Dead.objects.get().name == "Lost"
    assert list(Outbox.objects.values()) == [left]


def test_row_96_what_is_left_to_debezium_is_nobodys_backlog_and_is_purged(
    project: Project, cdc: Path, settings: Any
) -> None:
    """No alarm for its age, no limit for its number; no relay of it; after CDC_DAYS it is gone."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "MAX_PENDING": {"*": {"refuse": 1}}}
    project.publish(*(Sold(who) for who in "abcdef"))
    Outbox.objects.filter(key__in="abcd").update(created_at=timezone.now() - timedelta(days=4))

    project.publish(Sold("g"))

    inspection = DjangoInspection("default")
    assert [alarm for alarm in alarms_of(inspection, inspection.backlogs(), Limits()) if "cdc" in alarm] == []
    with pytest.raises(NotConfigured, match="no relay ships to 'cdc'"):
        relays(routes=["cdc"])
    assert number_of("default", LEFT) == 4
    assert purge("default", of=LEFT, seconds=60) == (4, True)
    assert sorted(Outbox.objects.values_list("key", flat=True)) == ["e", "f", "g"]


def test_row_96_consumers_read_what_the_router_makes_of_a_row(project: Project, cdc: Path) -> None:
    """The same envelope as if a relay had shipped it."""
    with context(tenant="Zoë", traceparent=f"00-{'a' * 32}-{'b' * 16}-01"):
        project.publish(Sold("ada"))
    row = Outbox.objects.values().get()
    sent = envelope_of(Outbox.objects.get())
    event = {**row, "order_key": row["key"], "time": row["time"].astimezone(timezones.utc).isoformat()[:-6] + "Z"}

    for config in configurations().values():
        record = route(event, config)

        wire = named_format("cloudevents", prefix="ce_")
        assert record.name == "shop.sales"
        assert content_of(record, wire, topic="sales", max_bytes=10_000) == sent


def test_row_96_settings_that_do_nothing_for_debezium_are_a_warning(project: Project, cdc: Path, settings: Any) -> None:
    """And a consumer may read from where Debezium writes."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "SOURCE": "", "SIGNATURE_KEYS": {"a": "s" * 32}}

    said = [message.msg for message in run_checks(tags=["cqrs"]) if message.id == "cqrs.W013"]

    assert [line.partition(": ")[2][:16] for line in said] == ["SOURCE is empty;", "what Debezium sh"]
    with pytest.raises(NotConfigured, match="is read from 'kafka'"):
        broker("cdc").feeds("one", ["sales"])
    with pytest.raises(NotConfigured, match="no relay does"):
        broker("cdc").publish([], deadline=1)
