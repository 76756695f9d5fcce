"""
Where the demo's servers are: those that do not run are started, and each demo has a database of its own.
"""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import environ, getpid
from typing import Any, NoReturn
from urllib.parse import urlsplit, urlunsplit

from environments import ROOT

SERVICES = ROOT / "scripts" / "services"
NO_SERVERS = 3


@contextmanager
def server(name: str) -> Iterator[str]:
    """
    Say where a server is; if it does not run it is started, and stopped afterwards.
    """
    variable = f"CQRS_TEST_{name.upper()}"
    if url := environ.get(variable) or running().get(variable):
        yield url
        return
    started = subprocess.run([SERVICES, "start", name], capture_output=True, text=True, check=False)
    try:
        if started.returncode:
            refuse(f"{started.stdout}{started.stderr}".strip())
        yield running()[variable]
    finally:
        subprocess.run([SERVICES, "stop", name], capture_output=True, check=False)


def running() -> Mapping[str, str]:
    lines = subprocess.run([SERVICES, "env"], capture_output=True, text=True, check=True).stdout.splitlines()
    return dict(line.split("=", 1) for line in lines)


@contextmanager
def postgresql_database() -> Iterator[str]:
    """
    Give the URL of a new database on PostgreSQL, which is dropped afterwards.
    """
    with server("postgresql") as url, _database(url) as ours:
        yield ours


@contextmanager
def _database(url: str) -> Iterator[str]:
    import psycopg

    name = f"shop_demo_{getpid()}"
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
            connection.execute(f"CREATE DATABASE {name}")
    except psycopg.OperationalError as error:
        refuse(f"PostgreSQL at {place(url)} does not answer: {error}")
    try:
        yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def redis_database() -> Iterator[tuple[str, Any]]:
    """
    Give the URL of an empty database of Redis, and a client; what is in it afterwards is deleted.
    """
    with server("redis") as url, _redis_database(url) as found:
        yield found


@contextmanager
def _redis_database(url: str) -> Iterator[tuple[str, Any]]:
    import redis

    for number in range(15, 0, -1):
        ours = urlunsplit(urlsplit(url)._replace(path=f"/{number}"))
        client = redis.Redis.from_url(ours)
        try:
            if claim(client):
                break
        except redis.RedisError as error:
            refuse(f"Redis at {place(url)} does not answer: {error}")
    else:
        refuse("all databases of Redis, 1 to 15, have something in them; the demo wants one to itself")
    try:
        yield ours, client
    finally:
        client.flushdb()
        client.close()


def claim(client: Any) -> bool:
    """
    Take a database of Redis if it is empty; claimed before it is looked into, lest two demos get the same one.
    """
    if not client.set("shop-demo", getpid(), nx=True):
        return False
    if client.dbsize() == 1:
        return True
    client.delete("shop-demo")
    return False


def place(url: str) -> str:
    """
    Return where a server is, without the password that its URL may hold.
    """
    return urlsplit(url).netloc.rpartition("@")[2]


def refuse(reason: str) -> NoReturn:
    print(f"scripts/demo needs a server:\n{reason}", file=sys.stderr)
    sys.exit(NO_SERVERS)
