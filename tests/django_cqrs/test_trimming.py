"""Streams of brokers are trimmed by ``cqrs_purge``, as far as all consumers are that the project declares."""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from attrs import frozen
from django.core.management import CommandError, call_command

from django_cqrs import ticks
from django_cqrs.brokers import broker
from django_cqrs.consumers import consumers
from django_cqrs.models import Subscription
from simplecqrs import NotificationEvent
from simplecqrs.errors import CQRSError
from tests.desk.project import Project

redis = pytest.importorskip("redis", reason="redis-py is not installed: pip install 'simplecqrs[redis]'")

pytestmark = [pytest.mark.services, pytest.mark.redis, pytest.mark.usefixtures("committed")]

URL = os.environ.get("CQRS_TEST_REDIS", "")


@frozen
class Sold(NotificationEvent, topic="sales", key="who"):
    """For everybody."""

    who: str


@pytest.fixture
def stream(project: Project, settings: Any) -> Iterator[str]:
    """Give a stream with two events that one consumer has acknowledged and another has not."""
    if not URL:
        pytest.skip("CQRS_TEST_REDIS names no Redis server, see scripts/services")
    prefix = f"trim-{uuid4().hex}:"
    settings.DJANGO_CQRS = {
        **settings.DJANGO_CQRS,
        "BROKERS": {
            "events": {"BACKEND": "simplecqrs.brokers.redis.RedisStreams", "OPTIONS": {"url": URL, "prefix": prefix}}
        },
        "ROUTES": {"sales": "events"},
        "CONSUMERS": {"fast": {"broker": "events"}, "slow": {"broker": "events"}},
        "STREAM_DAYS": 1e-9,
    }
    project.consume(Sold, consumer="fast")
    project.consume(Sold, consumer="slow")
    consumers()
    for name in ("fast", "slow"):
        broker("events").feeds(name, ["sales"])
    project.publish(Sold("ada"), Sold("bob"))
    project.ship()
    project.work("fast")
    yield f"{prefix}sales"
    with redis.Redis.from_url(URL) as client:
        client.delete(f"{prefix}sales")


def length(stream: str) -> int:
    """Return how many entries a stream has."""
    with redis.Redis.from_url(URL) as client:
        return int(client.xlen(stream))


def purged(*arguments: str) -> str:
    """Run cqrs_purge for streams and return what it said."""
    out = StringIO()
    call_command("cqrs_purge", "streams", *arguments, stdout=out)
    return out.getvalue()


def test_nothing_is_trimmed_that_a_consumer_has_not_stored(stream: str, project: Project) -> None:
    """The command says who it is; when that one has caught up all can go, but the last one."""
    assert purged().endswith("; slow has not acknowledged what came then\n")
    assert length(stream) == 2

    project.work("slow")

    assert purged("--dry-run").startswith("events: 1 entries would be trimmed of sales before 20")
    assert length(stream) == 2
    assert purged().startswith("events: 1 entries were trimmed of sales before 20")
    assert length(stream) == 1


def test_a_group_that_is_declared_and_not_there_stops_it(stream: str, project: Project) -> None:
    """It is to read from the beginning; command and task say so, and what is to be done."""
    project.work("slow")
    with redis.Redis.from_url(URL) as client:
        client.xgroup_destroy(stream, "slow")

    with pytest.raises(CommandError, match="knows no group slow, which is declared to read it"):
        purged()
    with pytest.raises(CQRSError, match="knows no group slow"):
        ticks.purge()

    assert length(stream) == 2


def test_what_was_trimmed_is_not_taken_for_lost(stream: str, project: Project) -> None:
    """Neither by who goes on reading, nor by who begins anew."""
    project.work("slow")
    purged()
    project.publish(Sold("eve"))
    project.ship()

    feeds = [broker("events").feeds(name, ["sales"])[0] for name in ("fast", "slow")]
    for feed in feeds:
        feed.compare("0-1")
        assert len(feed.fetch(10)) == 1

    assert [feed.lost for feed in feeds] == [0, 0]


def test_streams_are_kept_for_ever_unless_a_setting_says_otherwise(stream: str, settings: Any) -> None:
    """Who reads them beside us is not known here."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "STREAM_DAYS": 0}

    assert purged() == "STREAM_DAYS is 0: what brokers keep is left to them\n"
    assert "slow has not acknowledged" in purged("--days", "0.0000001")


def test_a_broker_that_is_down_is_told_and_another_one_is_trimmed_all_the_same(
    stream: str, project: Project, settings: Any
) -> None:
    """The error comes at the end."""
    project.work("slow")
    brokers = settings.DJANGO_CQRS["BROKERS"]
    dead = {"BACKEND": brokers["events"]["BACKEND"], "OPTIONS": {"url": "redis://127.0.0.1:1/0"}}
    settings.DJANGO_CQRS = {
        **settings.DJANGO_CQRS,
        "BROKERS": {**brokers, "dead": dead},
    }
    Subscription.objects.create(broker="dead", consumer="lost", topic="sales", lanes=1)

    with pytest.raises(CommandError, match=r"127\.0\.0\.1:1"):
        purged()

    assert length(stream) == 1
