"""
Row 15: disasters while everything runs, and then what the pages say, done by a shell.

The lines of the pages are a script as they stand; only the values of their variables are the test's.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chaos.checker import check
from tests.chaos.children import ROOT, wait_until
from tests.chaos.conftest import POSTGRESQL, REDIS, MakeWorld
from tests.chaos.evidence import gather
from tests.chaos.servers import private_servers
from tests.chaos.stores import PostgreSQLStore, Store
from tests.chaos.world import PATIENCE, World
from tests.desk.drills import lines_of

pytestmark = [pytest.mark.processes, *POSTGRESQL, *REDIS]

#: Events that are enough to see something, and how many are published in a second by each producer.
FEW, RATE = 100, 20.0
#: Stands for systemd: a unit is a process whose id is in a file.
SYSTEMCTL = """#!/bin/sh
verb=$1; shift
for unit in "$@"; do
    if [ "$verb" = start ]; then
        case $unit in
            cqrs-relay) set -- cqrs_relay --database default ;;
            cqrs-consume) set -- cqrs_consume ledger ;;
        esac
        {python} -u -m django "$@" >> {folder}/$unit.log 2>&1 &
        echo $! > {folder}/$unit.pid
    elif [ -e {folder}/$unit.pid ]; then
        kill $(cat {folder}/$unit.pid)
        while kill -0 $(cat {folder}/$unit.pid) 2> /dev/null; do sleep 0.05; done
        rm {folder}/$unit.pid
    fi
done
"""
MANAGE = """#!/bin/sh
exec {python} -m django "$@"
"""


class Desk:
    """A terminal at which somebody follows a page."""

    def __init__(self, world: World, python: Path, **env: object) -> None:
        self._world = world
        self._env = {**world.env(**env), "PYTHONPATH": str(ROOT)}
        self._folder = world.folder / f"desk-{len(list(world.folder.glob('desk-*')))}"
        self._folder.mkdir()
        for name, script in (("systemctl", SYSTEMCTL), ("manage.py", MANAGE)):
            path = self._folder / name
            path.write_text(script.format(python=python, folder=self._folder))
            path.chmod(0o755)
        self._env["PATH"] = f"{self._folder}:{self._env['PATH']}"

    def run(self, script: str) -> str:
        """Run lines of a shell, which ends at the first that fails."""
        done = subprocess.run(
            ["sh", "-e", "-c", script], cwd=ROOT, env=self._env, capture_output=True, text=True, check=False,
            timeout=PATIENCE, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def follow(self, page: str, *, by_hand: str = "true", **values: str) -> str:
        """Do what a page says; ``by_hand`` stands for what it leaves to hands."""
        lines = [re.sub(r"^([A-Z]+)=\S+", lambda found: f"{found[1]}={values.get(found[1], '')}" if found[1] in values
                        else found[0], line) for line in lines_of(page, "What to do")]  # fmt: skip
        return self.run("\n".join(by_hand if line.startswith("# now ") else line for line in lines))

    def systemctl(self, *arguments: str) -> None:
        """Start or stop units."""
        self.run(f"systemctl {' '.join(arguments)}")


@contextmanager
def desk(world: World, **env: object) -> Iterator[Desk]:
    """Open a terminal, and stop at the end what was started by it."""
    import sys

    found = Desk(world, Path(sys.executable), **env)
    try:
        yield found
    finally:
        found.systemctl("stop", "cqrs-relay", "cqrs-consume")


def test_a_broker_is_emptied_under_load(make_world: MakeWorld) -> None:
    """Producers go on all the time; after the page nothing is lost, and each effect happened once."""
    import redis

    with private_servers("redis") as servers:
        world = make_world("postgresql", "redis", redis=servers.url("redis"), keep_history="48h")
        with desk(world) as terminal, redis.Redis.from_url(servers.url("redis")) as client:
            terminal.systemctl("start", "cqrs-relay", "cqrs-consume")
            producers = [world.producer(name, FEW, rate=RATE) for name in ("p1", "p2")]
            wait_until(lambda: world.count("chaos_handled") > FEW, seconds=PATIENCE, what="some of it")
            terminal.systemctl("stop", "cqrs-consume")
            before = world.count("chaos_deed")
            wait_until(lambda: world.count("chaos_deed") > before + 20, seconds=PATIENCE, what="some unread ones")
            client.flushall()

            terminal.systemctl("start", "cqrs-consume")
            said = terminal.follow("recovery-broker-emptied.md", ROUTE="redis", SINCE="1h")
            world.enough(producers)
            world.settle()

        assert "events wait in the outbox for redis once more" in said
        faults = check(world.evidence()).faults(duplicates=100 * FEW)
        # What relays shipped until they were stopped went ahead of what was sent once more.
        assert {fault: number for fault, number in faults.items() if not fault.startswith("inverted")} == {}


def test_a_consumer_is_restored_under_load(make_world: MakeWorld) -> None:
    """It has a database of its own, and what it did after the copy is done again, once."""
    world = make_world("postgresql", "redis", keep_history="48h")
    assert isinstance(world.store, PostgreSQLStore)
    theirs = world.store.copy("theirs")
    copy = None
    try:
        with desk(world, default=theirs.url()) as terminal:
            relay = world.relay()
            terminal.systemctl("start", "cqrs-consume")
            producer = world.producer("p1", FEW, rate=RATE)
            wait_until(lambda: handled(theirs) > FEW, seconds=PATIENCE, what="some of it")
            terminal.systemctl("stop", "cqrs-consume")
            copy = theirs.copy("copy")
            terminal.systemctl("start", "cqrs-consume")
            wait_until(lambda: handled(theirs) > 2 * FEW, seconds=PATIENCE, what="more of it")

            terminal.systemctl("stop", "cqrs-consume")
            theirs.restore(copy)
            back = handled(theirs)
            terminal.follow("recovery-consumer.md", CONSUMER="ledger")
            world.enough([producer])
            total = world.count("chaos_deed")
            wait_until(lambda: handled(theirs) >= total, seconds=PATIENCE, what="that all is handled")
            world.stop([relay])
            time.sleep(0.5)  # would more come, it would be here
        evidence = gather(
            lambda sql: (theirs if "handled" in sql or "effect" in sql else world.store).query(sql),
            journal=world.journal(),
            log=world.log(),
        )

        assert FEW < back < 2 * FEW
        assert check(evidence).faults(duplicates=0) == {}
    finally:
        for store in (theirs, copy):
            if store is not None:
                store.drop()


def handled(store: Store) -> int:
    """Count what a consumer has handled."""
    return int(store.query("SELECT COUNT(*) FROM chaos_handled")[0][0])
