"""What a Kafka cluster says of its topics."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

from simplecqrs.brokers.kafka_client import Client
from simplecqrs.errors import BrokerDown

__all__ = ["look_at", "refusals"]

#: Seconds until a topic is there that brokers make when they are asked for it; and between two questions.
MAKING, PAUSE = 1.0, 0.05
#: Errors of topics that can be written to all the same, or soon.
PASSING: Final = frozenset(("LEADER_NOT_AVAILABLE",))


def refusals(client: Client, topics: Iterable[str], until: float) -> dict[str, str]:
    """
    Return the topics that cannot be written to, and why.  Those that were there before are not asked for.

    Args:
        until: monotonic seconds.
    """
    found = dict[str, str]()
    making = min(time.monotonic() + MAKING, until)
    for topic in sorted(set(topics) - client.topics):
        while (reason := _trouble(client, topic, until)) == _UNKNOWN and time.monotonic() < making:
            time.sleep(PAUSE)
        if reason:
            found[topic] = f"{topic}: {reason}"
        else:
            client.topics.add(topic)
    return found


_UNKNOWN: Final = "there is no such topic, and brokers do not make it"


def _trouble(client: Client, topic: str, until: float) -> str:
    answer = client.handle.list_topics(topic, timeout=max(until - time.monotonic(), 0.001)).topics[topic]
    if answer.error is None or answer.error.name() in PASSING:
        return ""
    return _UNKNOWN if answer.error.name() == "UNKNOWN_TOPIC_OR_PART" else str(answer.error.str())


def look_at(topic: Any, partitions: Sequence[int]) -> None:
    """Raise BrokerDown if one of these partitions of a topic can take nothing at present, as its metadata says."""
    for number in partitions:
        found = topic.partitions.get(number)
        if found is None or (found.leader >= 0 and len(found.isrs) >= len(found.replicas)):
            continue
        has = f"{len(found.isrs)} of {len(found.replicas)} replicas in sync" if found.leader >= 0 else "no leader"
        raise BrokerDown(f"{topic.topic}[{number}] has {has}")
