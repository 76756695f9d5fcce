"""What databases say of their size, and of the disk that they are on, as far as one can ask them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from django.db import connections

__all__ = ["capacity", "sizes"]

#: Of tables that have partitions, the sum.  The schema is that in which we are; partitions may be elsewhere.
POSTGRESQL = """
SELECT '', pg_database_size(current_database())
UNION ALL (
    SELECT c.relname, COALESCE(
        (SELECT SUM(pg_total_relation_size(p.relid)) FROM pg_partition_tree(c.oid) p), pg_total_relation_size(c.oid)
    )
    FROM pg_class c
    WHERE c.relnamespace = quote_ident(current_schema())::regnamespace
    AND c.relname IN ({names}) AND c.relkind IN ('r', 'p')
    LIMIT 1000
)
"""
#: By the server's statistics, which may be some seconds old.
MYSQL = """
SELECT '', SUM(data_length + index_length + data_free) FROM information_schema.tables WHERE table_schema = DATABASE()
UNION ALL (
    SELECT table_name, data_length + index_length FROM information_schema.tables
    WHERE table_schema = DATABASE() AND table_name IN ({names}) LIMIT 1000
)
"""


def sizes(alias: str, tables: Sequence[str]) -> Mapping[str, int]:
    """
    Return the bytes of the whole database, under an empty name, and of each table with its indexes.

    SQLite tells only of its file: to know the tables it would read all of it.
    """
    return _ask[connections[alias].vendor](alias, tables)


def capacity(alias: str) -> int | None:
    """Return how many bytes the database may have before its disk is full; None where the server does not tell."""
    connection: Any = connections[alias]
    if connection.vendor != "sqlite" or connection.is_in_memory_db():
        return None
    return _of_file(alias) + shutil.disk_usage(Path(connection.settings_dict["NAME"]).parent).free


def _by(sql: str) -> Callable[[str, Sequence[str]], Mapping[str, int]]:
    def ask(alias: str, tables: Sequence[str]) -> Mapping[str, int]:
        with connections[alias].cursor() as cursor:
            cursor.execute(sql.format(names=", ".join(["%s"] * len(tables))), tables)
            return {name: int(size or 0) for name, size in cursor.fetchall()}

    return ask


def _of_file(alias: str) -> int:
    """Return the bytes of SQLite's file and of what is written ahead of it."""
    connection: Any = connections[alias]
    if connection.is_in_memory_db():
        with connection.cursor() as cursor:
            pages = cursor.execute("PRAGMA page_count").fetchone()[0]
            return int(pages * cursor.execute("PRAGMA page_size").fetchone()[0])
    name = str(connection.settings_dict["NAME"])
    return sum(path.stat().st_size for path in (Path(name), Path(f"{name}-wal")) if path.exists())


def _of_sqlite(alias: str, tables: Sequence[str]) -> Mapping[str, int]:
    return {"": _of_file(alias)}


_ask: dict[str, Callable[[str, Sequence[str]], Mapping[str, int]]] = {
    "postgresql": _by(POSTGRESQL),
    "mysql": _by(MYSQL),
    "sqlite": _of_sqlite,
}
