"""No 18 and 19: each kind of broker is killed, cut off and given what breaks it; its consumers are killed as well."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable

import pytest

from tests.chaos.children import wait_until
from tests.chaos.conftest import MARIADB, POSTGRESQL, MakeWorld, cases
from tests.chaos.kinds import KINDS
from tests.chaos.kinds.port import MARKER, Kind, Site, running
from tests.chaos.nemesis import Post
from tests.chaos.proxy import Cut
from tests.chaos.world import World

pytestmark = pytest.mark.processes

#: 20,000 in scripts/soak.
EVENTS = int(os.environ.get("CHAOS_BROKER_EVENTS", "5000"))
CUTS = int(os.environ.get("CHAOS_BROKER_CUTS", "20"))
#: Of consumers, and of the server.
KILLS, DEATHS = (10, 2) if EVENTS >= 5000 else (4, 1)
BATCH, ATTEMPTS = 100, 3
#: Events under each of the keys that make trouble.
FOLLOWERS = 5
TROUBLE = (MARKER, "toxic")


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=kind.marks, id=kind.name) for kind in KINDS])
@pytest.mark.parametrize(
    "database",
    cases(
        pytest.param("postgresql", marks=POSTGRESQL),
        soak=[pytest.param("mariadb", marks=MARIADB), "sqlite"],
    ),
)
def test_18_nothing_is_lost_whatever_befalls_broker_and_consumers(
    make_world: MakeWorld, kind: Kind, database: str
) -> None:
    """The server dies, connections are cut, consumers die, one event breaks channels, one has no cure but time."""
    dwell = {"dwell_publish": 0.02, "dwell_store": 0.01, "dwell_handle": 0.001}
    with running(kind) as site:
        world = make_world(database, site, batch=BATCH, attempts=ATTEMPTS, first=0.2, cap=1, **dwell)
        relay = world.relay()
        consumers = [Post.fill(world.consumer, "handle", "store") for _ in range(2)]
        producers = [world.producer(name, EVENTS // 2, rate=min(100, EVENTS / 80)) for name in ("p1", "p2")]
        wait_until(lambda: world.count("chaos_handled") > 0, seconds=60, what="that events flow")
        world.fill(*(f"{key}:{FOLLOWERS}" for key in TROUBLE))

        _strike(world, site, consumers)
        world.enough(producers)
        drained = _drain(world)
        assert world.count("cqrs_dead") == len(TROUBLE)
        site.heal()
        (world.folder / "healed").touch()
        world.manage("cqrs_dead", "retry", "--all")
        world.settle()
        world.stop([relay, *(post.child for post in consumers)])

        figures = {"kills": KILLS, "restarts": DEATHS, "stops": 1, "cuts": CUTS, "drained": f"{drained:.1f}"}
        searches = relay.output().count("searching for the cause")
        most = BATCH * (CUTS + DEATHS + 1 + 3 * searches + ATTEMPTS)
        world.judge(f"{kind.name} under fire {database}", duplicates=most, searches=searches, **figures)
    assert "a message that nobody can handle" in world.said()


def _strike(world: World, site: Site, consumers: list[Post]) -> None:
    """Let blows fall, in an order drawn by lot, spread over the time in which events are produced."""
    rnd = random.Random(world.seed)
    blows: list[Callable[[], None]] = [
        *[lambda: _cut(site, rnd)] * CUTS,
        *[lambda: rnd.choice(consumers).kill(rnd.uniform(0, 0.15))] * KILLS,
        *[lambda: _away(site.server.kill, site.server.start)] * DEATHS,
        lambda: _away(site.server.pause, site.server.resume),
    ]
    rnd.shuffle(blows)
    for number, blow in enumerate(blows, 1):
        due = EVENTS * number // (len(blows) + 1)
        wait_until(lambda due=due: world.count("chaos_deed") >= due, seconds=120, what=f"{due} events")  # type: ignore[misc]
        blow()


def _cut(site: Site, rnd: random.Random) -> None:
    """Cut a connection before the server hears something, in the middle of it, or before its answer is heard."""
    step, byte = rnd.choice([(rnd.randrange(1, 40), 0), (0, rnd.randrange(1, 50_000))])
    cut = Cut(step, rnd.random() < 0.5, byte)
    site.between.begin(cut)
    wait_until(lambda: site.between.cuts, seconds=60, what=f"{cut}")


def _away(leave: Callable[[], None], come: Callable[[], None]) -> None:
    """Take the server away for a while that clients notice."""
    leave()
    threading.Event().wait(3)
    come()


def _drain(world: World) -> float:
    """Wait until only that is left which nobody can handle; return how long it took."""

    def is_drained() -> bool:
        waits = world.count("cqrs_outbox") + world.count("cqrs_inbox")
        left = world.count("chaos_deed") - world.count("chaos_handled")
        return not waits and left == len(TROUBLE) * FOLLOWERS and world.count("cqrs_dead") == len(TROUBLE)

    try:
        return wait_until(is_drained, seconds=600, what="that all others are handled", every=0.1)
    except AssertionError as error:
        names = ("cqrs_outbox", "cqrs_outbox_parked", "cqrs_inbox", "cqrs_inbox_parked", "cqrs_dead", "chaos_handled")
        raise AssertionError(f"{error}: { ({name: world.count(name) for name in (*names, 'chaos_deed')}) }") from None
