"""No 33: handlers that are slow, fail, are stopped and are killed: each effect once, each key in its order."""

from __future__ import annotations

import os
import random
import signal
import statistics
import threading

import pytest

from tests.chaos.children import wait_until
from tests.chaos.conftest import ON_MARIADB, ON_POSTGRESQL, MakeWorld
from tests.chaos.nemesis import Post
from tests.chaos.world import EVENTS, World

pytestmark = pytest.mark.processes

SERVERS = [ON_POSTGRESQL, ON_MARIADB]
#: Kills and stops together.
BLOWS = int(os.environ.get("CHAOS_BLOWS", "6"))
#: Seconds that the long handler takes; sixty in scripts/soak.
LONG = float(os.environ.get("CHAOS_LONG", "5"))
#: Seconds by which it may delay others.
DELAY = 0.1


@pytest.mark.parametrize("pair", SERVERS)
def test_33_slow_handlers_that_fail_and_workers_that_are_stopped_and_killed(
    make_world: MakeWorld, pair: tuple[str, str]
) -> None:
    """Four workers, one in a hundred fails, some are killed, some are stopped for longer than the database waits."""
    world = make_world(*pair, fail=0.005, dwell_handle=0.01, timeout=1)
    rnd = random.Random(world.seed)
    relay = world.relay()
    workers = [Post.fill(world.consumer, "handle") for _ in range(4)]
    producers = [world.producer(name, EVENTS // 8, 60) for name in ("p1", "p2")]

    for number in range(BLOWS):
        worker = workers[number % 4]
        if number % 2:
            worker.kill(rnd.uniform(0, 0.2))
            continue
        wait_until(lambda worker=worker: worker.child.has_come_to("handle"), seconds=60, what="that a worker works")
        worker.child.signal(signal.SIGSTOP)
        threading.Event().wait(1.5)
        worker.child.signal(signal.SIGCONT)
    world.enough(producers)
    world.settle()
    world.stop([relay, *(worker.child for worker in workers)])

    world.judge(f"handlers {'+'.join(pair)}", kills=BLOWS // 2, stops=BLOWS - BLOWS // 2)


@pytest.mark.parametrize("pair", SERVERS)
def test_33_a_long_handler_delays_no_other_lane(make_world: MakeWorld, pair: tuple[str, str]) -> None:
    """While one worker is busy for seconds, the other handles what comes in the other lanes as soon as before."""
    world = make_world(*pair, long=LONG)
    relay, workers = world.relay(), [world.consumer() for _ in range(2)]
    producer = world.producer("p1", 100, 50)
    wait_until(lambda: world.count("chaos_handled") > 100, seconds=60, what="that events flow")

    start = world.count("chaos_handled")
    wait_until(lambda: world.count("chaos_handled") > start + 100, seconds=60, what="that events flow")
    before = delays(world)[start:]
    world.fill("long:1")
    wait_until(lambda: any((world.folder / f"long-{w.pid}").exists() for w in workers), seconds=60, what="the long one")
    since = len(delays(world))
    wait_until(lambda: world.store.query("SELECT 1 FROM chaos_handled WHERE name = 'long'"), seconds=90, what="its end")
    during = delays(world)[since:]
    world.enough([producer])
    world.settle()
    world.stop([relay, *workers])

    usual, then = statistics.median(before), statistics.median(during)
    worst, slowest = statistics.quantiles(before, n=20)[-1], statistics.quantiles(during, n=20)[-1]
    figures = {"before": f"{usual:.3f}/{worst:.3f}", "during": f"{then:.3f}/{slowest:.3f}", "long": LONG}
    world.judge(f"a long handler {'+'.join(pair)}", **figures)
    assert len(during) > 20 * LONG
    assert then - usual < DELAY
    assert slowest - worst < DELAY


def delays(world: World) -> list[float]:
    """Return the seconds from business row to effect of each event, without those of the long one."""
    rows = world.store.query(
        "SELECT h.at - d.at FROM chaos_handled h JOIN chaos_deed d ON d.name = h.name AND d.version = h.version"
        " WHERE h.name <> 'long' ORDER BY h.id"
    )
    return [seconds for (seconds,) in rows]


@pytest.mark.parametrize("pair", SERVERS)
def test_33_a_message_that_kills_its_process_is_put_aside(make_world: MakeWorld, pair: tuple[str, str]) -> None:
    """It takes three processes with it, then it is parked; tried once more it is dead, and the others never waited."""
    world = make_world(*pair, attempts=2, first=0.1)
    world.fill("k:300/30", "killer:2")
    relay, consumer = world.relay(), world.consumer("ledger", "--workers", "2")

    wait_until(lambda: world.count("cqrs_dead"), seconds=120, what="that the killer is dead")
    wait_until(lambda: world.count("chaos_handled") == 300, seconds=60, what="that the others are handled")
    world.stop([relay, consumer])

    deaths = consumer.output().count("ended with 7")
    assert 3 <= deaths <= 5, consumer.output()[-3000:]
    assert "the processes that handle it end" in world.manage("cqrs_dead", "list")
    evidence = world.evidence()
    assert sorted(e.fact for e in evidence.handled) == sorted(f for f in evidence.committed if f.key != "killer")
    assert world.count("cqrs_inbox_parked") == 1  # what follows it under its key
    world.note(f"killer {'+'.join(pair)}", events=302, kills=deaths)
