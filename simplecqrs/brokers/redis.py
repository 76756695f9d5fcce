"""Redis Streams as a broker."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import frozen

from simplecqrs.brokers.formats import WireFormat
from simplecqrs.brokers.named_formats import named_format
from simplecqrs.brokers.redis_append import APPEND, APPEND_SHA, Batch
from simplecqrs.brokers.redis_feed import RedisFeed
from simplecqrs.envelope import Envelope
from simplecqrs.errors import BrokerDown, MissingExtra, NotConfigured
from simplecqrs.transport import ACCEPTED, UNKNOWN, Promise, Receipt, refused

__all__ = ["RedisStreams"]

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
        max_bytes: what has a larger payload is read as garbage.
        timeout: seconds to wait for a connection, and for an answer.
        format: a wire format, or its name, to talk with others.  Default: a field for each attribute.

    Raises:
        MissingExtra: if redis-py is not installed.
        NotConfigured: if the URL cannot be read, or there is no such format.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "cqrs:",
        max_bytes: int = 2**20,
        timeout: float = 2.0,
        format: str | WireFormat | None = None,  # noqa: A002 - what settings call it
    ) -> None:
        try:
            _open(url, timeout).connection_pool.make_connection()
        except ImportError:
            raise MissingExtra("RedisStreams", "redis") from None
        except (TypeError, ValueError):  # its text may quote the password
            raise NotConfigured(
                "RedisStreams: the url cannot be read: write redis://user:password@host:port/0, and what is special"
                " in the password percent-encoded"
            ) from None
        self._url = url
        self.prefix = prefix
        self.max_bytes = max_bytes
        self._timeout = timeout
        self._wire = None if format is None else named_format(format, prefix="ce_")
        self._opened: _Opened | None = None

    def __repr__(self) -> str:
        parts = urlsplit(self._url)
        return f"<RedisStreams {parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}>"

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
        with self._asking(deadline) as client:
            client.ping()

    def feeds(self, consumer: str, topics: Sequence[str], /) -> Sequence[RedisFeed]:
        """Open a feed for each topic, and make the consumer a group of its stream.  Raises BrokerDown."""
        feeds = [
            RedisFeed(
                f"{self.prefix}{topic}",
                consumer,
                topic=topic,
                max_bytes=self.max_bytes,
                asking=self._asking,
                wire=self._wire,
            )
            for topic in topics
        ]
        for feed in feeds:
            feed.join()
        return feeds

    def close(self) -> None:
        """Close the connection, if it is open.  The next call opens it again."""
        opened, self._opened = self._opened, None
        if opened and opened.pid == os.getpid():  # else it is the parent's, which goes on using it
            opened.client.close()

    @contextmanager
    def _asking(self, timeout: float | None = None) -> Generator[Any, None, None]:
        """Lend the client.  Whatever goes wrong with it is raised as ``BrokerDown``."""
        from redis.exceptions import RedisError

        try:
            yield self._client(self._timeout if timeout is None else min(timeout, self._timeout))
        except (RedisError, OSError) as error:
            self.close()
            raise BrokerDown(f"{self!r}: {error}") from error

    def _client(self, timeout: float) -> Any:
        opened = self._opened
        if opened is None or opened.pid != os.getpid() or opened.timeout < timeout:
            self.close()
            self._opened = opened = _Opened(os.getpid(), timeout, _open(self._url, timeout))
        return opened.client

    def _append(self, batches: dict[str, Batch], until: float) -> list[Any]:
        from redis.exceptions import NoScriptError

        calls = [(1, f"{self.prefix}{topic}", batch.document(), *batch.payloads) for topic, batch in batches.items()]
        with self._asking(max(until - time.monotonic(), 0.001)) as client:
            replies = _converse(client, [("EVALSHA", APPEND_SHA, *call) for call in calls], until)
            unheard = [n for n, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            again = _converse(client, [("EVAL", APPEND, *calls[n]) for n in unheard], until)
            for n, reply in zip(unheard, again, strict=True):
                replies[n] = reply
            for reply in replies:
                if isinstance(reply, Exception) and not _is_about_a_stream(reply):
                    raise reply
        return replies

    def _promise(self) -> tuple[Promise, str]:
        from redis.exceptions import ResponseError

        config: dict[str, str] = {}
        with self._asking() as client:
            try:
                for pattern in ("append*", "maxmemory*"):  # several in one call came with Redis 7
                    config.update(client.config_get(pattern))
            except ResponseError:
                return "memory", "not known: the server does not let us read its configuration (CONFIG GET)"
        policy, fsync = config.get("maxmemory-policy", ""), config.get("appendfsync", "")
        if config.get("maxmemory", "0") != "0" and policy.startswith("allkeys"):
            return "memory", f"maxmemory-policy {policy}: the server may drop whole streams"
        if config.get("appendonly") != "yes":
            return "memory", "appendonly no: a restart loses what came after the last snapshot, if there is one"
        promise: Promise = "stored" if fsync in ("always", "everysec") else "memory"
        return promise, f"appendonly yes, appendfsync {fsync}"


@frozen
class _Opened:
    """A client, with the process and the patience that it was opened for."""

    pid: int
    timeout: float
    client: Any


def _open(url: str, timeout: float) -> Any:
    """
    Make a client that sends nothing twice of its own accord; it connects when it is used.

    What a URL says goes before the arguments of redis-py's own ``from_url``.  Here it must not.
    """
    import redis.connection
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    library: Any = redis.connection  # its types are gaps
    ours: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_timeout": False,
        "decode_responses": False,
        "protocol": 2,
    }
    return redis.Redis.from_pool(library.ConnectionPool(**{**library.parse_url(url), **ours}))


def _converse(client: Any, commands: Sequence[tuple[Any, ...]], until: float) -> list[Any]:
    """Send commands in one go; return a reply for each, or the error that was the reply."""
    if not commands:
        return []
    connection = client.connection_pool.get_connection()
    try:
        connection.send_packed_command(connection.pack_commands(commands))
        return [_reply(connection, until) for _ in commands]
    except BaseException:  # replies that are still to come must not be taken for those of the next call
        connection.disconnect()
        raise
    finally:
        client.connection_pool.release(connection)


def _reply(connection: Any, until: float) -> Any:
    from redis.exceptions import ResponseError

    if not connection.can_read(timeout=max(until - time.monotonic(), 0)):
        raise TimeoutError("no answer within the deadline")
    try:
        return connection.read_response()
    except ResponseError as error:
        return error


def _is_about_a_stream(error: Exception) -> bool:
    """Tell an error that a stream may not be touched from one that hits whatever is sent."""
    from redis.exceptions import NoPermissionError

    return isinstance(error, NoPermissionError) and "to run" not in str(error)
