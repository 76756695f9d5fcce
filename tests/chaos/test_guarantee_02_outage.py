"""Row 2, and 12 on the way: a broker that is away for a while costs nothing."""

from __future__ import annotations

import os
import threading

import pytest

from tests.chaos.children import Child, wait_until
from tests.chaos.conftest import MakeWorld
from tests.chaos.servers import Servers, private_servers
from tests.chaos.world import EVENTS, World

pytestmark = [pytest.mark.processes, pytest.mark.services, pytest.mark.redis]

OUTAGE = float(os.environ.get("CHAOS_OUTAGE", "8"))
PAUSE = float(os.environ.get("CHAOS_PAUSE", "4"))


@pytest.mark.postgresql
def test_guarantee_02_nothing_is_lost_while_redis_is_dead(make_world: MakeWorld) -> None:
    """Redis is killed for some seconds: commands go on, nothing is lost, nothing is blamed, all is made up for."""
    with private_servers("redis") as servers:
        world = make_world("postgresql", "redis", redis=servers.url("redis"), batch=100)
        outage(world, servers, ("kill", "start"), OUTAGE, EVENTS)


def test_guarantee_02_nothing_is_lost_while_redis_hangs(make_world: MakeWorld) -> None:
    """Redis is stopped, so that it takes connections and answers nothing."""
    with private_servers("redis") as servers:
        world = make_world("sqlite", "redis", redis=servers.url("redis"), batch=100)
        outage(world, servers, ("pause", "resume"), PAUSE, EVENTS // 4)


def outage(world: World, servers: Servers, doing: tuple[str, str], seconds: float, events: int) -> None:
    """Take Redis away and bring it back, under load."""
    relay, consumers = world.relay(), [world.consumer() for _ in range(2)]
    producer = world.producer("p1", events, events / (seconds + 8))
    wait_until(lambda: world.count("chaos_handled") > 100, seconds=60, what="that events flow")

    servers.do(doing[0], "redis")
    threading.Event().wait(seconds)
    waiting = world.count("cqrs_outbox")
    assert world.count("cqrs_blocked") == 0
    servers.do(doing[1], "redis")
    world.enough([producer])
    recovered = world.settle()
    world.stop([relay, *consumers])

    assert waiting > events / 10
    says(relay)
    pairs = f"{doing[0]} redis {seconds:.0f} s"
    most = relay.output().count("next attempt") * 100
    world.judge(pairs, duplicates=most, waited=waiting, recovered=f"{recovered:.1f}")


def says(relay: Child) -> None:
    """Look for what a relay says of a broker that is down, and of its return."""
    output = relay.output()
    assert "nothing is lost, next attempt in" in output, output[-3000:]
    assert "is back after" in output, output[-3000:]
