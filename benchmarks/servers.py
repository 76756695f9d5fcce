"""The servers: a database of our own on PostgreSQL, streams of our own in Redis, and how durable both are."""

from __future__ import annotations

import atexit
import os
import shutil
import sqlite3
import tempfile
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

__all__ = [
    "connect",
    "connect_mariadb",
    "connect_sqlite",
    "execute",
    "prepare",
    "prepare_alias",
    "redis_client",
    "settings_of",
    "settings_of_servers",
    "stream",
]

DURABILITY = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers")


@cache
def prepare() -> None:
    """Make the database and its tables, and have database and streams removed when the process ends."""
    name = f"cqrs_bench_{os.getpid()}"
    folder = Path(tempfile.mkdtemp(prefix="cqrs-bench-"))
    os.environ.update(
        CQRS_BENCH_DATABASE=name,
        CQRS_BENCH_PREFIX=f"bench-{os.getpid()}:",
        CQRS_BENCH_SQLITE=str(folder / "bench.sqlite3"),
        DJANGO_SETTINGS_MODULE="benchmarks.settings",
    )
    execute(f"CREATE DATABASE {name}")
    atexit.register(_remove, name, folder)
    if os.environ.get("CQRS_BENCH_DEFAULT") == "mariadb":
        _make_on_mariadb()
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)
    execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements", database=name, may_fail=True)


@cache
def prepare_alias(alias: str) -> None:
    """Make the tables on another database than PostgreSQL."""
    from django.core.management import call_command

    if alias == "mariadb":
        _make_on_mariadb()
    call_command("migrate", database=alias, run_syncdb=True, verbosity=0)


def _make_on_mariadb() -> None:
    _on_mariadb(f"CREATE DATABASE {os.environ['CQRS_BENCH_DATABASE']} CHARACTER SET utf8mb4")
    atexit.register(_on_mariadb, f"DROP DATABASE {os.environ['CQRS_BENCH_DATABASE']}")


def _on_mariadb(sql: str) -> None:
    with connect_mariadb() as connection, connection.cursor() as cursor:
        cursor.execute(sql)


def execute(sql: str, *, database: str | None = None, may_fail: bool = False) -> None:
    """Execute a statement on a connection of its own."""
    from psycopg import Error

    try:
        with connect(database=database, autocommit=True) as connection:
            connection.execute(sql)
    except Error:
        if not may_fail:
            raise


def connect(*, database: str | None = None, autocommit: bool = False) -> Any:
    """Open a connection of psycopg, as one would by hand."""
    import psycopg

    options: dict[str, Any] = {} if database is None else {"dbname": database}
    return psycopg.connect(os.environ["CQRS_TEST_POSTGRESQL"], autocommit=autocommit, **options)


def connect_mariadb(*, database: str | None = None) -> Any:
    """Open a connection of PyMySQL, in READ COMMITTED as Django's are."""
    import pymysql

    parts = urlsplit(os.environ["CQRS_TEST_MARIADB"])
    connection = pymysql.connect(
        host=parts.hostname or "", port=parts.port or 3306, user=parts.username, password=parts.password or "",
        database=database, charset="utf8mb4",
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
    return connection


def connect_sqlite() -> Any:
    """Open a connection to the file, as durable as Django's."""
    connection = sqlite3.connect(os.environ["CQRS_BENCH_SQLITE"], timeout=20, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    return connection


@cache
def redis_client() -> Any:
    """Open a connection of redis-py, as one would by hand."""
    import redis

    return redis.Redis.from_url(os.environ["CQRS_TEST_REDIS"])


def stream(name: str) -> str:
    """Return the name of a stream of our own."""
    return os.environ["CQRS_BENCH_PREFIX"] + name


def settings_of_servers(*, redis: bool = True) -> dict[str, str]:
    """Say how durable the servers are set."""
    with connect() as connection:
        shown = {name: connection.execute(f"SHOW {name}").fetchone()[0] for name in DURABILITY}
        version = connection.execute("SHOW server_version").fetchone()[0].split()[0]
    found = {f"PostgreSQL {version}": ", ".join(f"{name} {value}" for name, value in shown.items())}
    if redis:
        client = redis_client()
        config = {name: client.config_get(name)[name] for name in ("appendonly", "appendfsync")}
        version = client.info("server")["redis_version"]
        found[f"Redis {version}"] = ", ".join(f"{name} {value}" for name, value in config.items())
    return found


def settings_of(alias: str) -> dict[str, str]:
    """Say how durable one of the other databases is set."""
    if alias == "sqlite":
        with connect_sqlite() as connection:
            shown = {
                name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")
            }
        return {f"SQLite {sqlite3.sqlite_version}": ", ".join(f"{name} {value}" for name, value in shown.items())}
    names = ("innodb_flush_log_at_trx_commit", "innodb_doublewrite", "innodb_buffer_pool_size", "log_bin")
    with connect_mariadb() as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT VERSION(), {', '.join(f'@@{name}' for name in names)}")
        version, *values = cursor.fetchone()
    shown = dict(zip(names, values, strict=True))
    return {f"MariaDB {version}": ", ".join(f"{name} {value}" for name, value in shown.items())}


def _remove(name: str, folder: Path) -> None:
    from django.db import connections

    connections.close_all()
    shutil.rmtree(folder, ignore_errors=True)
    execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", may_fail=True)
    if "CQRS_TEST_REDIS" in os.environ:
        client = redis_client()
        for key in client.scan_iter(match=f"{os.environ['CQRS_BENCH_PREFIX']}*"):
            client.unlink(key)
