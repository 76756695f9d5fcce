"""A database on which both releases work; ``tests/chaos/conftest.py`` takes the fixture over by importing it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.releases.world import Deploy
from tests.chaos.stores import PostgreSQLStore, SQLiteStore, Store

__all__ = ["deploy"]


@pytest.fixture
def deploy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deploy]:
    """Return a database that the old release has made, on the kind of server that the test names."""
    made = Deploy(tmp_path, _store(request.param, tmp_path))
    made.migrate("one")
    yield made
    made.close()


def _store(database: str, folder: Path) -> Store:
    if database == "sqlite":
        return SQLiteStore(folder, "releases")
    url = os.environ.get("CQRS_TEST_POSTGRESQL")
    if not url:
        pytest.skip("CQRS_TEST_POSTGRESQL names no server, see scripts/services")
    return PostgreSQLStore(url, f"releases_{os.getpid()}_{folder.name[-1]}")
