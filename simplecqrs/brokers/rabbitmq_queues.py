"""The queues of RabbitMQ: what they are called, and of what kind they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["QUEUES", "queue_name"]

#: Quorum queues drop what came back too often, from RabbitMQ 4.0 on after 20 times unless told otherwise; and without
#: any limit older ones put what is returned behind all others.  No version counts as far as this.
NEVER: Final = 2**31 - 1
QUEUES: Final[Mapping[str, Mapping[str, Any]]] = {
    "quorum": {"x-queue-type": "quorum", "x-single-active-consumer": True, "x-delivery-limit": NEVER},
    "classic": {"x-queue-type": "classic", "x-single-active-consumer": True},
}


def queue_name(consumer: str, topic: str, /) -> str:
    """
    Return the name of the queue that a consumer has for a topic.

    Unlike topics, consumers must not hold the colon that is between them, or two could have one queue.
    """
    return f"{consumer.replace('%', '%25').replace(':', '%3A')}:{topic}"
