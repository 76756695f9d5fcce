"""Redis Pub/Sub loses what nobody hears: it says so and counts it, and nothing else goes wrong by it."""

from __future__ import annotations

import re
import threading

import pytest

from tests.chaos.checker import check
from tests.chaos.children import Child, wait_until
from tests.chaos.conftest import POSTGRESQL, REDIS, MakeWorld
from tests.chaos.kinds.port import Site, running
from tests.chaos.kinds.redis_pubsub import REDIS_PUBSUB
from tests.chaos.proxy import Proxy
from tests.chaos.world import World

pytestmark = [pytest.mark.processes, *POSTGRESQL, *REDIS]

EVENTS, CUTS = 600, 3


def test_losses_of_pubsub_are_counted_and_shown(make_world: MakeWorld) -> None:
    """Connections are cut, and the consumer is killed, under load: what arrives, arrives once and in its order."""
    with running(REDIS_PUBSUB) as site:
        site.heal()
        world = make_world("postgresql", site, batch=20)
        consumer = _listening(world, site)
        relay = world.relay()
        producer = world.producer("p1", EVENTS, rate=100)
        for number in range(1, CUTS + 1):
            _reach(world, EVENTS * number // (2 * CUTS))
            assert isinstance(site.between, Proxy)
            site.between.reset()
        _reach(world, EVENTS * 2 // 3)
        consumer.kill()
        threading.Event().wait(1)  # in which nobody listens
        successor = _listening(world, site)
        world.enough([producer])
        world.rest()
        world.stop([relay, successor])

        evidence = world.evidence()
        faults = check(evidence).faults()
        lost = faults.pop("unhandled")
        unheard = _largest(relay, r"([\d,]+) events that nobody subscribed to")
        gaps = consumer.output().count("the connection is lost") + successor.output().count("the connection is lost")
        world.note("losses of Pub/Sub", events=len(evidence.committed), lost=lost, unheard=unheard, gaps=gaps)
    assert set(faults) == {"miscounted"}  # by as many as were lost
    assert sum(check(evidence).miscounted.values()) == -lost
    assert 0 < unheard <= lost < len(evidence.committed)
    assert 0 < gaps <= CUTS


def _listening(world: World, site: Site) -> Child:
    """Start a consumer, and wait until the server knows it as a listener."""
    import redis

    consumer, channel = world.consumer(), f"{world.prefix}bumps"
    with redis.Redis.from_url(site.server.url) as client:
        wait_until(lambda: client.pubsub_numsub(channel)[0][1], seconds=60, what="that the consumer listens")
    return consumer


def _reach(world: World, events: int) -> None:
    wait_until(lambda: world.count("chaos_deed") >= events, seconds=60, what=f"{events} events")


def _largest(child: Child, pattern: str) -> int:
    return max((int(found.replace(",", "")) for found in re.findall(pattern, child.output())), default=0)
