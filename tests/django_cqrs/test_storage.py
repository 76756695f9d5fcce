"""How large the database is, how fast it grows and when its disk is full; and whether what is kept fits together."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from django_cqrs.alarms import Limits, alarms_of
from django_cqrs.conf import read_settings
from django_cqrs.databases.sizes import capacity
from django_cqrs.inspection import DjangoInspection
from django_cqrs.models import Dead, Idempotency, Outbox, Scheduled, Seen, Size
from django_cqrs.storage import note_sizes, read_storage, written_bytes
from simplecqrs import Retry
from tests.desk.models import Ticket

pytestmark = pytest.mark.usefixtures("committed")

GB = 10**9


def status(*arguments: str) -> str:
    """Run cqrs_status and return what it said."""
    out = StringIO()
    call_command("cqrs_status", *arguments, stdout=out)
    return out.getvalue()


def noted(hours: float, size: int, name: str = "") -> None:
    """Note a size of so many hours ago."""
    Size.objects.create(at=timezone.now() - timedelta(hours=hours), name=name, bytes=size)


def test_the_size_of_the_database_and_of_each_table_is_told() -> None:
    """SQLite knows only its file; on the others, indexes count."""
    whole, *tables = read_storage("default")

    assert (whole.database, whole.table) == ("default", "")
    assert whole.bytes > 50_000
    names = {table.table: table.bytes for table in tables}
    assert "storage default: " in status()
    if connection.vendor == "sqlite":
        assert names == {}
        return
    assert names[Seen._meta.db_table] >= 8192
    assert Ticket._meta.db_table not in names
    assert max(names.values()) < whole.bytes


def test_growth_is_known_after_two_purges(settings: Any) -> None:
    """Each notes all sizes; over the last day, or what is known of it."""
    assert read_storage("default")[0].growth is None
    call_command("cqrs_purge", stdout=StringIO())
    assert Size.objects.filter(name="").count() == 1
    assert note_sizes("default") is False  # it was noted just now
    Size.objects.update(at=timezone.now() - timedelta(hours=2), bytes=1000)
    noted(48, 17)

    whole = read_storage("default")[0]

    assert whole.growth == pytest.approx((whole.bytes - 1000) / 2, rel=0.01)
    assert note_sizes("default") is True
    noted(24 * 9, 1)
    Size.objects.filter(at__gt=timezone.now() - timedelta(minutes=11)).delete()
    note_sizes("default")
    assert not Size.objects.filter(at__lt=timezone.now() - timedelta(days=8)).exists()


def test_it_is_told_when_the_disk_will_be_full(settings: Any) -> None:
    """Of a file it is known how large its disk is; of a server a setting says it.  Soon is an alarm."""
    assert (capacity("default") or 0) > 0 if connection.vendor == "sqlite" else capacity("default") is None
    size = read_storage("default")[0].bytes
    noted(10, size - 1_000_000)  # 100,000 an hour
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "DISK_BYTES": {"default": size + 2_000_000}}

    whole = read_storage("default")[0]

    assert whole.hours == pytest.approx(20, rel=0.2)
    assert ", full in " in status("--min-hours", "10")
    assert "ALARM the disk of the database 'default' will be full in " in status()
    with pytest.raises(CommandError, match="will be full in"):
        status("--check")
    status("--check", "--min-hours", "10")
    found = json.loads(status("--json"))["storage"][0]
    assert found["database"] == "default"
    assert found["growth"] == pytest.approx(100_000, rel=0.2)


def test_a_database_that_shrinks_is_never_full(settings: Any) -> None:
    """Nor is one of which nobody knows yet."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "DISK_BYTES": {"default": 10**15}}
    noted(10, 10**12)

    whole = read_storage("default")[0]

    assert whole.hours is None
    assert (whole.growth or 0) < 0


@pytest.mark.parametrize(
    ("raw", "problem"), [({"x": 5}, "there is no database alias 'x'"), ({"default": 0}, "aliases")]
)
def test_a_disk_that_means_nothing_is_told(raw: Any, problem: str) -> None:
    """At start-up."""
    _, problems = read_settings({"DISK_BYTES": raw})

    assert problem in problems[0]


def test_bytes_are_written_for_people() -> None:
    """In the unit that one would choose."""
    assert [written_bytes(n) for n in (0, 999, 1500, -2_500_000, 3 * GB, 7000 * GB)] == [
        "0 B", "999 B", "1.5 KB", "-2.5 MB", "3.0 GB", "7.0 TB",
    ]  # fmt: skip


# Whether it fits together


def checked(settings: Any, **more: Any) -> list[str]:
    """Return what the system check says of these settings."""
    broker = {"BACKEND": "tests.desk.brokers.FileBroker", "OPTIONS": {"path": "x"}}
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "BROKERS": {"events": broker}, **more}
    return [message.msg for message in run_checks(tags=["cqrs"]) if message.id == "cqrs.W012"]


@pytest.mark.parametrize(
    ("more", "warning"),
    [
        ({"STREAM_DAYS": 10, "DEAD_DAYS": 5}, "in a stream for STREAM_DAYS: 15 days, longer than consumers remember"),
        ({"KEEP_HISTORY": "20d"}, "cqrs_resend sends what KEEP_HISTORY has: 20 days, longer than consumers remember"),
        ({"SEEN_DAYS": 1, "RELAY_RETRY": Retry(60, cap=3600)}, "RELAY_RETRY tries an event for 2."),
        (
            {"IDEMPOTENCY_DAYS": 1, "CONSUMERS": {"a": {"retry": Retry(60)}}},
            "CONSUMERS['a'] tries a message for 2 days",
        ),
    ],
)
def test_settings_that_do_not_fit_together_are_a_warning(settings: Any, more: dict[str, Any], warning: str) -> None:
    """With what becomes of it."""
    assert warning in checked(settings, **more)[0]


@pytest.mark.parametrize(
    "more",
    [{}, {"STREAM_DAYS": 9, "DEAD_DAYS": 5}, {"STREAM_DAYS": 99, "SEEN_DAYS": 0}, {"STREAM_DAYS": 99, "BROKERS": {}}],
)
def test_settings_that_fit_together_are_none(settings: Any, more: dict[str, Any]) -> None:
    """What is remembered for ever fits everything, and with the database as the broker nothing is too old."""
    assert checked(settings, **more) == []


def message(**columns: Any) -> dict[str, Any]:
    """Return the columns of an event for a broker."""
    return {
        "queue": "events", "lane": 0, "topic": "sales", "key": "", "message_id": uuid4(), "kind": "event",
        "name": "Sold", "version": 1, "source": "", "time": timezone.now(), "correlation_id": "", "headers": "{}",
        "content_type": "", "payload": b"{}", **columns,
    }  # fmt: skip


def misfits() -> list[str]:
    """Return the alarms that are about what is too old."""
    inspection = DjangoInspection("default")
    return [said for said in alarms_of(inspection, inspection.backlogs(), Limits()) if "older than" in said]


def test_what_will_be_too_old_when_it_comes_is_an_alarm() -> None:
    """Pending, dead or scheduled in the outbox for a broker; within the project nothing is too old."""
    long_ago = timezone.now() - timedelta(days=15)
    letter = {"attempts": 1, "reason": "no", "holds": False, "since": long_ago, "box": "outbox"}
    for queue in ("events", "database"):
        Outbox.objects.create(**message(queue=queue, created_at=long_ago))
        Dead.objects.create(**message(queue=queue), **letter)
        Scheduled.objects.create(**message(queue=queue), box="outbox", due=timezone.now() + timedelta(days=15))
        Scheduled.objects.create(**message(queue=queue), box="outbox", due=timezone.now() + timedelta(days=13))

    said = misfits()

    assert [line.partition(" is older than SEEN_DAYS=14: it will be a dead letter")[0] for line in said] == [
        "outbox events: what waits there",
        "outbox events: the oldest dead letter",
        "outbox events: what is scheduled, when it is due,",
    ]


def test_dead_letters_that_outlive_idempotency_keys_are_an_alarm() -> None:
    """If there are keys at all."""
    since = timezone.now() - timedelta(days=8)
    Dead.objects.create(**message(queue="one"), attempts=1, reason="no", holds=False, since=since, box="inbox")
    assert misfits() == []

    Idempotency.objects.create(digest="k", name="x", fingerprint="")

    assert misfits()[0].startswith("dead letters are older than IDEMPOTENCY_DAYS=7: a handler that sent a command")
