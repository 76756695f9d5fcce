"""The databases of a run, read without Django: a new one for each run, copied from one that was migrated once."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

__all__ = ["ALIASES", "MariaDBStore", "PostgreSQLStore", "SQLiteStore", "Store"]

ALIASES = ("default", "audit")


class Store(Protocol):
    """Both databases of a run."""

    def url(self, alias: str = "default", /) -> str:
        """Return what the project's settings read."""
        ...

    def query(self, sql: str, /, *, alias: str = "default") -> list[tuple[Any, ...]]:
        """Return rows."""
        ...

    def copy(self, name: str, /) -> Store:
        """Make a copy, to be used while nobody is connected to this one."""
        ...

    def drop(self) -> None:
        """Remove it."""
        ...


class SQLiteStore:
    """Two files in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name

    def url(self, alias: str = "default", /) -> str:
        """Return the path of the file."""
        return f"sqlite://{self._folder / f'{self._name}-{alias}.sqlite3'}"

    def query(self, sql: str, /, *, alias: str = "default") -> list[tuple[Any, ...]]:
        """Read; WAL lets us while others write."""
        with closing(sqlite3.connect(urlsplit(self.url(alias)).path, timeout=30)) as connection, connection:
            return connection.execute(sql).fetchall()

    def copy(self, name: str, /) -> SQLiteStore:
        """Copy the files."""
        new = SQLiteStore(self._folder, name)
        for alias in ALIASES:
            with closing(sqlite3.connect(urlsplit(self.url(alias)).path)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            shutil.copy(urlsplit(self.url(alias)).path, urlsplit(new.url(alias)).path)
        return new

    def drop(self) -> None:
        """Leave the files to the test's folder."""


class PostgreSQLStore:
    """Two databases on a server."""

    def __init__(self, server: str, name: str, *, template: str = "template1") -> None:
        self._server = server
        self._name = name
        for alias in ALIASES:
            source = template if template == "template1" else f"{template}_{alias}"
            self._on_server(f'DROP DATABASE IF EXISTS "{name}_{alias}" WITH (FORCE)')
            self._on_server(f'CREATE DATABASE "{name}_{alias}" TEMPLATE "{source}"')

    def url(self, alias: str = "default", /) -> str:
        """Return the server's URL with our name."""
        return self._server.rpartition("/")[0] + f"/{self._name}_{alias}"

    def query(self, sql: str, /, *, alias: str = "default") -> list[tuple[Any, ...]]:
        """Read on a connection of its own: the server may have been restarted."""
        return self._on(self.url(alias), sql)

    def copy(self, name: str, /) -> PostgreSQLStore:
        """Use our databases as templates."""
        return PostgreSQLStore(self._server, f"chaos_{os.getpid()}_{name}", template=self._name)

    def restore(self, copy: PostgreSQLStore, /) -> None:
        """Put a copy in the place of what is there."""
        PostgreSQLStore(self._server, self._name, template=copy._name)

    def drop(self) -> None:
        """Drop the databases."""
        for alias in ALIASES:
            self._on_server(f'DROP DATABASE IF EXISTS "{self._name}_{alias}" WITH (FORCE)')

    def _on_server(self, sql: str) -> Sequence[tuple[Any, ...]]:
        return self._on(self._server, sql)

    def _on(self, url: str, sql: str) -> list[tuple[Any, ...]]:
        import psycopg

        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(sql)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []


class MariaDBStore:
    """Two databases on a server."""

    def __init__(self, server: str, name: str) -> None:
        self._server = server
        self._name = name
        for alias in ALIASES:
            self._run("", f"DROP DATABASE IF EXISTS `{name}_{alias}`")
            self._run("", f"CREATE DATABASE `{name}_{alias}` CHARACTER SET utf8mb4")

    def url(self, alias: str = "default", /) -> str:
        """Return the server's URL with our name."""
        return self._server.rpartition("/")[0] + f"/{self._name}_{alias}"

    def query(self, sql: str, /, *, alias: str = "default") -> list[tuple[Any, ...]]:
        """Read on a connection of its own: the server may have been restarted."""
        return self._run(f"{self._name}_{alias}", sql)

    def copy(self, name: str, /) -> MariaDBStore:
        """Make tables like ours, and copy their rows."""
        new = MariaDBStore(self._server, f"chaos_{os.getpid()}_{name}"[-50:])
        for alias in ALIASES:
            ours = f"{self._name}_{alias}"
            tables = [table for (table,) in self._run(ours, "SHOW TABLES")]
            made = [self._run(ours, f"SHOW CREATE TABLE `{table}`")[0][1] for table in tables]
            filled = [f"INSERT INTO `{table}` SELECT * FROM `{ours}`.`{table}`" for table in tables]
            self._run(f"{new._name}_{alias}", "SET FOREIGN_KEY_CHECKS = 0", *made, *filled)
        return new

    def drop(self) -> None:
        """Drop the databases."""
        for alias in ALIASES:
            self._run("", f"DROP DATABASE IF EXISTS `{self._name}_{alias}`")

    def _run(self, database: str, *statements: str) -> list[tuple[Any, ...]]:
        import pymysql

        parts = urlsplit(self._server)
        where = {"host": parts.hostname or "", "port": parts.port or 3306, "user": parts.username or ""}
        connection: Any = pymysql.connect(**where, database=database or None, charset="utf8mb4", autocommit=True)
        with closing(connection), connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())
