"""Redis Streams under fire: every append is on disk before it is acknowledged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pytest

from tests.chaos.checker import Entry
from tests.chaos.evidence import read_log
from tests.chaos.kinds.port import Kind, service

__all__ = ["REDIS_STREAMS"]


def _options(url: str, prefix: str) -> Mapping[str, Any]:
    return {"url": url, "prefix": prefix}


def _log(url: str, prefix: str) -> Sequence[Entry]:
    import redis

    with redis.Redis.from_url(url) as client:
        return read_log(client, f"{prefix}bumps")


REDIS_STREAMS = Kind(
    name="redis",
    serve=partial(service, "redis"),
    backend="simplecqrs.brokers.redis.RedisStreams",
    options=_options,
    log=_log,
    marks=[pytest.mark.services, pytest.mark.redis],
)
