"""Breakers whose state is kept in Redis, on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from simplecqrs.breakers import NamedBreaker, redis_storage
from simplecqrs.errors import NotConfigured
from tests.contracts.breaker import BreakerContract, Down, ask
from tests.redis_server import RedisServer, redis_server

pytestmark = [pytest.mark.redis, pytest.mark.services]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


class TestContract(BreakerContract):
    """Redis does what every storage does."""

    @pytest.fixture
    def storage(self, server: RedisServer) -> Iterator[Any]:
        with server.client() as client:
            yield redis_storage(client)


def test_a_client_that_decodes_is_refused() -> None:
    """pybreaker would fail at the first call."""
    with pytest.raises(NotConfigured, match="without decode_responses=True"):
        redis_storage(Redis(decode_responses=True))


def test_calls_pass_while_redis_is_away(caplog: pytest.LogCaptureFixture) -> None:
    """From the first one on; a breaker is to protect calls, not to fail them."""
    with Redis(port=1, retry=Retry(NoBackoff(), 0)) as nobody:
        breaker = NamedBreaker("bank", fail_max=1, storage=redis_storage(nobody))

        ask(breaker)
        with pytest.raises(Down):
            ask(breaker, Down())
        ask(breaker)

    assert "the breaker bank cannot reach Redis" in caplog.text
