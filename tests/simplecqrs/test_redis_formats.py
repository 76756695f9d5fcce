"""Redis Streams in the formats of others, on a real server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

redis = pytest.importorskip("redis", reason="redis-py is not installed: pip install 'simplecqrs[redis]'")

from simplecqrs.brokers.redis import RedisStreams  # noqa: E402
from simplecqrs.brokers.redis_pubsub import RedisPubSub  # noqa: E402
from simplecqrs.envelope import Envelope  # noqa: E402
from simplecqrs.errors import NotConfigured  # noqa: E402
from simplecqrs.metadata import uuid7  # noqa: E402
from simplecqrs.transport import Garbage  # noqa: E402
from tests.contracts.broker import DEADLINE, BrokerContract, drain, envelope, statuses  # noqa: E402

pytestmark = [pytest.mark.redis, pytest.mark.services]

Open = Callable[[str], RedisStreams]


@pytest.fixture
def url() -> str:
    url = os.environ.get("CQRS_TEST_REDIS")
    if not url:
        pytest.skip("CQRS_TEST_REDIS names no Redis server, see scripts/services")
    return url


@pytest.fixture
def open_as(url: str) -> Iterator[Open]:
    """Open the same streams in a format."""
    prefix, opened = f"test-{uuid7()}:", list[RedisStreams]()

    def open_as(name: str) -> RedisStreams:
        opened.append(RedisStreams(url, prefix=prefix, format=name))
        return opened[-1]

    yield open_as
    for broker in opened:
        broker.close()
    with redis.Redis.from_url(url) as client:
        client.delete(f"{prefix}nothing", *client.scan_iter(f"{prefix}*"))


class TestContract(BrokerContract):
    """As CloudEvents, it does what every adapter does."""

    @pytest.fixture(params=["cloudevents", "cloudevents-structured"])
    def reopen(self, open_as: Open, request: pytest.FixtureRequest) -> Callable[[], RedisStreams]:
        return lambda: open_as(request.param)

    @pytest.fixture
    def broker(self, reopen: Callable[[], RedisStreams]) -> RedisStreams:
        return reopen()

    @pytest.fixture
    def unacceptable(self) -> Callable[[str, str], Envelope]:
        return lambda topic, key: envelope(topic, key=key, name="half of a pair: \ud83c")

    @pytest.fixture
    def litter(self, url: str, broker: RedisStreams) -> Callable[[str], None]:
        def litter(topic: str) -> None:
            with redis.Redis.from_url(url) as client:
                client.xadd(f"{broker.prefix}{topic}", {"hello": b"\xff", "payload": b"\xff"})

        return litter


@pytest.mark.parametrize("name", ["python-cqrs", "diator"])
def test_carries_events_as_the_predecessors_have_them(open_as: Open, name: str) -> None:
    """What their formats have no place for are fields beside the body."""
    broker, sent = open_as(name), envelope("orders", key="7", correlation_id="c-1", headers={"user": "7"})
    broker.publish([sent], deadline=DEADLINE)

    (feed,) = broker.feeds("mailing", ["orders"])

    assert drain(feed) == [sent]


def test_refuses_what_a_format_cannot_say(open_as: Open) -> None:
    """The receipt has the reason; what follows under the key waits, and the others go on."""
    broker = open_as("diator")
    command = envelope("orders", key="a", kind="command")

    receipts = broker.publish([command, envelope("orders", key="a"), envelope("orders", key="b")], deadline=DEADLINE)

    assert statuses(receipts) == ["refused", "unknown", "accepted"]
    assert "events only" in receipts[0].reason


def test_only_what_counts_must_be_text(open_as: Open, url: str) -> None:
    """A field of a stranger may be any bytes; an attribute may not."""
    broker = open_as("cloudevents")
    needed = {"ce_specversion": "1.0", "ce_id": "7", "ce_type": "Placed", "ce_source": "/shop", "payload": b"{}"}
    with redis.Redis.from_url(url) as client:
        client.xadd(f"{broker.prefix}orders", {**needed, "x-trace": b"\xff"})
        client.xadd(f"{broker.prefix}orders", {**needed, "ce_partitionkey": b"\xff"})

    first, second = drain(broker.feeds("mailing", ["orders"])[0])

    assert isinstance(first, Envelope)
    assert isinstance(second, Garbage)


def test_refuses_a_format_that_nobody_knows(url: str) -> None:
    """When the broker is made, and not when it is used."""
    with pytest.raises(NotConfigured, match="did you mean 'cloudevents'"):
        RedisStreams(url, format="cloud-events")


def test_hears_what_diator_publishes(url: str) -> None:
    """It has a channel for each message, which ends in its id; these bytes were recorded from diator 0.1.2."""
    prefix, message = f"test[{uuid7()}]?:", "94b92e6e-1233-46ea-ab32-dc52d43dc887"
    body = (
        f'{{"message_type":"notification_event","message_name":"UserJoined","message_id":"{message}",'
        f'"payload":{{"event_id":"{message}","event_timestamp":"2026-11-21T11:52:00.139019","user_id":7}}}}'
    )
    broker = RedisPubSub(url, prefix=prefix, format="diator")
    (feed,) = broker.feeds("mailing", ["notification_event:*"])
    with redis.Redis.from_url(url) as client:
        client.publish(f"{prefix}ecst_event:{message}", body)
        heard = client.publish(f"{prefix}notification_event:{message}", body)

    found = next(filter(None, (drain(feed) for _ in range(500))))  # it is on its way
    broker.close()

    assert heard == 1
    assert [(e.name, str(e.id), e.payload) for e in found if isinstance(e, Envelope)] == [
        ("UserJoined", message, b'{"user_id":7}')
    ]


def test_publishes_where_diator_would(url: str) -> None:
    """Its subscribers listen to a pattern, so the end of the channel's name may be the topic."""
    prefix = f"test-{uuid7()}:notification_event:"
    broker = RedisPubSub(url, prefix=prefix, format="diator")
    with redis.Redis.from_url(url) as client, client.pubsub() as theirs:
        theirs.psubscribe(f"{prefix}*")
        theirs.get_message(timeout=5)

        broker.publish([envelope("users", name="UserJoined", payload=b'{"user_id":7}')], deadline=DEADLINE)
        message = theirs.get_message(timeout=5)
    broker.close()

    assert message["channel"] == f"{prefix}users".encode()
    assert b'"message_name":"UserJoined"' in message["data"]
    assert b'"user_id":7' in message["data"]
