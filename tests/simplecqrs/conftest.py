"""A RabbitMQ server for the files of tests that share it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from simplecqrs.metadata import uuid7
from tests.rabbitmq_server import RabbitServer, rabbitmq_server
from tests.simplecqrs.rabbitmq_corner import Open, opening


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitServer]:
    """Run a node that takes messages of two megabytes at most; who kills it starts it again."""
    with rabbitmq_server("max_message_size = 2000000") as server:
        yield server


@pytest.fixture
def corner() -> str:
    """Name an exchange, and begin the names of queues."""
    return f"test-{uuid7()}:"


@pytest.fixture
def open_broker(rabbitmq: RabbitServer, corner: str) -> Iterator[Open]:
    with opening(rabbitmq.url, corner) as open_broker:
        yield open_broker


@pytest.fixture
def raw(rabbitmq: RabbitServer) -> Iterator[Any]:
    """Open a channel of py-amqp, as a stranger would."""
    import amqp

    with amqp.Connection(f"127.0.0.1:{rabbitmq.port}") as connection:
        yield connection.channel()
