"""
By which broker the demo's events travel: SHOP_BROKER says so, as in the example project.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import environ
from typing import Any

from places import redis_database, refuse
from stage import Stage

STREAM = "cqrs:orders"
REPEATED = 25


class Database:
    """
    The database itself.
    """

    title = "the database itself being the broker"

    @contextmanager
    def fresh(self) -> Iterator[Mapping[str, str]]:
        """
        Give the environment variables by which the shop's processes find the broker.
        """
        yield {"SHOP_BROKER": "database"}

    def repeat(self, stage: Stage) -> None:
        """
        Do nothing: what the relay moves within one database cannot come twice.
        """

    def streamed(self) -> list[str] | None:
        """
        Return the ids of the events in the broker, or None if the broker keeps none.
        """
        return None


class RedisStreams:
    """
    Redis Streams in an empty database of Redis.
    """

    title = "Redis Streams being the broker"
    redis: Any

    @contextmanager
    def fresh(self) -> Iterator[Mapping[str, str]]:
        with redis_database() as (url, self.redis):
            yield {"SHOP_BROKER": "redis", "SHOP_BROKER_URL": url}

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


class Elsewhere(Database):
    """
    A broker whose empty server somebody else runs, at SHOP_BROKER_URL.
    """

    def __init__(self, name: str) -> None:
        self.title = f"{name} being the broker"
        self.name = name

    @contextmanager
    def fresh(self) -> Iterator[Mapping[str, str]]:
        if "SHOP_BROKER_URL" not in environ:
            refuse(f"SHOP_BROKER is {self.name!r}: say where it is with SHOP_BROKER_URL")
        yield {"SHOP_BROKER": self.name, "SHOP_BROKER_URL": environ["SHOP_BROKER_URL"]}


def carrier(default: str) -> Database | RedisStreams:
    """
    Return the broker that SHOP_BROKER names.
    """
    name = environ.get("SHOP_BROKER", default)
    known = {"database": Database, "redis": RedisStreams}
    return known[name]() if name in known else Elsewhere(name)
