"""Redis Streams as a broker."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from attrs import Factory, define

from simplecqrs.brokers.wire import compact, read_fields, write_fields
from simplecqrs.envelope import Envelope
from simplecqrs.errors import BrokerDown, MissingExtra, NotConfigured
from simplecqrs.transport import ACCEPTED, UNKNOWN, Delivery, Promise, Receipt, refused

if TYPE_CHECKING:
    from redis import Redis

__all__ = ["RedisFeed", "RedisStreams"]

logger = logging.getLogger("simplecqrs")

#: ARGV: the entries of one stream as JSON, ``[key, name, value, ...]`` or ``[key, why not]``; then their payloads.
#: Answers with number and error of those that were not stored; the error of one that was not tried is empty.
APPEND: Final = """
local failures, stopped = {}, {}
for n, entry in ipairs(cjson.decode(ARGV[1])) do
  local key, reason = entry[1], false
  if stopped[key] then
    reason = ''
  elseif #entry == 2 then
    reason = entry[2]
  else
    local reply = redis.pcall('XADD', KEYS[1], '*', 'payload', ARGV[n + 1], unpack(entry, 2))
    reason = type(reply) == 'table' and reply.err
  end
  if reason then
    stopped[key] = key ~= ''
    failures[#failures + 1] = n
    failures[#failures + 1] = reason
  end
end
return failures
"""
APPEND_SHA: Final = hashlib.sha1(APPEND.encode(), usedforsecurity=False).hexdigest()

#: Errors that say nothing about an entry or its stream, but that the server takes nothing from us at present.
DOWN: Final = re.compile(
    r"-?(OOM|READONLY|MISCONF|LOADING|NOAUTH|WRONGPASS|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|MOVED|ASK|BUSY|NOREPLICAS)\b"
    r"|.*(no permissions to run|can't run this command)"
)


class RedisStreams:
    """
    Publish to Redis Streams, one for each topic, and read them by consumer groups.

    Streams are never trimmed here: what a slow consumer has not read yet would be gone.

    Args:
        url: ``redis://[[user]:password@]host[:port][/db]``, ``rediss://...`` or ``unix://...``.
        prefix: a stream's name is the prefix and the topic.
        max_bytes: larger payloads are read as garbage.
        timeout: seconds to wait for a connection, and for an answer.

    Raises:
        MissingExtra: if redis-py is not installed.
        NotConfigured: if the URL is none.
    """

    def __init__(self, url: str, *, prefix: str = "cqrs:", max_bytes: int = 2**20, timeout: float = 2.0) -> None:
        try:
            from redis import ConnectionPool
        except ImportError:
            raise MissingExtra("RedisStreams", "redis") from None
        try:
            ConnectionPool.from_url(url)
        except ValueError:  # its text, and what caused it, may quote the password
            raise NotConfigured(
                "RedisStreams: the url cannot be read; write redis://user:password@host:port/0"
                " and percent-encode what is special in the password"
            ) from None
        self._url = url
        self.prefix = prefix
        self.max_bytes = max_bytes
        self._timeout = timeout
        self._opened: tuple[int, Redis] | None = None

    def __repr__(self) -> str:
        parts = urlsplit(self._url)
        return f"<RedisStreams {parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}>"

    @property
    def promise(self) -> Promise:
        """Say what an acknowledgement is worth, as read from the server at every call.  Raises BrokerDown."""
        return self._promise()[0]

    @property
    def promise_detail(self) -> str:
        """Say in words what the promise rests on.  Raises BrokerDown."""
        return self._promise()[1]

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
        """Append envelopes to the streams of their topics, all in one round trip."""
        until = time.monotonic() + deadline
        batches: dict[str, _Batch] = {}
        for index, envelope in enumerate(envelopes):
            batches.setdefault(envelope.topic, _Batch()).add(index, envelope)
        receipts = [ACCEPTED] * len(envelopes)
        down = ""
        for (topic, batch), reply in zip(batches.items(), self._append(batches, until)):
            for index, error in batch.failures(reply):
                serious = bool(DOWN.match(error))
                down = down or (error if serious else "")
                receipts[index] = refused(f"{self.prefix}{topic}: {error}") if error and not serious else UNKNOWN
        if down and all(receipt is UNKNOWN for receipt in receipts):
            raise BrokerDown(f"{self!r}: {down}")
        return receipts

    def feeds(self, consumer: str, topics: Sequence[str], /) -> Sequence[RedisFeed]:
        """Open a feed for each topic, and make the consumer a group in each.  Raises BrokerDown."""
        feeds = [RedisFeed(self, consumer, topic) for topic in topics]
        for feed in feeds:
            feed.join()
        return feeds

    def close(self) -> None:
        """Close the connection, if it is open.  The next call opens it again."""
        opened, self._opened = self._opened, None
        if opened and opened[0] == os.getpid():  # else it is the parent's, who goes on using it
            opened[1].close()

    @contextmanager
    def asking(self, timeout: float | None = None) -> Generator[Redis, None, None]:
        """Lend the client; all that goes wrong with it is raised as ``BrokerDown``."""
        from redis.exceptions import RedisError

        try:
            yield self._client(self._timeout if timeout is None else min(timeout, self._timeout))
        except (RedisError, OSError) as error:
            self.close()
            raise BrokerDown(f"{self!r}: {error}") from error

    def _client(self, timeout: float) -> Redis:
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), _open(self._url, timeout))
        return self._opened[1]

    def _append(self, batches: dict[str, _Batch], until: float) -> list[Any]:
        from redis.exceptions import NoScriptError

        calls = [(1, f"{self.prefix}{topic}", batch.document(), *batch.payloads) for topic, batch in batches.items()]
        with self.asking(until - time.monotonic()) as client:
            replies = _converse(client, [("EVALSHA", APPEND_SHA, *call) for call in calls], until)
            unheard = [n for n, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            again = _converse(client, [("EVAL", APPEND, *calls[n]) for n in unheard], until)
            for n, reply in zip(unheard, again):
                replies[n] = reply
        return replies

    def _promise(self) -> tuple[Promise, str]:
        from redis.exceptions import NoPermissionError, ResponseError

        with self.asking() as client:
            try:
                config: dict[str, str] = {}
                for pattern in ("append*", "maxmemory*"):  # several at once came with Redis 7
                    config.update(_text(client.execute_command("CONFIG GET", pattern)))
            except (NoPermissionError, ResponseError):
                return "memory", "not known: the server does not let us read its configuration (CONFIG GET)"
        fsync = config.get("appendfsync", "?")
        if config.get("maxmemory", "0") != "0" and config.get("maxmemory-policy", "").startswith("allkeys"):
            return "memory", f"maxmemory-policy {config['maxmemory-policy']}: the server may drop whole streams"
        if config.get("appendonly") != "yes":
            return "memory", "appendonly no: what came after the last snapshot, if any, is lost in a restart"
        detail = f"appendonly yes, appendfsync {fsync}"
        return ("stored", detail) if fsync in ("always", "everysec") else ("memory", detail)
