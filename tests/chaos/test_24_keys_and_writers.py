"""No 24, 30 and 31: half of all events under one key, and writers that meet relays in one database."""

from __future__ import annotations

import signal

import pytest

from tests.chaos.children import wait_until
from tests.chaos.conftest import ON_MARIADB, ON_POSTGRESQL, REDIS, MakeWorld, cases
from tests.chaos.world import EVENTS, World

pytestmark = pytest.mark.processes

MANY = 4000


@pytest.mark.parametrize("pair", cases(ON_POSTGRESQL, soak=[ON_MARIADB]))
def test_24_a_hot_key_is_shipped_at_half_the_speed_at_least(make_world: MakeWorld, pair: tuple[str, str]) -> None:
    """Half of the events are one key's: they stay in order, and cost no more than twice the time."""
    world = make_world(*pair, batch=500)
    world.fill(f"k:{MANY}/100")
    relay = world.relay()
    wait_until(lambda: relay.has_come_to("publish"), seconds=60, what="that the relay works")
    wait_until(lambda: not world.count("cqrs_outbox"), seconds=60, what="that all are out")
    uniform = refill(world, f"k:{MANY}/100")
    hot = refill(world, f"k:{MANY // 2}/100", f"hot:{MANY // 2}")
    world.stop([relay])

    world.judge_log(f"hot key {pair[0]}", uniform=f"{uniform:.2f}", hot=f"{hot:.2f}")
    assert hot < 2 * uniform + 0.5


def refill(world: World, *what: str) -> float:
    """Fill the outbox while no relay looks, and return the seconds until it is empty."""
    relay = world.children[1]
    relay.signal(signal.SIGSTOP)
    world.fill(*what)
    relay.signal(signal.SIGCONT)
    return wait_until(lambda: not world.count("cqrs_outbox"), seconds=60, what="that all are out", every=0.01)


@pytest.mark.parametrize("pair", [ON_MARIADB])
def test_30_no_writer_is_the_victim_of_a_deadlock(make_world: MakeWorld, pair: tuple[str, str]) -> None:
    """Three relays and three producers on MariaDB: no producer is refused its commit."""
    world = make_world(*pair, batch=20)
    crew = [*(world.relay() for _ in range(3)), world.consumer()]
    producers = [world.producer(f"p{number}", EVENTS // 8, 80) for number in range(3)]
    world.enough(producers)
    world.settle()
    world.stop(crew)

    assert [line for line in world.journal() if line["what"] == "unknown"] == []
    world.judge("deadlocks mariadb+redis")


@pytest.mark.parametrize("broker", ["database", pytest.param("redis", marks=REDIS)])
def test_31_four_writers_and_two_relays_share_a_file_of_sqlite(make_world: MakeWorld, broker: str) -> None:
    """Nobody is told that the database is locked; one relay is killed, the other goes on."""
    world = make_world("sqlite", broker, batch=20)
    first, second, consumer = world.relay(), world.relay(), world.consumer()
    producers = [world.producer(f"p{number}", EVENTS // 20, 30) for number in range(4)]
    wait_until(lambda: world.count("chaos_handled") > 50, seconds=60, what="that events flow")
    first.kill()
    world.enough(producers)
    world.settle()
    world.stop([second, consumer])

    assert [line for line in world.journal() if line["what"] == "unknown"] == []
    assert "database is locked" not in world.said()
    world.judge(f"four writers sqlite+{broker}", duplicates=20, kills=1)
