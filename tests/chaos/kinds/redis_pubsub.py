"""Redis Pub/Sub, where events are lost, and are to be counted."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest

from tests.chaos.kinds.port import Kind, service

__all__ = ["REDIS_PUBSUB"]


def _options(url: str, prefix: str) -> Mapping[str, Any]:
    return {"url": url, "prefix": prefix}


#: Not one of KINDS: those lose nothing.
REDIS_PUBSUB = Kind(
    name="redis-pubsub",
    serve=partial(service, "redis"),
    backend="simplecqrs.brokers.redis_pubsub.RedisPubSub",
    options=_options,
    marks=[pytest.mark.services, pytest.mark.redis],
)
