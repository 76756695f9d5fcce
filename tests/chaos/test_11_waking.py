"""2-relay.md 5.2, test 11, for the wake-up: the server is restarted, and daemons are woken again without a hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.children import Child, wait_until
from tests.chaos.servers import Servers, private_servers
from tests.chaos.stores import PostgreSQLStore
from tests.chaos.world import World

pytestmark = [pytest.mark.processes, pytest.mark.services, pytest.mark.postgresql]
LISTENING = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cqrs listener'"
    " AND datname = current_database() AND query LIKE 'LISTEN%'"
)


@pytest.fixture
def server() -> Iterator[Servers]:
    """Run a PostgreSQL of our own."""
    with private_servers("postgresql") as server:
        yield server


@pytest.fixture
def world(server: Servers, tmp_path: Path) -> Iterator[World]:
    """Make a world whose databases are on that server."""
    world = World(tmp_path, PostgreSQLStore(server.url("postgresql"), "waking"))
    for alias in ("default", "audit"):
        world.manage("migrate", "--run-syncdb", "--verbosity", "0", "--database", alias)
    yield world
    world.close()


def tell(world: World, name: str) -> None:
    """Publish a few events, one after the other."""
    producer = world.producer(name, 10, 20)
    world.enough([producer])
    (world.folder / "enough").unlink()
    world.settle()


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_11_a_daemon_is_woken_again_after_its_server_was_restarted(server: Servers, world: World, how: str) -> None:
    """It says once that it polls, and that it listens again; what was committed is handled."""
    daemon = world.relay("--consume")
    wait_until(lambda: world.store.query(LISTENING) == [(1,)], seconds=60, what="that it listens")
    tell(world, "before")

    server.do(how)
    wait_until(lambda: said(daemon, "has no connection"), seconds=60, what="that it notices")
    server.do("start")
    wait_until(lambda: said(daemon, "the listener is back"), seconds=60, what="that it listens again")
    assert world.store.query(LISTENING) == [(1,)]
    tell(world, "after")

    assert said(daemon, "the listener has no connection") == said(daemon, "the listener is back") == 1
    world.stop([daemon])
    world.judge(f"listener, server {how}", kills=1)


def said(daemon: Child, what: str) -> int:
    """Count how often it has said something of its default alias."""
    return sum("'default'" in line and what in line for line in daemon.output().splitlines())
