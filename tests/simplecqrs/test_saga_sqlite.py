"""Sagas in a SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from simplecqrs.saga.sqlite import SQLiteSagas
from tests.contracts.sagas import SagaContract


class TestSQLiteSagas(SagaContract):
    """All that a storage of sagas does."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """Return where the file is."""
        return tmp_path / "sagas.sqlite3"

    @pytest.fixture
    def sagas(self, path: Path) -> Generator[SQLiteSagas, None, None]:
        """Return an empty storage."""
        sagas = SQLiteSagas(path)
        yield sagas
        sagas.close()

    @pytest.fixture
    def pass_time(self, sagas: SQLiteSagas, path: Path) -> Callable[[float], None]:
        """Return what makes all times so many seconds earlier."""

        def move(seconds: float) -> None:
            db = sqlite3.connect(path)
            with db:
                db.execute("UPDATE simplecqrs_sagas SET due = due - ?", (seconds,))
                db.execute("UPDATE simplecqrs_saga_waits SET ends = ends - ?", (seconds,))
                db.execute("UPDATE simplecqrs_saga_events SET at = at - ?", (seconds,))
            db.close()

        return move
