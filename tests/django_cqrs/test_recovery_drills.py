"""Drills: a disaster, and then what its page says, line by line.  Nothing is lost, and each effect happens once."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timezone
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from django.core.management import CommandError, call_command
from django.db import connection, connections

from django_cqrs.brokers import broker
from django_cqrs.consumers import consumers
from django_cqrs.models import Outbox, Position
from django_cqrs.status import read_status
from simplecqrs import NotificationEvent, Publish
from simplecqrs.metadata import new_metadata, uuid7
from tests.desk.drills import follow
from tests.desk.models import Tally
from tests.desk.project import Project

redis = pytest.importorskip("redis", reason="redis-py is not installed: pip install 'simplecqrs[redis]'")

pytestmark = [pytest.mark.redis, pytest.mark.services, pytest.mark.usefixtures("committed")]


@frozen
class Counted(NotificationEvent, topic="numbers", key="who"):
    """For everybody."""

    who: str
    step: int = 0


@pytest.fixture
def prefix() -> Iterator[str]:
    """Name streams that no other test uses, on a server that others use."""
    url = os.environ.get("CQRS_TEST_REDIS")
    if not url:
        pytest.skip("CQRS_TEST_REDIS names no Redis server, see scripts/services")
    prefix = f"drill-{uuid7()}:"
    yield prefix
    with redis.Redis.from_url(url) as client:
        client.delete(f"{prefix}nothing", *client.scan_iter(f"{prefix}*"))


@pytest.fixture
def shop(project: Project, settings: Any, prefix: str) -> Project:
    """Return a project that ships to Redis, keeps what it has shipped, and has a consumer that counts."""
    options = {"url": os.environ["CQRS_TEST_REDIS"], "prefix": prefix}
    settings.DJANGO_CQRS = {
        **settings.DJANGO_CQRS,
        "BROKERS": {"events": {"BACKEND": "simplecqrs.brokers.redis.RedisStreams", "OPTIONS": options}},
        "ROUTES": {"numbers": "events"},
        "CONSUMERS": {"mailing": {"broker": "events"}, "ledger": {"broker": "events"}},
        "KEEP_HISTORY": "48h",
    }
    project.consume(Counted, consumer="mailing", work=count)
    consumers("mailing")
    return project


@pytest.fixture
def stream(prefix: str) -> Iterator[Stream]:
    """Give a hand on the stream."""
    with redis.Redis.from_url(os.environ["CQRS_TEST_REDIS"]) as client:
        yield Stream(client, f"{prefix}numbers")


class Stream:
    """What happens to a server, done to one stream of it."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    def empty(self) -> None:
        """Flush it."""
        self._client.delete(self._name)

    def copy(self) -> bytes:
        """Make a snapshot, with the places of all groups."""
        found: bytes = self._client.dump(self._name)
        return found

    def restore(self, copy: bytes) -> None:
        """Go back to a snapshot."""
        self._client.restore(self._name, 0, copy, replace=True)


def count(event: Any, publish: Publish) -> None:
    """Count an event; not idempotent on purpose."""
    name = f"{event.who} {event.step}"
    Tally.objects.get_or_create(name=name)
    row = Tally.objects.get(name=name)
    Tally.objects.filter(name=name).update(n=row.n + 1)


def effects() -> dict[str, int]:
    """Return how often each event was handled."""
    return dict(Tally.objects.order_by("name").values_list("name", "n"))


def once(*steps: int) -> dict[str, int]:
    """Return the effects of events that were handled once."""
    return {f"ann {step}": 1 for step in steps}


def relay() -> None:
    """Let relays run until nothing is left to do, as the service would."""
    call_command("cqrs_relay", "--drain", stdout=StringIO())


def consume(*names: str) -> int:
    """Let consumers run until nothing is left to do, as the service would; return how it ends."""
    try:
        call_command("cqrs_consume", *(names or ("mailing",)), "--drain", stdout=StringIO())
    except CommandError as error:
        return error.returncode
    return 0


def nothing() -> None:
    """Stop what does not run."""


HANDS = {
    "stop web": nothing,
    "stop cqrs-relay": nothing,
    "stop cqrs-consume": nothing,
    "start web": nothing,
    "start cqrs-relay": relay,
    "start cqrs-consume": consume,
}


def alarms() -> list[str]:
    """Return the alarms about what is lost."""
    return [alarm for alarm in read_status().alarms if "recovery.md" in alarm]


def test_a_broker_that_was_emptied(shop: Project, stream: Stream) -> None:
    """Half was read, a quarter was lost, and something waits in the outbox."""
    shop.publish(Counted("ann", 1), Counted("ann", 2))
    relay()
    consume()
    shop.publish(Counted("ann", 3), Counted("ann", 4))
    relay()
    stream.empty()
    shop.publish(Counted("ann", 5))

    ends, raised = consume(), alarms()
    said = follow("recovery-broker-emptied.md", "What to do", HANDS, SINCE="1h")
    consume()

    assert effects() == once(1, 2, 3, 4, 5)
    assert [seen for seen in shop.seen if seen.startswith("mailing")] == [f"mailing ann{n}" for n in range(1, 6)]
    assert (ends, len(raised), alarms(), Outbox.objects.exists()) == (2, 1, [], False)
    assert "4 x Counted" in said
    assert "ends with" not in follow("recovery-broker-emptied.md", "How you know", HANDS)


def test_a_broker_that_was_restored_from_a_copy(shop: Project, stream: Stream) -> None:
    """Some that the copy lacks was read, and some was not."""
    shop.publish(Counted("ann", 1))
    relay()
    consume()
    since, copy = datetime.now(timezone.utc).isoformat(), stream.copy()
    shop.publish(Counted("ann", 2))
    relay()
    consume()
    shop.publish(Counted("ann", 3))
    relay()
    stream.restore(copy)

    ends, raised = consume(), alarms()
    follow("recovery-broker-restored.md", "What to do", HANDS, SINCE=since)
    consume()

    assert effects() == once(1, 2, 3)
    assert (ends, len(raised), alarms()) == (2, 1, [])


def test_what_is_missing_is_noticed_though_nobody_was_there(shop: Project, stream: Stream) -> None:
    """How far a consumer was is in its database."""
    shop.publish(Counted("ann", 1))
    relay()
    consume()

    stream.empty()

    assert Position.objects.get(consumer="mailing").mark
    assert consume() == 2
    assert consume() == 0
    assert Position.objects.get(consumer="mailing").lost == 1


class Copy:
    """A copy of the database of this test run, as its server makes one."""

    def __init__(self, folder: Path) -> None:
        self._live = connection.settings_dict["NAME"]
        self._copy = str(folder / "copy.sqlite3") if connection.vendor == "sqlite" else f"{self._live}_copy"

    def make(self) -> None:
        """Make a copy of all that is committed."""
        self._replace(self._copy, self._live)

    def restore(self) -> None:
        """Put the copy in the place of what is there."""
        self._replace(self._live, self._copy)

    def drop(self) -> None:
        """Remove it."""
        if connection.vendor == "postgresql":
            with connection._nodb_cursor() as cursor:
                cursor.execute(f'DROP DATABASE IF EXISTS "{self._copy}" WITH (FORCE)')

    def _replace(self, old: str, new: str) -> None:
        connections.close_all()
        if connection.vendor == "sqlite":
            with closing(sqlite3.connect(new)) as source, closing(sqlite3.connect(old)) as target:
                source.backup(target)
            return
        with connection._nodb_cursor() as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{old}" WITH (FORCE)')
            cursor.execute(f'CREATE DATABASE "{old}" TEMPLATE "{new}"')


@pytest.mark.needs("copies")
class TestDatabases:
    """Databases that were restored from a copy, where one is made in a moment; tests/chaos has others."""

    copies = connection.vendor == "sqlite" or (connection.vendor == "postgresql" and "CHAOS_SOAK" in os.environ)

    @pytest.fixture
    def copy(self, tmp_path: Path) -> Iterator[Copy]:
        copy = Copy(tmp_path)
        yield copy
        copy.drop()

    def test_a_consumer(self, shop: Project, copy: Copy) -> None:
        """What others have published in the meantime is handled again, for the first time as far as it knows."""
        tell(shop, 1, 2)
        consume()
        copy.make()
        tell(shop, 3, 4)
        consume()
        tell(shop, 5)

        hands = {**HANDS, "now restore the database": copy.restore}
        said = follow("recovery-consumer.md", "What to do", hands)

        assert effects() == once(1, 2, 3, 4, 5)
        assert "mailing reads drill-" in said
        assert alarms() == []

    def test_a_producer(self, shop: Project, copy: Copy) -> None:
        """What it had shipped since comes back to it, what waited in its outbox is sent twice, and handled once."""
        shop.consume(Counted, consumer="ledger", work=put_back)
        consumers("ledger")
        order(shop, 1)
        relay()
        order(shop, 2)
        copy.make()
        order(shop, 3)
        relay()
        consume("ledger")

        hands = {**HANDS, "now restore the database": copy.restore}
        follow("recovery-producer.md", "What to do", hands)

        assert sorted(Tally.objects.filter(name__startswith="order").values_list("name", "n")) == [
            ("order 1", 1), ("order 2", 1), ("order 3", 1)
        ]  # fmt: skip
        assert effects() == {**once(1, 2, 3), "order 1": 1, "order 2": 1, "order 3": 1}
        assert not Outbox.objects.exists()


def tell(shop: Project, *steps: int) -> None:
    """Publish to the broker what another project would."""
    vocabulary = shop.bus.vocabulary
    envelopes = [vocabulary.envelope(Counted("ann", step), new_metadata(None, None)) for step in steps]
    broker("events").publish(envelopes, deadline=5)


def order(shop: Project, step: int) -> None:
    """Write a row of the producer's own, and tell of it."""
    from django.db import transaction

    with transaction.atomic():
        Tally.objects.create(name=f"order {step}", n=1)
        shop.bus.publish(Counted("ann", step))


def put_back(event: Any, publish: Publish) -> None:
    """Write what is missing."""
    Tally.objects.get_or_create(name=f"order {event.step}", defaults={"n": 1})
