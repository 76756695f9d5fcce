"""Locks beside SQLite's database, for what is not to keep its writers waiting."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from django_cqrs.databases.file_marks import FileMarks
from django_cqrs.locks import file_lock, held_lane, lane_transaction
from django_cqrs.queue import DjangoStorage


def database(path: str, *, in_memory: bool = False) -> Any:
    """Return what is asked of a connection."""
    return SimpleNamespace(settings_dict={"NAME": path}, is_in_memory_db=lambda: in_memory)


def test_a_lock_has_one_holder_in_a_process() -> None:
    """Also where the database is in memory; locks of another name are free."""
    memory = database(":memory:", in_memory=True)
    with file_lock(memory, "lane") as first, file_lock(memory, "lane") as second, file_lock(memory, "other") as third:
        assert (first, second, third) == (True, False, True)

    with file_lock(memory, "lane") as again:
        assert again is True


@pytest.mark.processes
def test_a_lock_has_one_holder_among_processes(tmp_path: Path) -> None:
    """Whatever the folder is called; it is free when its holder is gone."""
    path = tmp_path / "memory" / "shop.sqlite3"
    path.parent.mkdir()
    code = f"""
import fcntl, sys
file = open({f"{path}.lane.lock"!r}, "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with file_lock(database(str(path)), "lane") as ours:
            assert ours is False
        other.kill()

    with file_lock(database(str(path)), "lane") as ours:
        assert ours is True


def test_a_lock_that_cannot_be_opened_is_an_error_of_the_database(tmp_path: Path) -> None:
    """A full disk, a folder that cannot be written: a daemon waits for it to pass; and nothing is held after it."""
    path = tmp_path / "missing" / "shop.sqlite3"
    with pytest.raises(OperationalError, match="is needed beside the database"), file_lock(database(str(path)), "lane"):
        pass

    path.parent.mkdir()
    with file_lock(database(str(path)), "lane") as ours:
        assert ours is True


@pytest.mark.usefixtures("committed")
def test_it_is_known_on_which_alias_a_lane_is_held() -> None:
    """And that none is held any more."""
    with lane_transaction("default"):
        assert held_lane() == "default"
        assert connection.in_atomic_block

    assert held_lane() is None


def test_marks_that_cannot_be_written_are_an_error_of_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, a file that somebody keeps locked: a daemon waits until it has passed, as it does for the rest."""
    if connection.vendor != "sqlite":  # they are rows there, written through Django
        return
    monkeypatch.setitem(connection.settings_dict, "NAME", str(tmp_path / "missing" / "shop.sqlite3"))

    with pytest.raises(OperationalError, match="unable to open"):
        FileMarks("default").release(DjangoStorage("inbox", "default").place("mailing"), 7)


@pytest.mark.usefixtures("committed")
def test_what_fails_after_the_commit_of_a_lane_keeps_nothing_else_from_being_called(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It may be of another message of the batch; and what is committed has not failed."""
    called: list[str] = []

    def fail() -> None:
        raise ValueError("the mail server is away")

    with lane_transaction("default"):
        transaction.on_commit(fail)
        transaction.on_commit(lambda: called.append("the other one"))

    assert called == ["the other one"]
    assert "the mail server is away" in caplog.text
