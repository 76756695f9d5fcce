"""No 13: all of it through pgbouncer, which lends a connection of the server for one transaction, and then another."""

from __future__ import annotations

import random
from urllib.parse import urlsplit

import pytest

from tests.chaos.conftest import POSTGRESQL, REDIS, MakeWorld, server_of
from tests.chaos.nemesis import Post, kill_side_by_side
from tests.chaos.world import EVENTS, KILLS, World

pytestmark = [pytest.mark.processes, *POSTGRESQL, *REDIS]

BATCH = 50
DEAF, GONE = "LISTEN hears nothing", "what was prepared is gone"


@pytest.mark.parametrize("listens", [False, True], ids=["nobody-listens", "listening-past-it"])
def test_13_nothing_is_lost_behind_pgbouncer(make_world: MakeWorld, *, listens: bool) -> None:
    """Relay and consumers are killed: nothing rests on a session, and what does not work behind it is said and left."""
    world = make_world("postgresql", "redis", batch=BATCH, dwell_publish=0.03, dwell_handle=0.002)
    pool(world, server_of("PGBOUNCER"), listens=listens)
    relay = Post.fill(world.relay, "publish")
    consumers = [Post.fill(world.consumer, "handle") for _ in range(3)]
    producers = [world.producer(name, EVENTS // 4, rate=85) for name in ("p1", "p2")]

    kill_side_by_side([relay], consumers, KILLS, random.Random(world.seed))
    world.enough(producers)
    world.settle()
    world.stop([relay.child, *(post.child for post in consumers)])

    who = "a listener past it" if listens else "no listener"
    world.judge(f"pgbouncer, {who}", duplicates=KILLS * BATCH, kills=2 * KILLS)
    assert (DEAF in world.said(), GONE in world.said()) == (not listens, not listens)


def pool(world: World, pooler: str, *, listens: bool) -> None:
    """Let all processes of a world connect through a pooler, but for a listener."""
    direct = world.store.url()
    for alias in ("default", "audit"):
        name = urlsplit(world.store.url(alias)).path
        world.settings[f"CHAOS_{alias.upper()}"] = urlsplit(pooler)._replace(path=name).geturl()
    if listens:
        world.settings["CHAOS_DIRECT"] = direct
