"""Marks in a file of their own, beside SQLite's: who holds a lane holds the only write lock of the database."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager
from functools import cache
from typing import Any

from django.db import connections

from django_cqrs.databases.port import Place
from django_cqrs.locks import LANE
from simplecqrs.memory_marks import Mark, Marks

__all__ = ["FileMarks"]

#: Seconds to wait for another process that writes a mark.
PATIENCE = 5.0
TABLE = "CREATE TABLE IF NOT EXISTS mark (queue TEXT, lane INTEGER, owner INTEGER, head INTEGER, starts INTEGER,"
UPSERT = "INSERT OR REPLACE INTO mark (queue, lane, owner, head, starts) VALUES (?, ?, ?, ?, ?)"


class FileMarks:
    """See ``Marks``.  They are worth nothing after a power failure, so nothing waits for the disk."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def owner(self, place: Place, /) -> tuple[str, list[Any]]:
        """Say what is in the file."""
        owners = self._owners(place)
        if not owners:
            return "0", []
        whens = " ".join(["WHEN %s THEN %s"] * len(owners))
        return f"CASE c.lane {whens} ELSE 0 END", [value for item in owners.items() for value in item]

    def claim(self, place: Place, lane: int, row: int, owner: int, /, *, most: int) -> int:
        """See ``Held.claim``."""
        if getattr(connections[self._alias], LANE, None) is not True:
            return 0
        if self._is_in_memory():
            return _in_memory(self._alias).claim((place.name, lane), row, owner, most=most)
        with self._file() as file:
            found = file.execute(
                "SELECT owner, head, starts FROM mark WHERE queue = ? AND lane = ?", [place.name, lane]
            ).fetchone()
            mark, died = Mark(*(found or (0, 0, 0))).claimed(row, owner, most=most)
            file.execute(UPSERT, [place.name, lane, mark.owner, mark.head, mark.starts])
        return died

    def disclaim(self, place: Place, lane: int, row: int, owner: int, /) -> None:
        """See ``Held.disclaim``."""
        if self._is_in_memory():
            _in_memory(self._alias).disclaim((place.name, lane), row, owner)
            return
        with self._file() as file:
            of_lane = "WHERE queue = ? AND lane = ? AND owner = ? AND head = ?"
            file.execute(f"UPDATE mark SET head = 0 {of_lane}", [place.name, lane, owner, row])

    def forget(self, place: Place, lane: int, /) -> None:
        """Forget it, whatever becomes of the transaction that is open."""
        if self._is_in_memory():
            _in_memory(self._alias).forget((place.name, lane))
            return
        with self._file() as file:
            file.execute("UPDATE mark SET head = 0 WHERE queue = ? AND lane = ?", [place.name, lane])

    def release(self, place: Place, owner: int, /) -> None:
        """Set the owner's lanes free."""
        if self._is_in_memory():
            _in_memory(self._alias).release(place.name, owner)
            return
        with self._file() as file:
            file.execute("UPDATE mark SET owner = 0, head = 0 WHERE queue = ? AND owner = ?", [place.name, owner])

    def _owners(self, place: Place) -> Mapping[int, int]:
        if self._is_in_memory():
            return _in_memory(self._alias).owners(place.name)
        with self._file() as file:
            return dict(file.execute("SELECT lane, owner FROM mark WHERE queue = ? AND owner <> 0", [place.name]))

    def _is_in_memory(self) -> bool:
        connection: Any = connections[self._alias]
        return bool(connection.is_in_memory_db())

    @contextmanager
    def _file(self) -> Generator[sqlite3.Connection, None, None]:
        connection: Any = connections[self._alias]
        path = f"{connection.settings_dict['NAME']}.cqrs-lanes"
        # A daemon waits for errors of Django to pass; of the driver's it knows nothing.
        with connection.wrap_database_errors, closing(sqlite3.connect(path, timeout=PATIENCE)) as file, file:
            file.execute("PRAGMA synchronous = OFF")
            file.execute(f"{TABLE} PRIMARY KEY (queue, lane))")
            yield file


@cache
def _in_memory(alias: str) -> Marks:
    """Return the marks of a database in memory, which ends with this process."""
    return Marks()
