"""
What the demo runs on: fresh databases for each run, and the processes that each needs.
"""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import environ, getpid
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit, urlunsplit

from environments import ROOT, clean
from stage import Stage

SERVICES = ROOT / "scripts" / "services"
SERVERS = ("CQRS_TEST_POSTGRESQL", "CQRS_TEST_REDIS")
NO_SERVERS = 3
STREAM = "cqrs:orders"
REPEATED = 25


class Sqlite:
    """
    SQLite; relay and consumers are daemons.
    """

    title = "SQLite, the database itself being the broker; relay and consumers are daemons"

    @contextmanager
    def fresh(self, folder: Path) -> Iterator[Mapping[str, str]]:
        """
        Give the environment variables that the shop's processes need.
        """
        yield environment(folder, SHOP_BACKEND="sqlite")

    def start(self, stage: Stage) -> None:
        stage.start("relay", "manage.py", "cqrs_relay")
        stage.start("consumer reports", "manage.py", "cqrs_consume", "reports")
        stage.start("consumer mailing", "manage.py", "cqrs_consume", "mailing")

    def kill_relay(self, stage: Stage) -> None:
        stage.kill("relay")

    def start_relay(self, stage: Stage) -> None:
        stage.start("relay")
        stage.say("started again: relay")

    def repeat(self, stage: Stage) -> None:
        """
        Do nothing: what the relay moves within one database cannot come twice.
        """

    def streamed(self) -> list[str] | None:
        """
        Return the ids of the events in the broker, or None if the broker keeps none.
        """
        return None


class Full:
    """
    PostgreSQL and Redis; Celery's beat and workers relay and send mails, the reports' consumers are daemons.
    """

    title = "PostgreSQL, Redis Streams and Celery: beat and a worker with two children relay and send mails"
    redis: Any

    @contextmanager
    def fresh(self, folder: Path) -> Iterator[Mapping[str, str]]:
        with (
            servers() as urls,
            database(urls[SERVERS[0]]) as postgresql,
            redis_database(urls[SERVERS[1]]) as (url, redis),
        ):
            self.redis = redis
            yield environment(folder, SHOP_BACKEND="postgresql", SHOP_DATABASE_URL=postgresql, SHOP_REDIS_URL=url)

    def start(self, stage: Stage) -> None:
        celery = ("-m", "celery", "-A", "shop")
        schedule = str(stage.folder / "celerybeat-schedule")
        stage.start(
            "celery worker", *celery, "worker", "-Q", "cqrs", "-c", "2", "-l", "info", "-n", f"demo{getpid()}@%h"
        )
        stage.start("celery beat", *celery, "beat", "-s", schedule, "--pidfile", "")
        stage.start("consumer reports", "manage.py", "cqrs_consume", "reports")
        stage.start("second consumer reports", "manage.py", "cqrs_consume", "reports")

    def kill_relay(self, stage: Stage) -> None:
        stage.kill_child("celery worker")

    def start_relay(self, stage: Stage) -> None:
        stage.wait_for(lambda: len(stage.children("celery worker")) >= 2, "another child of the celery worker")
        stage.say("the celery worker has another child by now")

    def repeat(self, stage: Stage) -> None:
        """
        Send some events again, as a relay does that dies before its commit, and as brokers may.
        """
        entries = self.redis.xrange(STREAM, count=REPEATED)
        for _, fields in entries:
            self.redis.xadd(STREAM, fields)
        stage.say(f"put {len(entries)} events into the stream a second time")

    def streamed(self) -> list[str] | None:
        return [fields[b"id"].decode() for _, fields in self.redis.xrange(STREAM)]


def environment(folder: Path, **variables: str) -> dict[str, str]:
    ours = {name: value for name, value in clean().items() if not name.startswith("SHOP_")}
    return {**ours, "SHOP_DATA_DIR": str(folder / "data"), "SHOP_DEBUG": "0", "PYTHONUNBUFFERED": "1", **variables}


@contextmanager
def servers() -> Iterator[Mapping[str, str]]:
    """
    Say where the servers are; those that do not run are started, and stopped afterwards.
    """
    if all(name in environ for name in SERVERS):
        yield environ
        return
    before = running()
    names = [name.removeprefix("CQRS_TEST_").lower() for name in SERVERS]
    started = subprocess.run([SERVICES, "start", *names], capture_output=True, text=True, check=False)
    urls = running()
    try:
        if started.returncode or not all(name in urls for name in SERVERS):
            refuse(f"{started.stdout}{started.stderr}".strip())
        yield urls
    finally:
        ours = [name.removeprefix("CQRS_TEST_").lower() for name in urls if name not in before]
        if ours:
            subprocess.run([SERVICES, "stop", *ours], capture_output=True, check=False)


def running() -> dict[str, str]:
    lines = subprocess.run([SERVICES, "env"], capture_output=True, text=True, check=True).stdout.splitlines()
    return dict(line.split("=", 1) for line in lines)


@contextmanager
def database(url: str) -> Iterator[str]:
    """
    Give the URL of a new database, which is dropped afterwards.
    """
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
def redis_database(url: str) -> Iterator[tuple[str, Any]]:
    """
    Give the URL of an empty database of Redis, and a client; what is in it afterwards is deleted.
    """
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
    print(f"scripts/demo --full needs PostgreSQL and Redis:\n{reason}", file=sys.stderr)
    sys.exit(NO_SERVERS)
