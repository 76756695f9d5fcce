"""Row 10: a deferred command has its effect once and is never lost."""

from __future__ import annotations

import random

import pytest

from tests.chaos.conftest import POSTGRESQL, MakeWorld
from tests.chaos.nemesis import Post, kill_in_turn
from tests.chaos.world import EVENTS, KILLS

pytestmark = pytest.mark.processes


@pytest.mark.parametrize("database", [pytest.param("postgresql", marks=POSTGRESQL), "sqlite"])
def test_guarantee_10_deferred_commands_survive_their_workers(make_world: MakeWorld, database: str) -> None:
    """Workers are killed, handlers fail: each deferred command has one effect, those of a key in their order."""
    world = make_world(database, "database", fail=0.01, dwell_handle=0.001)
    posts = [Post.fill(lambda: world.consumer("deferred"), "handle") for _ in range(3)]
    producers = [world.producer(name, EVENTS // 8, 80, "--deferred") for name in ("p1", "p2")]

    kill_in_turn(posts, KILLS // 2, random.Random(world.seed))
    world.enough(producers)
    world.settle()
    world.stop([post.child for post in posts])

    world.judge(f"deferred commands {database}", kills=KILLS // 2)
