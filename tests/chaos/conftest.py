"""Worlds for the proofs: PostgreSQL and MariaDB with Redis, and SQLite with the database as its broker."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.chaos.kinds.port import Site
from tests.chaos.releases.fixtures import deploy
from tests.chaos.stores import MariaDBStore, PostgreSQLStore, SQLiteStore, Store
from tests.chaos.world import REPORTS, World

__all__ = [
    "MARIADB",
    "ON_MARIADB",
    "ON_POSTGRESQL",
    "ON_SQLITE",
    "POSTGRESQL",
    "REDIS",
    "SOAK",
    "MakeWorld",
    "cases",
    "deploy",
    "server_of",
]

MakeWorld: TypeAlias = Callable[..., World]
POSTGRESQL = [pytest.mark.services, pytest.mark.postgresql]
MARIADB = [pytest.mark.services, pytest.mark.mariadb]
REDIS = [pytest.mark.services, pytest.mark.redis]
#: In scripts/soak, where there is time.
SOAK = bool(os.environ.get("CHAOS_SOAK"))
ON_POSTGRESQL = pytest.param(("postgresql", "redis"), marks=[*POSTGRESQL, *REDIS], id="postgresql")
ON_MARIADB = pytest.param(("mariadb", "redis"), marks=[*MARIADB, *REDIS], id="mariadb")
ON_SQLITE = pytest.param(("sqlite", "redis"), marks=REDIS, id="sqlite")


def cases(*always: Any, soak: Sequence[Any] = ()) -> list[Any]:
    """Return cases of a test, and those that only a soak has time for."""
    return [*always, *(soak if SOAK else ())]


def server_of(name: str) -> str:
    """Return where a server is; skip the test if the environment names none."""
    url = os.environ.get(f"CQRS_TEST_{name}")
    if not url:
        pytest.skip(f"CQRS_TEST_{name} names no server, see scripts/services")
    return url


class Templates:
    """Migrated databases, one for each kind and server, made when they are first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[tuple[str, bool, str], Store] = {}

    def copy(self, database: str, name: str, *, redis: bool, server: str) -> Store:
        """Return a new database like the template; on a server of the test's own a new one is migrated."""
        if server:
            return self._make(database, redis=redis, server=server, name=f"own_{name}")
        place = (database, redis, server)
        if place not in self._made:
            name_ = f"chaos_{os.getpid()}_template_{'redis' if redis else 'database'}"
            self._made[place] = self._make(database, redis=redis, server=server, name=name_)
        return self._made[place].copy(name)

    def _make(self, database: str, *, redis: bool, server: str, name: str) -> Store:
        store: Store = SQLiteStore(self._folder, name)
        if database == "postgresql":
            store = PostgreSQLStore(server or server_of("POSTGRESQL"), name)
        if database == "mariadb":
            store = MariaDBStore(server or server_of("MARIADB"), name)
        world = World(self._folder, store, "redis://127.0.0.1:1/0" if redis else "")
        try:
            for alias in ("default", "audit"):
                world.manage("migrate", "--run-syncdb", "--verbosity", "0", "--database", alias)
        except BaseException:
            store.drop()
            raise
        return store

    def drop(self) -> None:
        """Remove them."""
        for store in self._made.values():
            store.drop()


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Templates]:
    made = Templates(tmp_path_factory.mktemp("templates"))
    yield made
    made.drop()


@pytest.fixture
def make_world(templates: Templates, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[MakeWorld]:
    """Make a world; its processes end with the test, and its database unless it is on a server of the test's own."""
    made: list[World] = []

    def make(database: str, broker: str | Site, *, redis: str = "", server: str = "", **settings: object) -> World:
        name = f"{len(made)}_{tmp_path.name[-30:]}".lower().replace("-", "_")
        store = templates.copy(database, name, redis=broker == "redis", server=server)
        url = (redis or server_of("REDIS")) if broker == "redis" else ""
        env = {f"CHAOS_{key.upper()}": str(value) for key, value in settings.items()}
        site = None if isinstance(broker, str) else broker
        made.append(World(tmp_path, store, url, site, settings=env, has_own_server=bool(server)))
        return made[-1]

    yield make
    for world in made:
        world.close()


@pytest.fixture(
    params=[
        pytest.param(("postgresql", "redis"), marks=[*POSTGRESQL, *REDIS], id="postgresql-redis"),
        pytest.param(("mariadb", "redis"), marks=[*MARIADB, *REDIS], id="mariadb-redis"),
        pytest.param(("sqlite", "database"), id="sqlite-database"),
    ]
)
def pair(request: pytest.FixtureRequest) -> Any:
    """Give each pair of database and broker in turn."""
    return request.param


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print a line for each run."""
    if REPORTS:
        terminalreporter.section("chaos")
    for row in REPORTS:
        terminalreporter.write_line("  ".join(f"{name}={value}" for name, value in row.items()))
