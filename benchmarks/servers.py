"""The servers: a database of our own on PostgreSQL, streams of our own in Redis, and how durable both are."""

from __future__ import annotations

import atexit
import os
from functools import cache
from typing import Any

__all__ = ["connect", "execute", "prepare", "redis_client", "settings_of_servers", "stream"]

DURABILITY = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers")


@cache
def prepare() -> None:
    """Make the database and its tables, and have database and streams removed when the process ends."""
    name = f"cqrs_bench_{os.getpid()}"
    os.environ.update(
        CQRS_BENCH_DATABASE=name,
        CQRS_BENCH_PREFIX=f"bench-{os.getpid()}:",
        DJANGO_SETTINGS_MODULE="benchmarks.settings",
    )
    execute(f"CREATE DATABASE {name}")
    atexit.register(_remove, name)
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)
    execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements", database=name, may_fail=True)


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


def _remove(name: str) -> None:
    from django.db import connections

    connections.close_all()
    execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", may_fail=True)
    if "CQRS_TEST_REDIS" in os.environ:
        client = redis_client()
        for key in client.scan_iter(match=f"{os.environ['CQRS_BENCH_PREFIX']}*"):
            client.unlink(key)
