"""Sagas in a SQLite file."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Generator
from datetime import timedelta
from pathlib import Path
from subprocess import PIPE, run
from typing import Any

import pytest

from simplecqrs.errors import InvalidPayload, NotConfigured, PayloadTooLarge
from simplecqrs.saga.records import Packed, Progress, Record
from simplecqrs.saga.sqlite import SQLiteSagas
from tests.contracts.sagas import SagaContract
from tests.contracts.sagas_harness import entry, saga


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

    def test_an_event_that_nobody_waits_for_is_forgotten_after_some_time(
        self, sagas: SQLiteSagas, pass_time: Callable[[float], None]
    ) -> None:
        """Or all events of a shop would be kept for its few sagas."""
        self.hand_in(sagas, "old")
        pass_time(8 * 24 * 3600)
        self.hand_in(sagas, "new")

        assert sagas.arrived(self.waiting(sagas, "old").id, "paid") is None
        assert sagas.arrived(self.waiting(sagas, "new").id, "paid") == b"event"


@pytest.fixture
def sagas(tmp_path: Path) -> Generator[SQLiteSagas, None, None]:
    """Return an empty storage that does not wait for long."""
    sagas = SQLiteSagas(tmp_path / "sagas.sqlite3", timeout=0.1)
    yield sagas
    sagas.close()


@pytest.fixture
def other(sagas: SQLiteSagas, tmp_path: Path) -> Generator[sqlite3.Connection, None, None]:
    """Return a connection of somebody else, as another release or a person has."""
    sagas.find()  # makes the tables
    db = sqlite3.connect(tmp_path / "sagas.sqlite3", isolation_level=None)
    yield db
    db.close()


def stored(sagas: SQLiteSagas, **changes: Any) -> Record:
    """Store a saga that is somewhere in its middle."""
    record = saga(owner="me")
    record.progress = {"a": Progress("done", error="no", attempts=2), "b": Progress("started", attempts=1)}
    for name, value in changes.items():
        setattr(record, name, value)
    assert sagas.create(record, lease=60.0)
    return record


def test_another_process_finds_what_this_one_has_stored(sagas: SQLiteSagas, tmp_path: Path) -> None:
    """The same path is the same storage, and a relative one does not follow the working directory."""
    record = stored(sagas)

    again = SQLiteSagas(str(tmp_path / "sagas.sqlite3"))

    assert again.load(record.id) is not None
    again.close()


@pytest.mark.parametrize("path", ["", ":memory:", "file::memory:?cache=shared"])
def test_what_is_no_file_is_refused(path: str) -> None:
    """A saga is to outlive its process."""
    with pytest.raises(NotConfigured, match=r"MemorySagas\(\)"):
        SQLiteSagas(path)


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    """At once, not when the first saga is stored."""
    with pytest.raises(NotConfigured, match=r"there is no directory .*absent; make it first"):
        SQLiteSagas(tmp_path / "absent" / "sagas.sqlite3")


def test_a_file_that_somebody_else_writes_for_too_long_is_named(sagas: SQLiteSagas, other: sqlite3.Connection) -> None:
    """With what is most likely the reason; nothing is left open behind it."""
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(sqlite3.OperationalError, match=r"sagas\.sqlite3: .*locked.* a file of their own"):
        stored(sagas)

    other.execute("ROLLBACK")
    stored(sagas)


def test_what_an_older_release_does_not_know_it_ignores(sagas: SQLiteSagas, other: sqlite3.Connection) -> None:
    """New columns, and new keys in the JSON of a newer one that ran before it, or runs beside it."""
    record = stored(sagas)
    other.execute("ALTER TABLE simplecqrs_sagas ADD COLUMN mood TEXT NOT NULL DEFAULT 'good'")
    progress = json.loads(other.execute("SELECT progress FROM simplecqrs_sagas").fetchone()[0])
    progress["a"]["mood"] = "good"
    other.execute("UPDATE simplecqrs_sagas SET progress = ?", (json.dumps(progress),))

    loaded = sagas.load(record.id)

    assert loaded is not None
    assert loaded.progress == record.progress
    sagas.save(loaded, lease=60.0)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("status", "DREAMING", "the status 'DREAMING', which this release does not know"),
        ("progress", '{"a":{"phase":"dreamt"}}', "the phase 'dreamt', which this release does not know"),
        ("progress", '{"a":{"phase":"done","action":"nap"}}', "the action 'nap'"),
        ("progress", '{"a":', "was damaged"),
    ],
)
def test_what_it_could_not_go_on_with_is_refused_by_name(
    sagas: SQLiteSagas, other: sqlite3.Connection, column: str, value: str, said: str
) -> None:
    """A saga of a newer release is left to that."""
    record = stored(sagas)
    other.execute(f"UPDATE simplecqrs_sagas SET {column} = ?", (value,))

    with pytest.raises(InvalidPayload, match=f"the saga {record.id} .*{said}|{said}"):
        sagas.load(record.id)


def test_states_that_are_no_text_come_back(sagas: SQLiteSagas) -> None:
    """As a binary codec makes them, also those of branches."""
    record = stored(sagas, state=Packed(b"\x00\xff\xfe"))
    record.progress["a"] = Progress("done", state=Packed(b"\x80 branch"))
    sagas.save(record, lease=60.0)

    loaded = sagas.load(record.id)

    assert loaded is not None
    assert (loaded.state, loaded.progress["a"].state) == (Packed(b"\x00\xff\xfe"), Packed(b"\x80 branch"))


def test_texts_that_no_database_takes_are_made_such(sagas: SQLiteSagas) -> None:
    """Errors come from anywhere; they are cut at 4,000 characters."""
    record = stored(sagas, error="nul \0, half \ud83d" + "x" * 10_000, entries=[entry("a", error="\0\udc00")])

    loaded = sagas.load(record.id)

    assert loaded is not None
    assert loaded.error.startswith("nul \\0, half \\ud83dxxx")
    assert len(loaded.error) < 4100
    assert sagas.history(record.id)[0].error == "\\0\\udc00"


def test_a_state_that_is_too_large_is_refused(sagas: SQLiteSagas) -> None:
    """Whatever codec has made it."""
    with pytest.raises(PayloadTooLarge, match=r"more than the limit of 16777216; keep large things elsewhere"):
        stored(sagas, state=Packed(bytes(16 * 1024 * 1024)))


def test_sagas_that_ended_well_are_forgotten_in_time(sagas: SQLiteSagas) -> None:
    """With their logs; those that somebody has to look at stay, and those that go on."""
    now = time.time()
    old = [entry("a", now - 100)]
    for status in ("COMPLETED", "COMPENSATED", "CANCELLED", "FAILED", "UNKNOWN", "RUNNING", "WAITING"):
        stored(sagas, status=status, entries=[*old])
    young = stored(sagas, status="COMPLETED", entries=[*old, entry("b", now)])

    assert sagas.forget(timedelta(seconds=50)) == 3

    assert [record.status for record in sagas.find()] == ["COMPLETED", "WAITING", "RUNNING", "UNKNOWN", "FAILED"]
    assert len(sagas.history(young.id)) == 2
    assert sagas.forget(timedelta(0)) == 1
    assert sagas.history(young.id) == []


FORKING = """
import os, sys
from simplecqrs.saga.sqlite import SQLiteSagas
from tests.contracts.sagas_harness import saga

sagas, record = SQLiteSagas("sagas.sqlite3"), saga(owner="me")
sagas.create(record, lease=60.0)
children = []
for _ in range(2):
    children.append(os.fork())
    if not children[-1]:
        for _ in range(5):
            sagas.create(saga(), lease=60.0)
        os._exit(0)
for _ in range(5):
    sagas.save(record, lease=60.0)
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
assert len(sagas.find()) == 11
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_has_a_connection_of_its_own(tmp_path: Path) -> None:
    """Parent and children go on with the same file, at the same time."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    done = run([sys.executable, "-W", "error", "-c", FORKING], cwd=tmp_path, env=env, stderr=PIPE, check=False)

    assert (done.returncode, done.stderr) == (0, b"")
