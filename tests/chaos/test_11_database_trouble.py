"""No 11: the database is restarted, killed, paused, cut off and full; relays and consumers survive it by themselves."""

from __future__ import annotations

import os
import random
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chaos.children import Child, wait_until
from tests.chaos.conftest import MARIADB, POSTGRESQL, REDIS, MakeWorld
from tests.chaos.proxy import Proxy
from tests.chaos.servers import Servers, private_servers
from tests.chaos.world import EVENTS, World

pytestmark = [pytest.mark.processes, *REDIS]

BATCH = 50
#: How often the server is restarted, killed and paused, in turn; every five seconds for minutes in scripts/soak.
TROUBLES = int(os.environ.get("CHAOS_TROUBLES", "3"))
#: Seconds of a pause; longer than the idle limits in scripts/soak.
PAUSE = float(os.environ.get("CHAOS_PAUSE", "3"))
SILENCE = float(os.environ.get("CHAOS_SILENCE", "3"))


@pytest.mark.parametrize(
    "database", [pytest.param("postgresql", marks=POSTGRESQL), pytest.param("mariadb", marks=MARIADB)]
)
def test_11_the_database_is_restarted_killed_and_paused(make_world: MakeWorld, database: str) -> None:
    """Nothing is lost, the same processes go on, and they say what they waited for."""
    with private_servers(database) as servers:
        world = make_world(database, "redis", server=servers.url(database), batch=BATCH)
        crew = [world.relay(), world.relay(), world.consumer(), world.consumer()]
        producers = [world.producer(name, EVENTS // 8, 60) for name in ("p1", "p2")]
        wait_until(lambda: world.count("chaos_handled") > 50, seconds=60, what="that events flow")
        rnd = random.Random(world.seed)

        for number in range(TROUBLES):
            trouble(servers, database, ("restart", "kill", "pause")[number % 3])
            threading.Event().wait(rnd.uniform(0.5, 2))
        world.enough(producers)
        world.settle()
        recovered(crew)
        world.stop(crew)

        world.judge(f"{database} restarted", duplicates=2 * TROUBLES * BATCH, restarts=TROUBLES)


def trouble(servers: Servers, database: str, what: str) -> None:
    """Restart in order, or kill and start, or pause and resume."""
    if what == "restart":
        servers.do("restart", database)
        return
    servers.do(what, database)
    if what == "pause":
        threading.Event().wait(PAUSE)
    servers.do({"kill": "start", "pause": "resume"}[what], database)


def recovered(crew: list[Child]) -> None:
    """All have gone on by themselves, and have said so."""
    said = "".join(child.output() for child in crew)
    assert [child.code for child in crew] == [None] * len(crew), said[-3000:]
    assert "nothing is lost, next attempt in" in said, said[-3000:]
    assert "is back after" in said, said[-3000:]


@pytest.mark.postgresql
def test_11_the_network_to_the_database_is_silent_and_then_resets(make_world: MakeWorld) -> None:
    """Nothing comes through for some seconds, in both directions; then connections are reset."""
    world = make_world("postgresql", "redis", batch=BATCH)
    proxy = Proxy(world.store.url())
    url = proxy.start()
    crew = [world.relay(default=url), world.consumer("ledger", default=url)]
    producer = world.producer("p1", EVENTS // 8, 60)
    wait_until(lambda: world.count("chaos_handled") > 50, seconds=60, what="that events flow")

    for resets in (False, True):
        proxy.silent = True
        threading.Event().wait(SILENCE)
        if resets:
            proxy.reset()
        proxy.silent = False
        threading.Event().wait(1)
    world.enough([producer])
    world.settle()
    recovered(crew)
    world.stop(crew)
    proxy.close()

    world.judge("silent network to postgresql", duplicates=2 * BATCH, silent=2 * SILENCE)


@pytest.mark.postgresql
def test_11_the_disk_of_the_database_is_full(make_world: MakeWorld, tmp_path: Path) -> None:
    """Tables lie on a small disk, which somebody fills: errors are said, nothing is lost, and it goes on by itself."""
    with private_servers("postgresql") as servers, small_disk(tmp_path) as disk:
        world = make_world("postgresql", "redis", server=servers.url("postgresql"), batch=BATCH)
        world.store.query(f"CREATE TABLESPACE small LOCATION '{disk}'")
        for table in ("cqrs_outbox", "cqrs_inbox", "cqrs_seen", "chaos_handled", "chaos_deed"):
            world.store.query(f"ALTER TABLE {table} SET TABLESPACE small")
            for (index,) in world.store.query(f"SELECT indexname FROM pg_indexes WHERE tablename = '{table}'"):
                world.store.query(f'ALTER INDEX "{index}" SET TABLESPACE small')
        relay, consumer = world.relay(), world.consumer()
        producer = world.producer("p1", EVENTS // 8, 60)
        wait_until(lambda: world.count("chaos_handled") > 50, seconds=60, what="that events flow")

        fill(disk)
        wait_until(lambda: "No space left" in world.said() or full(world), seconds=120, what="that the disk is full")
        threading.Event().wait(2)
        (disk / "ballast").unlink()
        world.enough([producer])
        world.settle()
        assert relay.code is consumer.code is None
        world.stop([relay, consumer])

        refused = sum(line["what"] == "unknown" for line in world.journal())
        world.judge("disk full", duplicates=2 * BATCH, refused=refused)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a file system of twenty megabytes in memory, that PostgreSQL may write to."""
    disk = Path("/tmp") / f"chaos-disk-{os.getpid()}"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m,mode=777", "tmpfs", str(disk)], check=True)
    try:
        place = disk / "tables"
        place.mkdir(mode=0o700)
        subprocess.run(["chown", "postgres", str(place)], check=True)
        yield place
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
        disk.rmdir()


def fill(disk: Path) -> None:
    """Take what is left of a disk."""
    with (disk / "ballast").open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(65536))
        except OSError:
            return


def full(world: World) -> bool:
    """Tell whether a producer has met the full disk."""
    return any("No space left" in line.get("error", "") for line in world.journal())
