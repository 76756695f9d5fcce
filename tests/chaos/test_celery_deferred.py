"""Deferred commands under Celery: its workers are killed at random and its broker is flushed, on Redis and RabbitMQ."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import pytest

pytest.importorskip("celery", reason="Celery is not installed: pip install 'simplecqrs[celery]'")

from kombu import Connection

from tests.chaos.children import Child, wait_until
from tests.chaos.conftest import POSTGRESQL, SOAK, MakeWorld, cases
from tests.chaos.servers import private_servers
from tests.chaos.world import EVENTS, KILLS, World

pytestmark = [pytest.mark.processes, pytest.mark.services, pytest.mark.celery, *POSTGRESQL]
APP = ["-m", "celery", "-A", "tests.chaos.project.celery", "worker", "-Q", "cqrs", "-c", "1", "-l", "info"]
COMMANDS = 10_000 if SOAK else EVENTS // 3
#: Commands per second of each of two producers.
RATE = max(30.0, COMMANDS / 120)
Start: TypeAlias = Callable[[int], Child]


# Of Redis, ``test_celery.py`` shows in less time much of the same.
@pytest.fixture(
    params=cases(
        pytest.param("rabbitmq", marks=pytest.mark.rabbitmq), soak=[pytest.param("redis", marks=pytest.mark.redis)]
    )
)
def celery_broker(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the URL of Celery's broker: a Redis of the test's own, or a queue that it deletes."""
    if request.param == "redis":
        with private_servers("redis") as servers:
            yield servers.url("redis")
        return
    url = os.environ.get("CQRS_TEST_RABBITMQ")
    if not url:
        pytest.skip("CQRS_TEST_RABBITMQ names no server, see scripts/services")
    yield url
    with Connection(url) as connection:
        connection.default_channel.queue_delete("cqrs")


def test_guarantee_10_celery_works_deferred_commands_once(make_world: MakeWorld, celery_broker: str) -> None:
    """Two workers, killed at random; at the end all that Celery knew is flushed, and the relay rings for the rest."""
    world = make_world("postgresql", "database", celery=celery_broker, engine="celery", dwell_handle=0.001)
    rnd = random.Random(world.seed)

    def start(number: int) -> Child:
        return world.spawn("worker", *APP, "-n", f"w{number}@%h")

    relay = world.relay()
    workers = [start(number) for number in range(2)]
    producers = [world.producer(name, COMMANDS // 2, RATE, "--deferred") for name in ("p1", "p2")]

    kills = kill_until(lambda: world.count("chaos_deed") >= 0.9 * COMMANDS, workers, start, world, rnd)
    for worker in workers:
        worker.clear()
    world.enough(producers)
    waiting = world.count("cqrs_inbox")
    flush(celery_broker)
    workers = [start(number) for number in range(2)]
    world.settle()
    for child in (*workers, relay):
        child.terminate(seconds=30)

    assert waiting > 0
    assert kills >= 2
    world.judge(f"celery deferred {urlsplit(celery_broker).scheme}", kills=kills + 2, flushed=1, waiting=waiting)


def kill_until(done: Callable[[], bool], workers: list[Child], start: Start, world: World, rnd: random.Random) -> int:
    """Kill workers that work, in turn a whole one and the one process of its pool, and return how many."""
    kills = 0
    while not done():
        before = world.count("chaos_handled")
        wait_until(lambda before=before: done() or world.count("chaos_handled") > before, seconds=60, what="work")
        threading.Event().wait(rnd.uniform(0, COMMANDS / 3000))
        if done() or kills >= KILLS:
            continue
        number = rnd.randrange(2)
        if rnd.random() < 0.5 and kill_pool(workers[number]):
            kills += 1
            continue
        workers[number].clear()
        workers[number] = start(number)
        kills += 1
    return kills


def kill_pool(worker: Child) -> bool:
    """Kill the process in which a worker's tasks run; it starts another by itself."""
    with suppress(OSError):
        pool = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
        if pool:
            os.kill(int(pool[0]), signal.SIGKILL)
            return True
    return False


def flush(url: str) -> None:
    """Forget all that Celery's broker holds."""
    with Connection(url) as connection:
        channel: Any = connection.default_channel
        if url.startswith("redis"):
            channel.client.flushall()
        else:
            channel.queue_purge("cqrs")
