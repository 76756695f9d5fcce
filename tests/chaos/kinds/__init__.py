"""The kinds of brokers that are put under fire, one file each; ``port`` says what a kind has to say of itself."""

from __future__ import annotations

from tests.chaos.kinds.azure import AZURE
from tests.chaos.kinds.kafka import KAFKA
from tests.chaos.kinds.port import Kind
from tests.chaos.kinds.rabbitmq import RABBITMQ
from tests.chaos.kinds.redis import REDIS_STREAMS

__all__ = ["KINDS"]

#: Each of them goes through the same proof, see ``test_18_19_each_broker``.
KINDS: tuple[Kind, ...] = (REDIS_STREAMS, RABBITMQ, KAFKA, AZURE)
