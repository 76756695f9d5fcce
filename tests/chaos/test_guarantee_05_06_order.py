"""Rows 5 and 6: the events of a key are published, and handled, in the order in which they were appended."""

from __future__ import annotations

import signal
import threading

import pytest

from tests.chaos.children import wait_until
from tests.chaos.conftest import POSTGRESQL, REDIS, MakeWorld
from tests.chaos.world import EVENTS

pytestmark = pytest.mark.processes


def test_guarantee_05_slow_committers_are_not_overtaken_by_their_own_key(
    make_world: MakeWorld, pair: tuple[str, str]
) -> None:
    """Four producers, some of whose transactions commit late: ids become visible out of order, keys stay in order."""
    slow = {"slow": 0.1, "slow_seconds": 0.2} if pair[0] == "postgresql" else {"slow": 0.02, "slow_seconds": 0.05}
    world = make_world(*pair, batch=50, **slow)
    relays, consumer = [world.relay() for _ in range(2)], world.consumer()
    producers = [world.producer(f"p{number}", EVENTS // 16, 60) for number in range(4)]

    world.enough(producers)
    world.settle()
    world.stop([*relays, consumer])

    world.judge(f"slow committers {'+'.join(pair)}")


@pytest.mark.parametrize("pair", [pytest.param(("postgresql", "redis"), marks=[*POSTGRESQL, *REDIS], id="zombie")])
def test_guarantee_05_a_relay_that_wakes_up_too_late_does_no_harm(make_world: MakeWorld, pair: tuple[str, str]) -> None:
    """A relay is stopped while it publishes, until the database has taken its lanes; then it goes on."""
    world = make_world(*pair, batch=50)
    zombie = world.relay(dwell_publish=0.2)
    consumer, producer = world.consumer(), world.producer("p1", EVENTS // 10, 100)
    wait_until(lambda: zombie.has_come_to("publish"), seconds=60, what="that the relay publishes")
    threading.Event().wait(0.3)
    zombie.signal(signal.SIGSTOP)
    other = world.relay()

    wait_until(lambda: world.count("cqrs_outbox") > 0, seconds=60, what="that lanes are stuck")
    world.enough([producer])
    taken = wait_until(lambda: not world.count("cqrs_outbox"), seconds=60, what="that the lanes are taken")
    more = world.producer("p2", EVENTS // 10, 200)
    zombie.signal(signal.SIGCONT)
    world.enough([more])
    world.settle()
    world.stop([zombie, other, consumer])

    world.judge("zombie relay", duplicates=50, taken=f"{taken:.1f}")


def test_guarantee_06_handlers_that_fail_keep_their_key_in_order(make_world: MakeWorld, pair: tuple[str, str]) -> None:
    """With four workers and handlers that fail now and then, what follows a failed message waits behind it."""
    world = make_world(*pair, fail=0.02, dwell_handle=0.001)
    relay, consumer = world.relay(), world.consumer("ledger", "--workers", "4")
    producers = [world.producer(name, EVENTS // 8, 100) for name in ("p1", "p2")]

    world.enough(producers)
    world.settle()
    world.stop([relay, consumer])

    failed = consumer.output().count("a planted failure")
    assert failed > EVENTS / 400
    world.judge(f"failing handlers {'+'.join(pair)}", failed=failed)
