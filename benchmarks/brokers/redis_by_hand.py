"""Redis Streams by hand: XADD in MULTI, XREADGROUP, and one XACK for what was committed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.brokers.once import once
from benchmarks.brokers.port import Contender
from simplecqrs.envelope import Envelope

__all__ = ["REDIS"]

GROUP = "by-hand"


class RedisByHand:
    """redis-py, as somebody uses it who has no library."""

    def __init__(self, url: str, prefix: str) -> None:
        import redis

        self._client = redis.Redis.from_url(url)
        self._prefix = prefix

    def join(self, topic: str, /) -> None:
        """Make a group of the stream."""
        self._client.xgroup_create(self._prefix + topic, GROUP, id="0", mkstream=True)

    def publish(self, topic: str, envelopes: Sequence[Envelope], /) -> None:
        """Append all in MULTI, which is faster than without: one fsync."""
        pipeline = self._client.pipeline()
        for envelope in envelopes:
            pipeline.xadd(self._prefix + topic, _fields(envelope))
        pipeline.execute()

    def consume(self, topic: str, /) -> None:
        """Read 500 at a time; a crash brings them again, and the rows that remember them drop them."""
        stream = self._prefix + topic
        while entries := _entries(self._client.xreadgroup(GROUP, "one", {stream: ">"}, count=500)):
            for _, fields in entries:
                once(fields[b"source"].decode(), fields[b"id"].decode(), fields[b"payload"])
            self._client.xack(stream, GROUP, *[entry_id for entry_id, _ in entries])

    def clear(self, topic: str, /) -> None:
        """Trim the stream."""
        self._client.xtrim(self._prefix + topic, maxlen=0)


def _entries(reply: Any) -> list[Any]:
    """Read the reply of either version of the protocol."""
    if isinstance(reply, dict):
        return [entry for batches in reply.values() for batch in batches for entry in batch]
    return list(reply[0][1]) if reply else []


def _fields(envelope: Envelope) -> dict[Any, Any]:
    return {
        "payload": envelope.payload,
        "id": str(envelope.id),
        "kind": envelope.kind,
        "name": envelope.name,
        "version": str(envelope.version),
        "time": envelope.time.isoformat(),
        "content_type": envelope.content_type,
        "key": envelope.key,
        "source": envelope.source,
        "correlation_id": envelope.correlation_id,
    }


@contextmanager
def _serve() -> Iterator[str]:
    yield os.environ.get("CQRS_TEST_REDIS", "")


def _options(url: str, prefix: str) -> Mapping[str, Any]:
    return {"url": url, "prefix": prefix}


def _about(url: str) -> Mapping[str, str]:
    import redis

    with redis.Redis.from_url(url) as client:
        config = {name: client.config_get(name)[name] for name in ("appendonly", "appendfsync")}
        version = client.info("server")["redis_version"]
    return {f"Redis {version}": ", ".join(f"{name} {value}" for name, value in config.items())}


REDIS = Contender(
    name="Redis Streams",
    serve=_serve,
    backend="simplecqrs.brokers.redis.RedisStreams",
    options=_options,
    by_hand=RedisByHand,
    about=_about,
)
