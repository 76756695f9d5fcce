"""Redis Streams as a broker."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any, Final

from simplecqrs.brokers.formats import WireFormat
from simplecqrs.brokers.named_formats import named_format
from simplecqrs.brokers.redis_append import APPEND, APPEND_SHA, Batch
from simplecqrs.brokers.redis_feed import RedisFeed
from simplecqrs.brokers.redis_server import RedisServer, is_about_a_name, is_missing_script
from simplecqrs.brokers.redis_trim import trim
from simplecqrs.envelope import Envelope
from simplecqrs.errors import BrokerDown
from simplecqrs.transport import ACCEPTED, UNKNOWN, Promise, Receipt, Trimmed, refused

__all__ = ["RedisStreams"]

#: Errors that say nothing about an entry or its stream, but that the server takes nothing from us at present.
DOWN: Final = re.compile(
    r"-?(OOM|READONLY|MISCONF|LOADING|NOAUTH|WRONGPASS|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|MOVED|ASK|BUSY|NOREPLICAS)\b"
    r"|.*(no permissions to run|can't run this command)"
)


class RedisStreams:
    """
    Publish to Redis Streams, one for each topic, and read them by consumer groups.

    Publishing trims no stream: what a slow consumer has not read yet would be gone.  ``trim`` asks all groups.

    Args:
        url: ``redis://[[user]:password@]host[:port][/db]``, ``rediss://...`` or ``unix://...``.
        prefix: a stream's name is the prefix and the topic.
        max_bytes: what has a larger payload is read as garbage.
        timeout: seconds to wait for a connection, and for an answer.
        format: a wire format, or its name, to talk with others.  Default: a field for each attribute.

    Raises:
        MissingExtra: if redis-py is not installed.
        NotConfigured: if the URL cannot be read, or there is no such format.
    """

    #: What traces call it.
    system = "redis"

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "cqrs:",
        max_bytes: int = 2**20,
        timeout: float = 2.0,
        format: str | WireFormat | None = None,  # noqa: A002 - what settings call it
    ) -> None:
        self._server = RedisServer("RedisStreams", url, timeout)
        self.prefix = prefix
        self.max_bytes = max_bytes
        self._wire = None if format is None else named_format(format, prefix="ce_")

    def __repr__(self) -> str:
        return repr(self._server)

    @property
    def promise(self) -> Promise:
        """Say what an acknowledgement is worth, as the server says now.  Raises BrokerDown."""
        return self._promise()[0]

    @property
    def promise_detail(self) -> str:
        """Say in words what the promise rests on.  Raises BrokerDown."""
        return self._promise()[1]

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
        """Append envelopes to the streams of their topics, all in one round trip."""
        until = time.monotonic() + deadline
        batches: dict[str, Batch] = {}
        for index, envelope in enumerate(envelopes):
            batches.setdefault(envelope.topic, Batch(self._wire)).add(index, envelope)
        receipts, down = [ACCEPTED] * len(envelopes), ""
        for (topic, batch), reply in zip(batches.items(), self._append(batches, until), strict=True):
            for index, error in batch.failures(reply):
                is_down = bool(DOWN.match(error))
                down = error if is_down else down
                receipts[index] = UNKNOWN if is_down or not error else refused(f"{self.prefix}{topic}: {error}")
        if down and all(receipt is UNKNOWN for receipt in receipts):
            raise BrokerDown(f"{self!r}: {down}")
        return receipts

    def ping(self, *, deadline: float) -> None:
        """Ask the server whether it answers.  Raises BrokerDown."""
        with self._server.asking(deadline) as client:
            client.ping()

    def feeds(self, consumer: str, topics: Sequence[str], /) -> Sequence[RedisFeed]:
        """Open a feed for each topic, and make the consumer a group of its stream.  Raises BrokerDown."""
        feeds = [
            RedisFeed(
                f"{self.prefix}{topic}",
                consumer,
                topic=topic,
                max_bytes=self.max_bytes,
                asking=self._server.asking,
                wire=self._wire,
            )
            for topic in topics
        ]
        for feed in feeds:
            feed.join()
        return feeds

    def trim(
        self, topic: str, consumers: Sequence[str], /, *, keep: float, limit: int = 10_000, dry_run: bool = False
    ) -> Trimmed:
        """Delete what all groups of a topic's stream have acknowledged, see ``Trims``; Redis 6.2 or later."""
        with self._server.asking() as client:
            return trim(client, f"{self.prefix}{topic}", consumers, keep=keep, limit=limit, dry_run=dry_run)

    def close(self) -> None:
        """Close the connection, if it is open.  The next call opens it again."""
        self._server.close()

    def _append(self, batches: dict[str, Batch], until: float) -> list[Any]:
        converse = self._server.converse
        calls = [(1, f"{self.prefix}{topic}", batch.document(), *batch.payloads) for topic, batch in batches.items()]
        with self._server.asking(max(until - time.monotonic(), 0.001)) as client:
            replies = converse(client, [("EVALSHA", APPEND_SHA, *call) for call in calls], until)
            unheard = [n for n, reply in enumerate(replies) if is_missing_script(reply)]
            again = converse(client, [("EVAL", APPEND, *calls[n]) for n in unheard], until)
            for n, reply in zip(unheard, again, strict=True):
                replies[n] = reply
            for reply in replies:
                if isinstance(reply, Exception) and not is_about_a_name(reply):
                    raise reply
        return replies

    def _promise(self) -> tuple[Promise, str]:
        config = self._server.config("append*", "maxmemory*")
        if config is None:
            return "memory", "not known: the server does not let us read its configuration (CONFIG GET)"
        policy, fsync = config.get("maxmemory-policy", ""), config.get("appendfsync", "")
        if config.get("maxmemory", "0") != "0" and policy.startswith("allkeys"):
            return "memory", f"maxmemory-policy {policy}: the server may drop whole streams"
        if config.get("appendonly") != "yes":
            return "memory", "appendonly no: a restart loses what came after the last snapshot, if there is one"
        promise: Promise = "stored" if fsync in ("always", "everysec") else "memory"
        return promise, f"appendonly yes, appendfsync {fsync}"
