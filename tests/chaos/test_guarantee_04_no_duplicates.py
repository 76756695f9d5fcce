"""Row 4: no duplicates between healthy relays, also when they are asked to end under load."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable

import pytest

from tests.chaos.children import Child, wait_until
from tests.chaos.conftest import POSTGRESQL, REDIS, MakeWorld
from tests.chaos.world import EVENTS, World

pytestmark = pytest.mark.processes

ROLLS = int(os.environ.get("CHAOS_ROLLS", "3"))


def test_guarantee_04_two_healthy_relays_publish_nothing_twice(make_world: MakeWorld, pair: tuple[str, str]) -> None:
    """Two relays on one outbox, half of it there from the beginning: each works, and nothing is sent twice."""
    world = make_world(*pair, batch=50, dwell_publish=0.005 if pair[1] == "redis" else 0)
    backlog = world.producer("backlog", EVENTS // 2, 5000)
    world.enough([backlog])
    (world.folder / "enough").unlink()

    relays = [world.relay() for _ in range(2)]
    producers = [world.producer(name, EVENTS // 4, 300) for name in ("p1", "p2")]
    consumer = world.consumer("ledger", "--workers", "2")
    for relay in relays:  # one that is slow to start finds something all the same: producers go on until told
        wait_until(lambda relay=relay: relay.has_come_to("publish"), seconds=60, what="that the relay works")
    world.enough(producers)
    world.settle()
    world.stop([*relays, consumer])

    world.judge(f"two relays {'+'.join(pair)}", kills=0)
    assert world.redis or world.seen_at_door() == 0


def test_guarantee_04_a_rolling_restart_under_load_repeats_nothing(
    make_world: MakeWorld, pair: tuple[str, str]
) -> None:
    """SIGTERM to relays and consumers in turn: each ends with 0 in less than ten seconds, nothing is repeated."""
    world = make_world(*pair, batch=50, dwell_publish=0.03 if pair[1] == "redis" else 0.003, dwell_handle=0.001)
    relays = [world.relay() for _ in range(2)]
    consumers = [world.consumer("ledger", "--workers", "2") for _ in range(2)]
    producers = [world.producer(name, EVENTS // 8, 100) for name in ("p1", "p2")]

    slowest = roll(world, relays, consumers, random.Random(world.seed))
    world.enough(producers)
    world.settle()
    slowest = max(slowest, world.stop([*relays, *consumers]))

    world.judge(f"rolling restarts {'+'.join(pair)}", kills=0, restarts=2 * ROLLS, slowest=f"{slowest:.1f}")
    assert world.redis or world.seen_at_door() == 0


@pytest.mark.parametrize("pair", [pytest.param(("postgresql", "redis"), marks=[*POSTGRESQL, *REDIS], id="processes")])
def test_guarantee_04_ctrl_c_ends_several_processes_without_repeating(
    make_world: MakeWorld, pair: tuple[str, str]
) -> None:
    """A terminal tells each process of a group, and the first tells the others again: all finish their batch."""
    world = make_world(*pair, batch=50, dwell_publish=0.2)
    producer, consumer = world.producer("p1", EVENTS // 10, 50), world.consumer()
    for _ in range(3):
        relay = world.relay("--processes", "2")
        sent = len(world.log())
        wait_until(lambda sent=sent: len(world.log()) > sent, seconds=60, what="that relays publish")
        relay.signal(signal.SIGINT, group=True)
        assert relay.finish(seconds=10)[0] == 0, relay.output()[-3000:]
    world.enough([producer])
    last = world.relay(dwell_publish=0)
    world.settle()
    world.stop([last, consumer])

    world.judge("ctrl-c of a group", kills=0)


def roll(world: World, relays: list[Child], consumers: list[Child], rnd: random.Random) -> float:
    """Restart each in turn, with SIGTERM to the process, or SIGINT to all of its group as a terminal does."""
    slowest = 0.0
    for number in range(ROLLS):
        relay = relays[number % 2]
        wait_until(lambda relay=relay: relay.has_come_to("publish"), seconds=60, what="that the relay works")
        threading.Event().wait(rnd.uniform(0, 0.2))
        slowest = max(slowest, restart(relays, number % 2, world.relay, group=False))
        consumer = consumers[number % 2]
        done = world.count("chaos_handled")
        wait_until(lambda done=done: world.count("chaos_handled") > done, seconds=60, what="that consumers work")
        assert consumer.code is None, consumer.output()
        start = lambda: world.consumer("ledger", "--workers", "2")  # noqa: E731
        slowest = max(slowest, restart(consumers, number % 2, start, group=number % 4 > 1))
    return slowest


def restart(children: list[Child], index: int, start: Callable[[], Child], *, group: bool) -> float:
    """End one, start another in its place, and return the seconds that the end took."""
    child = children[index]
    child.signal(signal.SIGINT if group else signal.SIGTERM, group=group)
    code, seconds = child.finish(seconds=10)
    assert code == 0, child.output()[-3000:]
    children[index] = start()
    return seconds
