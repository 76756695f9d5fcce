"""A SQLite file: a connection for each thread, transactions that write, and tables made at first use."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final
from weakref import WeakSet

from simplecqrs.errors import NotConfigured

__all__ = ["NOW", "SQLiteFile"]

#: Seconds since 1970 by SQLite's clock, in whole milliseconds.
NOW: Final = "((julianday('now') - 2440587.5) * 86400.0)"

#: Files that are open, so that a fork finds them.
FILES: Final[WeakSet[SQLiteFile]] = WeakSet()
#: Connections of a parent process: to close them would disturb the parent's.
ABANDONED: Final[list[sqlite3.Connection]] = []


class _Connection:
    """A thread's connection; it is closed when the thread has ended."""

    def __init__(self, path: str, timeout: float) -> None:
        self.pid = os.getpid()
        self.db = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)

    def __del__(self) -> None:
        if not hasattr(self, "db"):
            return
        if self.pid == os.getpid():
            self.db.close()
        else:
            ABANDONED.append(self.db)


class SQLiteFile:
    """
    A file that threads and processes share; one of them writes at a time.

    Args:
        timeout: seconds to wait for another one that writes.
        tables: SQL that makes the tables, if they are not there.
    """

    def __init__(self, path: str | os.PathLike[str], *, timeout: float, tables: str) -> None:
        self.path = _checked(path)
        self._timeout = timeout
        self._tables = tables
        self._local = threading.local()
        self._made = False
        FILES.add(self)
        _watch_forks()

    @property
    def db(self) -> sqlite3.Connection:
        """Return this thread's connection."""
        connection: _Connection | None = getattr(self._local, "connection", None)
        if connection is None or connection.pid != os.getpid():
            connection = self._local.connection = self._open()
        return connection.db

    @contextmanager
    def writing(self) -> Generator[sqlite3.Connection, None, None]:
        """Open a transaction in which nobody else writes."""
        db = self.db
        try:
            self._begin(db)
            yield db
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _begin(self, db: sqlite3.Connection) -> None:
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise self._explained(error) from error

    def now(self) -> float:
        """Return the time, in seconds since 1970."""
        return float(self.db.execute(f"SELECT {NOW}").fetchone()[0])

    def close(self) -> None:
        """Close this thread's connection; it is opened again when it is needed."""
        self._local.__dict__.clear()

    def _open(self) -> _Connection:
        try:
            connection = _Connection(self.path, self._timeout)
            self._write_ahead(connection.db)
            # A step that was begun must be known after a power cut as well.
            connection.db.execute("PRAGMA synchronous = FULL")
            if not self._made:
                connection.db.executescript(f"BEGIN IMMEDIATE; {self._tables} COMMIT;")
                self._made = True
        except sqlite3.OperationalError as error:
            raise self._explained(error) from error
        return connection

    def _write_ahead(self, db: sqlite3.Connection) -> None:
        """Let others read while one writes; SQLite does not wait here by itself when several do this at once."""
        end = time.monotonic() + self._timeout
        while True:
            try:
                db.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)

    def _explained(self, error: sqlite3.OperationalError) -> Exception:
        if "locked" not in str(error):
            return sqlite3.OperationalError(f"{self.path}: {error}")
        return sqlite3.OperationalError(
            f"{self.path}: {error}, for {self._timeout:g} seconds; is a transaction of the step that goes on writing "
            "to the same file? then keep sagas in a file of their own"
        )


def _checked(path: str | os.PathLike[str]) -> str:
    text = os.fspath(path)
    if not text or ":memory:" in text or text.startswith("file:"):
        raise NotConfigured(
            f"SQLiteSagas({text!r}): sagas are to outlive their process, so this is the path of a file; for tests "
            "there is MemorySagas()"
        )
    full = Path(text).absolute()
    if not full.parent.is_dir():
        raise NotConfigured(f"SQLiteSagas({text!r}): there is no directory {full.parent}; make it first")
    return str(full)


def _before_fork() -> None:
    """Close the connections of the thread that forks: SQLite's locks do not survive a fork."""
    for file in list(FILES):
        file.close()


@cache
def _watch_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before_fork)
