"""No 16 and 22: a broker that is slow, and one of two that is away."""

from __future__ import annotations

import pytest

from tests.chaos.children import wait_until
from tests.chaos.conftest import POSTGRESQL, REDIS, MakeWorld, cases
from tests.chaos.proxy import Proxy

pytestmark = [pytest.mark.processes, *POSTGRESQL, *REDIS]

EVENTS = 2000
BATCH = 100


@pytest.mark.parametrize(("latency", "rate"), cases((0.2, 0), soak=[(0.0, 64 * 1024)]))
def test_16_a_slow_broker_is_no_broker_that_is_down(make_world: MakeWorld, latency: float, rate: float) -> None:
    """Answers are late by a fifth of a second, or 64 kB go through in a second: batches pass, few of them twice."""
    world = make_world("postgresql", "redis", batch=BATCH)
    world.fill(f"k:{EVENTS // 2}/50")
    proxy = Proxy(world.redis, latency=latency, rate=rate)
    relay = world.relay(redis=proxy.start())
    took = wait_until(lambda: not world.count("cqrs_outbox"), seconds=120, what="that all events are out")
    world.stop([relay])
    proxy.close()

    world.judge_log(f"slow broker {latency} s {rate} B/s", duplicates=BATCH, took=f"{took:.1f}")


def test_22_a_broker_that_is_away_delays_no_other(make_world: MakeWorld) -> None:
    """Two brokers get each event; while one says nothing, the other has its events as soon as without it."""
    world = make_world("postgresql", "redis", batch=BATCH)
    world.fill(f"filled:{EVENTS // 2}/50")
    alone = world.relay()
    wait_until(lambda: world.logged() == EVENTS // 2, seconds=60, what="that all events are out")
    world.stop([alone])
    proxy = Proxy(world.redis, silent=True)
    second = {"second": proxy.start()}
    relay = world.relay(**second)
    wait_until(lambda: "relay second" in relay.output(), seconds=60, what="that the second broker is missed")

    producer = world.producer("p1", 200, 100, **second)
    world.enough([producer])
    late = wait_until(lambda: world.logged() == world.count("chaos_deed"), seconds=60, what="the first broker's events")
    waiting = world.count("cqrs_outbox")
    proxy.silent = False
    took = wait_until(lambda: not world.count("cqrs_outbox"), seconds=60, what="the second broker's events")
    world.stop([relay])
    proxy.close()

    assert late < 1
    assert waiting >= 200
    assert world.count("cqrs_blocked") == world.count("cqrs_dead") == 0
    assert world.logged("second:") >= waiting
    world.judge_log("one of two brokers away", late=f"{late:.2f}", recovered=f"{took:.1f}")
