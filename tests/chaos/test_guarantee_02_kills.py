"""Row 2, and 4, 5, 6, 8 on the way: what is committed is delivered, whoever is killed meanwhile."""

from __future__ import annotations

import random

import pytest

from tests.chaos.conftest import MakeWorld
from tests.chaos.nemesis import Post, kill_side_by_side
from tests.chaos.world import EVENTS, KILLS

pytestmark = pytest.mark.processes

BATCH, FETCH = 50, 500


def test_guarantee_02_nothing_is_lost_when_relays_and_consumers_are_killed(
    make_world: MakeWorld, pair: tuple[str, str]
) -> None:
    """One relay and four consumers, each killed twenty times: none lost, each effect once, each key in order."""
    dwell = {"dwell_publish": 0.03, "dwell_store": 0.01, "dwell_handle": 0.002}
    if pair[1] == "database":  # whoever dwells there holds the only write lock
        dwell = {"dwell_publish": 0.003, "dwell_handle": 0.001}
    world = make_world(*pair, batch=BATCH, **dwell)
    relay = Post.fill(world.relay, "publish")
    consumers = [Post.fill(world.consumer, "handle", "store") for _ in range(4)]
    producers = [world.producer(name, EVENTS // 2, rate=85) for name in ("p1", "p2")]

    kill_side_by_side([relay], consumers, KILLS, random.Random(world.seed))
    world.enough(producers)
    drained = world.settle()
    world.stop([relay.child, *(post.child for post in consumers)])

    figures = {"kills": 2 * KILLS, "drained": f"{drained:.1f}"}
    verdict = world.judge(f"kills {'+'.join(pair)}", duplicates=KILLS * BATCH, **figures)
    assert world.seen_at_door() <= verdict.duplicates + KILLS * FETCH
