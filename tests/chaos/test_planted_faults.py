"""The checker finds faults that are planted in the running system, so that a clean run means something."""

from __future__ import annotations

import json
import random

import pytest

from tests.chaos.checker import check
from tests.chaos.conftest import POSTGRESQL, REDIS, MakeWorld
from tests.chaos.nemesis import Post, kill_in_turn
from tests.chaos.world import World

pytestmark = [pytest.mark.processes, *POSTGRESQL, *REDIS]

EVENTS = 600


def found(world: World, fault: str) -> dict[str, int]:
    """Return the faults that the checker finds when nothing moves any more."""
    world.rest()
    evidence = world.evidence()
    verdict = check(evidence)
    faults = verdict.faults()
    world.report(f"planted: {fault}", evidence, verdict, faults)
    return faults


def test_a_relay_without_lane_locks_sends_twice(make_world: MakeWorld) -> None:
    """Two healthy relays that do not lock their lanes send what the other sends: duplicates, and no kill."""
    world = make_world("postgresql", "redis", batch=50)
    fault = {"fault": "no_lane_lock", "dwell_publish": 0.02}
    for _ in range(2):
        world.relay(**fault)
    world.consumer()
    world.enough([world.producer("p1", EVENTS, 300)])

    assert found(world, "no lane lock")["duplicates"] > 0


def test_a_fetcher_that_acknowledges_first_loses(make_world: MakeWorld) -> None:
    """What was acknowledged before it was stored is gone with the process."""
    world = make_world("postgresql", "redis", fault="acknowledge_first", fetch=50, dwell_store=0.3)
    world.relay()
    consumers = [Post.fill(world.consumer, "store")]
    producer = world.producer("p1", EVENTS, 100)
    kill_in_turn(consumers, 4, random.Random(world.seed))
    world.enough([producer])

    assert found(world, "acknowledged first")["unhandled"] > 0


def test_a_relay_that_believes_too_early_loses(make_world: MakeWorld) -> None:
    """A broker's client that says "accepted" before it has sent: what it held is gone with the process."""
    world = make_world("postgresql", "redis", batch=50)
    relays = [Post.fill(lambda: world.relay(fault="accept_first", dwell_publish=0.02), "publish")]
    world.consumer()
    producer = world.producer("p1", EVENTS, 150)
    kill_in_turn(relays, 4, random.Random(world.seed))
    world.enough([producer])

    assert found(world, "accepted first")["unpublished"] > 0


@pytest.mark.parametrize(("fault", "free"), [("", False), ("no_lane_lock", True)], ids=["with-lock", "without"])
def test_only_the_lane_lock_keeps_a_second_worker_off_the_next_message(
    make_world: MakeWorld, fault: str, free: bool
) -> None:
    """While the first message of a key is being handled, nobody gets the second, unless the lock is dropped."""
    world = make_world("postgresql", "redis", fault=fault)

    child = world.spawn("interleave", "-m", "tests.chaos.project.interleave")
    assert child.finish(seconds=60)[0] == 0, child.output()

    assert json.loads(child.output().splitlines()[-1]) == {"take": free, "hold": free}
