"""Relay and consumers under Celery: beat ticks, workers work, and ticks that overlap do no harm."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("celery", reason="Celery is not installed: pip install 'simplecqrs[celery]'")
redis = pytest.importorskip("redis", reason="redis-py is not installed: pip install 'simplecqrs[redis]'")

from tests.chaos.children import Child, wait_until  # noqa: E402
from tests.chaos.conftest import MakeWorld  # noqa: E402
from tests.chaos.servers import Servers, private_servers  # noqa: E402
from tests.chaos.world import EVENTS, World  # noqa: E402

pytestmark = [pytest.mark.processes, pytest.mark.services, pytest.mark.celery, pytest.mark.redis]
APP = ["-m", "celery", "-A", "tests.chaos.project.celery"]


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """Run a Redis for Celery's queue and for the events."""
    with private_servers("redis") as servers:
        yield servers


def start(world: World, folder: Path) -> tuple[list[Child], Child]:
    """Start two workers and beat."""
    workers = [
        world.spawn("worker", *APP, "worker", "-Q", "cqrs", "-c", "1", "-n", f"w{number}@%h", "-l", "info")
        for number in range(2)
    ]
    beat = world.spawn("beat", *APP, "beat", "-s", str(folder / "beat"), "-l", "info", "--max-interval", "1")
    return workers, beat


@contextmanager
def watching(client: Any) -> Iterator[list[int]]:
    """Note the length of Celery's queue every now and then, meanwhile."""
    found, stop = list[int](), threading.Event()

    def watch() -> None:
        while not stop.wait(0.1):
            found.append(int(client.llen("cqrs")))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        stop.set()
        watcher.join()


@pytest.mark.postgresql
def test_beat_every_second_does_not_pile_up_behind_a_slow_broker(
    make_world: MakeWorld, servers: Servers, tmp_path: Path
) -> None:
    """A broker that takes longer than the beat: ticks find the lanes taken and return, nothing is sent twice."""
    url = servers.url("redis")
    world = make_world("postgresql", "redis", redis=url, celery=url, engine="celery", batch=400, dwell_publish=1.5)
    workers, beat = start(world, tmp_path)
    producers = [world.producer(name, EVENTS // 5, EVENTS / 50) for name in ("p1", "p2")]
    with redis.Redis.from_url(url) as client, watching(client) as found:
        wait_until(lambda: world.count("chaos_handled"), seconds=60, what="that Celery works")
        world.enough(producers)
        world.settle()
    codes = [child.terminate(seconds=30)[0] for child in (beat, *workers)]

    assert codes == [0, 0, 0]
    assert beat.output().count("Sending due task") > 10
    assert max(found) <= 50  # two ticks a second, and the doorbells of whoever stores; all of them expire after five
    world.judge("celery beat", kills=0, longest_queue=max(found), ticks=beat.output().count("Sending due task"))


def test_guarantee_10_celery_only_rings(make_world: MakeWorld, servers: Servers, tmp_path: Path) -> None:
    """Celery's queue is emptied and a worker killed: deferred commands wait in the database, and are handled."""
    url = servers.url("redis")
    world = make_world("sqlite", "database", celery=url, engine="celery", dwell_handle=0.001)
    workers, beat = start(world, tmp_path)
    producer = world.producer("p1", EVENTS // 10, 40, "--deferred")
    with redis.Redis.from_url(url) as client:
        wait_until(lambda: world.count("chaos_handled"), seconds=60, what="that Celery works")
        workers[0].clear()
        client.delete("cqrs", "unacked", "unacked_index")
    world.enough([producer])
    world.settle()
    for child in (beat, workers[1]):
        child.terminate(seconds=30)

    world.judge("celery killed and flushed", kills=1)
