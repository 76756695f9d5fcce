"""The order of what several fetchers in turn have left behind on RabbitMQ."""

from __future__ import annotations

import pytest

pytest.importorskip("amqp", reason="py-amqp is not installed: pip install 'simplecqrs[rabbitmq]'")

from simplecqrs.errors import NotConfigured
from tests.contracts.broker import DEADLINE, contents, drain, envelope
from tests.simplecqrs.rabbitmq_corner import Open, soon

pytestmark = [pytest.mark.rabbitmq, pytest.mark.services]


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
def test_what_two_fetchers_left_in_turn_comes_in_its_order(open_broker: Open, queue_type: str) -> None:
    """The second one asked for less, as a process does that has just begun; then others were published."""
    sent = [envelope("orders", key="a") for _ in range(40)]
    publisher = open_broker(queue_type=queue_type)
    publisher.feeds("mailing", ["orders"])
    publisher.publish(sent[:30], deadline=DEADLINE)
    for limit in (30, 10):
        dead = open_broker(queue_type=queue_type)
        left = soon(dead.feeds("mailing", ["orders"])[0], limit)
        assert contents(left) == sent[:limit]
        dead.close()
    publisher.publish(sent[30:], deadline=DEADLINE)

    (feed,) = open_broker(queue_type=queue_type).feeds("mailing", ["orders"])
    first = soon(feed, 100)
    feed.acknowledge(first)

    assert contents(first) + drain(feed) == sent


@pytest.mark.parametrize("prefetch", [0, 65536])
def test_what_cannot_be_asked_for_is_refused(open_broker: Open, prefetch: int) -> None:
    """When the broker is made, and not at its first fetch."""
    with pytest.raises(NotConfigured, match="prefetch"):
        open_broker(prefetch=prefetch)
