"""``cqrs_status``: what is told of queues of any size, and what somebody is woken for."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from attrs import frozen
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_cqrs.alarms import Limits, alarms_of
from django_cqrs.inspection import DjangoInspection
from django_cqrs.models import Blocked, Dead, Idempotency, Inbox, Outbox, ParkedInbox, Seen
from django_cqrs.status import read_status
from simplecqrs import NotificationEvent, Publish, Retry
from tests.desk.crowds import multiply
from tests.desk.project import Project

pytestmark = pytest.mark.usefixtures("committed")


@frozen
class Left(NotificationEvent, topic="doors", key="who"):
    """For everybody."""

    who: str


def failing(event: Left, publish: Publish) -> None:
    """Fail always."""
    raise ConnectionError("no door")


def row(kind: type[Any], **columns: Any) -> Any:
    """Return a row of a queue."""
    values = {
        "queue": "one", "lane": 0, "topic": "doors", "key": "", "message_id": uuid4(), "kind": "event", "name": "Left",
        "version": 1, "source": "", "time": timezone.now(), "correlation_id": "", "headers": "{}", "content_type": "",
        "payload": b"{}",
    }  # fmt: skip
    return kind(**{**values, **columns})


def status(*arguments: str) -> str:
    """Run cqrs_status and return what it said."""
    out = StringIO()
    call_command("cqrs_status", *arguments, stdout=out)
    return out.getvalue()


def alarms(**limits: Any) -> list[str]:
    """Return the alarms of the alias default."""
    inspection = DjangoInspection("default")
    return list(alarms_of(inspection, inspection.backlogs(), Limits(**limits)))


def test_counts_stop_where_nobody_cares() -> None:
    """Ten thousand or more is all that one wants to know."""
    row(Inbox).save()
    multiply(Inbox, 14)

    [queue] = read_status().queues

    assert queue.pending == 10_001
    assert "10,000+" in status()


def test_the_oldest_is_found_in_whatever_lane() -> None:
    """By the time at which it was stored, not by its number alone."""
    for lane, minutes in ((3, 5), (0, 1), (7, 9)):
        stored = timezone.now() - timedelta(minutes=minutes)
        row(Outbox, queue="database", lane=lane, created_at=stored).save()

    [queue] = read_status().queues

    assert queue.oldest is not None
    assert 9 * 60 <= queue.oldest < 9 * 60 + 30


def test_what_status_costs_does_not_grow_with_the_queues() -> None:
    """No statement reads a table to its end: each has a limit."""
    Inbox.objects.bulk_create([row(Inbox, lane=lane) for lane in range(16)])
    Dead.objects.bulk_create([row(Dead, box="inbox", attempts=1, reason="no", holds=False) for _ in range(3)])

    with CaptureQueriesContext(connection) as queries:
        read_status()

    ours = [query["sql"] for query in queries if "cqrs_" in query["sql"]]
    assert len(ours) < 80
    assert [sql for sql in ours if "LIMIT" not in sql] == []
    assert [sql for sql in ours if "payload" in sql] == []


def test_causes_and_crowded_keys_are_told(project: Project) -> None:
    """The most frequent five, the longest queues."""
    project.consume(Left, consumer="one", work=failing, retry=Retry(1))
    project.publish(Left("ada"), Left("ada"), Left("ada"), Left("bob"))
    project.ship()
    project.work("one")

    said = status("--max-dead", "10")

    assert "dead 2 x inbox one: ConnectionError: no door" in said
    assert "blocked 'ada' of doors (inbox one) for " in said
    assert "2 wait: ConnectionError: no door" in said
    assert "'bob'" not in said
    found = json.loads(status("--json"))
    assert [(cause["cause"], cause["count"]) for cause in found["causes"]] == [("ConnectionError: no door", 2)]
    assert [(key["key"], key["waiting"]) for key in found["keys"]] == [("ada", 2)]


def test_check_ends_with_one_if_there_is_an_alarm(project: Project) -> None:
    """For monitoring; it prints the same."""
    project.consume(Left, consumer="one", work=failing, retry=Retry(1))
    status("--check")
    project.publish(Left("ada"))
    project.ship()
    project.work("one")

    assert "ALARM inbox one: 1 dead letters wait for an operator" in status()
    with pytest.raises(CommandError, match="1 alarms; the first: inbox one: 1 dead letters") as error:
        status("--check")
    assert error.value.returncode == 1
    status("--check", "--max-dead", "1")


def test_an_old_message_is_an_alarm(project: Project) -> None:
    """Nobody works there."""
    project.consume(Left, consumer="one")
    row(Inbox, created_at=timezone.now() - timedelta(minutes=6)).save()

    [alarm] = alarms()

    assert alarm.startswith("inbox one: the oldest message has waited for 36")
    assert alarms(age=600) == []


def test_messages_for_a_consumer_that_is_gone_are_an_alarm() -> None:
    """Nobody will ever handle them."""
    row(Inbox, queue="nobody").save()

    assert alarms() == ["1 messages wait for the consumer 'nobody', which has no handler any more"]


def blocked(**columns: Any) -> None:
    """Block a key."""
    values = {"box": "inbox", "queue": "one", "lane": 0, "topic": "doors", "key": "ada", "slot": 0, "head": 1}
    Blocked.objects.create(**{**values, "attempts": 3, "error": "ConnectionError: no door\nat all", **columns})


def test_a_key_that_is_blocked_for_a_day_is_an_alarm(project: Project) -> None:
    """A message without a key blocks nobody."""
    project.consume(Left, consumer="one")
    long_ago = timezone.now() - timedelta(hours=25)
    blocked(since=long_ago)
    blocked(since=long_ago, key="", slot=7)
    blocked(key="bob")

    [alarm] = alarms()

    assert alarm.startswith("1 keys have been blocked for more than 24 h, 'ada' of doors (inbox one) for longest")


def test_a_crowd_behind_a_key_is_an_alarm(project: Project) -> None:
    """With the cause for which it waits."""
    project.consume(Left, consumer="one")
    blocked()
    ParkedInbox.objects.bulk_create([row(ParkedInbox, id=number, key="ada") for number in range(1, 12)])

    assert alarms(followers=11) == []
    assert alarms(followers=10) == [
        "more than 10 messages wait behind 'ada' of doors (inbox one): ConnectionError: no door"
    ]


def test_a_purge_that_never_runs_is_an_alarm(settings: Any) -> None:
    """Unless ids are to be kept for ever."""
    Seen.objects.create(
        consumer="one", source="", message_id=uuid4(), crc=1, seen_at=timezone.now() - timedelta(days=16)
    )

    assert alarms() == ["ids that were seen more than 15 days ago are still kept: schedule cqrs_purge"]
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "SEEN_DAYS": 0}
    assert alarms() == []
    Idempotency.objects.create(digest="k", name="x", fingerprint="", created_at=timezone.now() - timedelta(days=9))
    assert alarms() == ["idempotency keys that were sent more than 8 days ago are still kept: schedule cqrs_purge"]


def test_a_crowd_is_found_behind_a_thousand_other_keys(project: Project) -> None:
    """By what was parked last; the list of blocked keys shows it first."""
    project.consume(Left, consumer="one")
    values = {"box": "inbox", "queue": "one", "lane": 0, "topic": "doors", "head": 1, "attempts": 3, "slot": 0}
    Blocked.objects.bulk_create([Blocked(key=f"k{n}", error="TimeoutError: slow", **values) for n in range(1100)])
    blocked(key="poison")
    ParkedInbox.objects.bulk_create([row(ParkedInbox, id=number, key="poison") for number in range(1, 12)])
    out = StringIO()

    call_command("cqrs_dead", "list", "--parked", stdout=out)

    assert alarms(followers=10)[0].startswith("more than 10 messages wait behind 'poison'")
    assert [key.key for key in read_status().keys] == ["poison"]
    lines = out.getvalue().splitlines()
    assert lines[1] == "1 x inbox one: ConnectionError: no door"
    assert "key='poison'  11 wait" in lines[2]
