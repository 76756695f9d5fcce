"""What librdkafka is configured with: what our guarantees rest on, and what users may add."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import field, frozen

from simplecqrs.errors import NotConfigured

__all__ = ["MOST", "Settings"]

#: Messages in one wave, and so in one batch; librdkafka takes no more by default.
MOST: Final = 10_000
#: Decided here, with the names that they have besides: what is promised rests on them.
OURS: Final = frozenset(
    (
        "acks", "auto.commit.enable", "auto.commit.interval.ms", "auto.offset.reset", "batch.num.messages",
        "batch.size", "bootstrap.servers", "delivery.report.only.error", "delivery.timeout.ms", "dr_cb", "dr_msg_cb",
        "enable.auto.commit", "enable.auto.offset.store", "enable.gapless.guarantee", "enable.idempotence",
        "enable.partition.eof", "error_cb", "group.id", "group.instance.id", "group.protocol", "linger.ms", "log_cb",
        "logger", "message.timeout.ms", "metadata.broker.list", "on_commit", "on_delivery", "queue.buffering.max.ms",
        "request.required.acks", "transactional.id",
    )
)  # fmt: skip
#: Names of options whose values are shown nowhere.
SECRET: Final = re.compile(r"password|secret|token|\.key\b|key\.pem|\.pem$|jaas|oauthbearer\.config|userinfo")
COMMON: Final[Mapping[str, Any]] = {
    # Only what is beyond help is logged: what else happens to connections comes as an error of the call it spoils.
    "log_level": 2,
    # A connection that is silent for so long is given up; what was sent on it is sent again.
    "socket.timeout.ms": 10_000,
    "reconnect.backoff.max.ms": 2_000,
}
PRODUCER: Final[Mapping[str, Any]] = {
    "enable.idempotence": True,
    "acks": "all",
    # When nothing is under way any more, all is stored of which nothing else was said.
    "delivery.report.only.error": True,
    # Nothing leaves before a whole wave is there, and is flushed: see kafka_waves.
    "linger.ms": 100_000,
    "batch.num.messages": MOST,
    # What is to be given up is purged by us, when the deadline is over.
    "message.timeout.ms": 0,
    # As Java's clients do it, so that a key has one partition whoever writes it.
    "partitioner": "murmur2_random",
    # A message of one MiB and what goes with it, as brokers take it by default.
    "message.max.bytes": 2**20,
}
CONSUMER: Final[Mapping[str, Any]] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "enable.partition.eof": True,
    # Nobody is a member of a group here, so nobody is thrown out for being slow.
    "max.poll.interval.ms": 86_400_000,
    # For so long a commit waits for its coordinator.
    "session.timeout.ms": 6_000,
    "heartbeat.interval.ms": 2_000,
    "fetch.wait.max.ms": 100,
    "queued.min.messages": 10_000,
    "fetch.queue.backoff.ms": 20,
    "queued.max.messages.kbytes": 16 * 1024,
}


@frozen
class Settings:
    """
    The servers, and options as librdkafka calls them.

    Raises:
        NotConfigured: if an option is one that is decided here.
    """

    servers: str
    options: Mapping[str, Any] = field(factory=dict[str, Any], repr=False)

    def __attrs_post_init__(self) -> None:
        if not self.servers:
            raise NotConfigured("Kafka: servers are missing: give host:port, several with commas in between")
        ours = sorted(OURS & set(self.options))
        if ours:
            raise NotConfigured(
                f"Kafka: the options must not contain {', '.join(ours)}: what is promised rests on our values"
            )

    def __str__(self) -> str:
        return ",".join(server.rpartition("@")[2] for server in self.servers.split(","))

    @property
    def largest(self) -> int:
        """Return how many bytes a message may have, and a wave of them."""
        limit: int = int(self.options.get("message.max.bytes", PRODUCER["message.max.bytes"]))
        return limit

    def unconnected(self) -> dict[str, Any]:
        """Return what tells whether the options can be read, without connecting."""
        return {**COMMON, **PRODUCER, **self.options, "batch.size": self.largest}

    def producer(self) -> dict[str, Any]:
        """Return what a producer is made with."""
        return {**self.unconnected(), "bootstrap.servers": self.servers}

    def consumer(self, group: str) -> dict[str, Any]:
        """Return what a consumer is made with."""
        return {**COMMON, **CONSUMER, **self.options, "bootstrap.servers": self.servers, "group.id": group}

    def client(self) -> dict[str, Any]:
        """Return what is made with that only asks."""
        return {**COMMON, **self.options, "bootstrap.servers": self.servers}

    def scrub(self, text: str) -> str:
        """Return a text without the values of options that are secret."""
        for name, value in self.options.items():
            if SECRET.search(name) and str(value):
                text = text.replace(str(value), "***")
        return text
