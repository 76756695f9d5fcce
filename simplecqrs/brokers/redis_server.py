"""A Redis server, as adapters talk to it: one connection that is opened when it is used, and errors of our own."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen

from simplecqrs.errors import BrokerDown, MissingExtra, NotConfigured

__all__ = ["RedisServer", "is_about_a_name", "is_an_answer", "is_missing_script"]


class RedisServer:
    """
    Lend a client of redis-py that sends nothing twice of its own accord.

    Args:
        adapter: the name of who talks to it, for errors.
        url: ``redis://[[user]:password@]host[:port][/db]``, ``rediss://...`` or ``unix://...``.
        timeout: seconds to wait for a connection, and for an answer.

    Raises:
        MissingExtra: if redis-py is not installed.
        NotConfigured: if the URL cannot be read.
    """

    def __init__(self, adapter: str, url: str, timeout: float) -> None:
        self._adapter = adapter
        self._url = url
        self.timeout = timeout
        self._opened: _Opened | None = None
        try:
            self.open(timeout).connection_pool.make_connection()
        except ImportError:
            raise MissingExtra(adapter, "redis") from None
        except (TypeError, ValueError):  # its text may quote the password
            raise NotConfigured(
                f"{adapter}: the url cannot be read: write redis://user:password@host:port/0, and what is special"
                " in the password percent-encoded"
            ) from None

    def __repr__(self) -> str:
        parts = urlsplit(self._url)
        return f"<{self._adapter} {parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}>"

    def close(self) -> None:
        """Close the connection, if it is open.  The next call opens it again."""
        opened, self._opened = self._opened, None
        if opened and opened.pid == os.getpid():  # else it is the parent's, which goes on using it
            opened.client.close()

    @contextmanager
    def asking(self, timeout: float | None = None) -> Generator[Any, None, None]:
        """Lend the client.  Whatever goes wrong with it is raised as ``BrokerDown``."""
        with self.translating():
            yield self._client(self.timeout if timeout is None else min(timeout, self.timeout))

    @contextmanager
    def translating(self) -> Generator[None, None, None]:
        """Raise as ``BrokerDown`` whatever goes wrong with the server, and close the connection then."""
        from redis.exceptions import RedisError

        try:
            yield
        except (RedisError, OSError) as error:
            self.close()
            raise BrokerDown(f"{self!r}: {error}") from error

    def open(self, timeout: float) -> Any:
        """
        Make a client of its own; it connects when it is used.

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
        return redis.Redis.from_pool(library.ConnectionPool(**{**library.parse_url(self._url), **ours}))

    def config(self, *patterns: str) -> dict[str, str] | None:
        """Return what the server is configured with; None if it does not let us see it.  Raises BrokerDown."""
        from redis.exceptions import ResponseError

        found: dict[str, str] = {}
        with self.asking() as client:
            try:
                for pattern in patterns:  # several in one call came with Redis 7
                    found.update(client.config_get(pattern))
            except ResponseError:
                return None
        return found

    def converse(self, client: Any, commands: Sequence[tuple[Any, ...]], until: float) -> list[Any]:
        """Send commands in one go; return a reply for each, or the error that was the reply."""
        if not commands:
            return []
        connection = client.connection_pool.get_connection()
        try:
            connection.send_packed_command([b"".join(map(_packed, commands))])
            return [_reply(connection, until) for _ in commands]
        except BaseException:  # replies that are still to come must not be taken for those of the next call
            connection.disconnect()
            raise
        finally:
            client.connection_pool.release(connection)

    def _client(self, timeout: float) -> Any:
        opened = self._opened
        if opened is None or opened.pid != os.getpid() or opened.timeout < timeout:
            self.close()
            self._opened = opened = _Opened(os.getpid(), timeout, self.open(timeout))
        return opened.client


def is_about_a_name(error: Exception) -> bool:
    """Tell an error that a key or channel may not be touched from one that hits whatever is sent."""
    from redis.exceptions import NoPermissionError

    return isinstance(error, NoPermissionError) and "to run" not in str(error)


def is_an_answer(error: Exception) -> bool:
    """Tell an error by which the server answers from one by which it does not."""
    from redis.exceptions import ResponseError

    return isinstance(error, ResponseError)


def is_missing_script(reply: Any) -> bool:
    """Tell whether a reply says that the server does not know a script."""
    from redis.exceptions import NoScriptError

    return isinstance(reply, NoScriptError)


@frozen
class _Opened:
    """A client, with the process and the patience that it was opened for."""

    pid: int
    timeout: float
    client: Any


def _packed(command: Sequence[Any]) -> bytes:
    """Return a command as it is sent; redis-py's own takes several times as long."""
    pieces = [b"*%d\r\n" % len(command)]
    for argument in command:
        data = argument if isinstance(argument, bytes) else str(argument).encode()
        pieces.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(pieces)


def _reply(connection: Any, until: float) -> Any:
    from redis.exceptions import ResponseError

    if not connection.can_read(timeout=max(until - time.monotonic(), 0)):
        raise TimeoutError("no answer within the deadline")
    try:
        return connection.read_response()
    except ResponseError as error:
        return error
