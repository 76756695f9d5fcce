"""No 21: an event that no broker takes stops its own key only, also one that breaks whatever it is sent with."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.chaos.children import Child, wait_until
from tests.chaos.conftest import ON_MARIADB, ON_POSTGRESQL, ON_SQLITE, MakeWorld, cases
from tests.chaos.world import World

pytestmark = pytest.mark.processes

#: Behind a poisoned event of their key; a million in scripts/soak.
FOLLOWERS = int(os.environ.get("CHAOS_FOLLOWERS", "20000"))
OTHERS = 5000
BATCH = 500


def shipped(world: World, number: int, *, since: int = 0) -> float:
    """Wait until so many more entries are in the broker's log and return how long that took."""
    return wait_until(lambda: world.logged() - since >= number, seconds=300, what=f"that {number} events are out")


def running(relay: Child) -> None:
    """Wait until a relay has come to work."""
    wait_until(lambda: relay.has_come_to("publish"), seconds=60, what="that the relay works")


@pytest.mark.parametrize("pair", cases(ON_POSTGRESQL, ON_MARIADB, soak=[ON_SQLITE]))
def test_21_one_event_in_ten_thousand_closes_the_channel(make_world: MakeWorld, pair: tuple[str, str]) -> None:
    """The others are out within ten seconds, at most four batches of them twice; the poison is parked, with a cause."""
    world = make_world(*pair, batch=BATCH, poison="closes", attempts=2, first=1, cap=1)
    world.fill("k:9999/100", "poison:1")
    relay = world.relay()
    running(relay)

    took = wait_until(lambda: not world.count("cqrs_outbox"), seconds=60, what="that the others are out")
    wait_until(lambda: world.count("cqrs_dead") == 1, seconds=60, what="that the poison is dead")
    world.stop([relay])

    assert took < 10
    assert "takes nothing while this event is among it" in world.manage("cqrs_dead", "list")
    world.judge_log(f"channel closed {pair[0]}", without="poison", duplicates=4 * BATCH, took=f"{took:.1f}")


@pytest.mark.parametrize("pair", cases(ON_POSTGRESQL, soak=[ON_MARIADB]))
def test_21_four_relays_and_a_broker_that_refuses_one_in_a_hundred(
    make_world: MakeWorld, pair: tuple[str, str]
) -> None:
    """What is refused at random is tried again, what follows it waits: nothing is lost, doubled or out of order."""
    world = make_world(*pair, batch=100, refuses=0.01)
    world.fill("k:4000/100")
    relays = [world.relay() for _ in range(4)]

    wait_until(lambda: world.logged() >= 4000, seconds=120, what="that all events are out")
    world.stop(relays)

    refused = sum(relay.output().count("a planted refusal") for relay in relays)
    assert refused > 10
    world.judge_log(f"refused at random {pair[0]}", refused=refused)
    assert world.count("cqrs_outbox_parked") == world.count("cqrs_blocked") == 0


@pytest.mark.parametrize("pair", cases(ON_POSTGRESQL, soak=[ON_MARIADB]))
def test_21_a_key_with_many_followers_is_in_nobodys_way(make_world: MakeWorld, pair: tuple[str, str]) -> None:
    """While its followers wait, others are as fast as before; when it is let go, it comes in its order."""
    world = make_world(*pair, batch=1000, poison="refused", attempts=1)
    world.fill(f"k:{OTHERS}/50")
    relay = world.relay()
    alone = shipped(world, OTHERS)
    world.fill(f"poison:{FOLLOWERS}")
    wait_until(lambda: not world.count("cqrs_outbox"), seconds=600, what="that the followers have moved")
    assert world.count("cqrs_outbox_parked") == FOLLOWERS - 1

    relay.signal(signal.SIGSTOP)
    world.fill(f"k:{OTHERS}/50")
    relay.signal(signal.SIGCONT)
    beside = shipped(world, OTHERS, since=OTHERS)

    assert beside < 2 * alone + 1
    assert "a planted refusal" in world.manage("cqrs_dead", "list")
    (world.folder / "healed").touch()
    world.manage("cqrs_dead", "retry", "--all")
    began = time.monotonic()
    wait_until(lambda: world.logged() == 2 * OTHERS + FOLLOWERS, seconds=1200, what="that the followers are out")
    world.stop([relay])
    figures = {"followers": FOLLOWERS, "alone": f"{alone:.1f}", "beside": f"{beside:.1f}"}
    world.judge_log(f"followers {pair[0]}", **figures, freed=f"{time.monotonic() - began:.1f}")
