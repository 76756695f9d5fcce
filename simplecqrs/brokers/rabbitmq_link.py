"""A connection to RabbitMQ that is kept, looked after, and opened again."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

from attrs import define, field

from simplecqrs.errors import BrokerDown

__all__ = ["Connect", "Link", "readable"]

#: Opens a connection of py-amqp: within these seconds, and with what is to be called when the server takes nothing
#: for a while, and when it goes on.
Connect: TypeAlias = Callable[[float, Callable[[Any], None], Callable[[], None]], Any]


@define(eq=False)
class Link:
    """
    A connection of py-amqp, opened when it is used.

    After whatever goes wrong it is given up: nobody knows how far the conversation had come.  A server that takes
    nothing at present is no such case: each new connection would leave with it what was sent in vain.

    Args:
        name: of the server, for errors.
        timeout: seconds to wait for a connection, and for an answer.

    Attributes:
        life: counts the connections; what belongs to an earlier one is gone with it.
        blocked: whether the server has said that it takes nothing at present.
    """

    name: str
    connect: Connect = field(repr=False)  # which holds the password
    errors: tuple[type[Exception], ...]
    timeout: float
    life: int = field(default=0, init=False)
    blocked: bool = field(default=False, init=False)
    _connection: Any = field(default=None, init=False)
    _socket: Any = field(default=None, init=False)
    _pid: int = field(default=0, init=False)

    @contextmanager
    def using(self, timeout: float | None = None) -> Generator[Any, None, None]:
        """
        Lend the connection.  Whatever goes wrong with it is raised as ``BrokerDown``.

        Args:
            timeout: seconds to wait for a connection, and for each answer, if that is less than usual.
        """
        seconds = self.timeout if timeout is None else max(min(timeout, self.timeout), 0.001)
        try:
            connection = self._refreshed(seconds)
            self.wait(seconds)
            yield connection
        except BaseException as error:
            if not (self.blocked and isinstance(error, BrokerDown)):
                self.drop()
            if isinstance(error, self.errors):
                raise BrokerDown(f"{self.name}: {str(error) or type(error).__name__}") from error
            raise

    def wait(self, seconds: float) -> None:
        """Say how long a read or a write may wait from now on."""
        self._socket.settimeout(max(seconds, 0.001))

    @contextmanager
    def gathering(self) -> Generator[None, None, None]:
        """Let the kernel put what is written into full packets: one for each message keeps both sides busy."""
        option = getattr(socket, "TCP_CORK", None)  # on Linux
        if option is None:
            yield
            return
        self._socket.setsockopt(socket.IPPROTO_TCP, option, 1)
        yield
        self._socket.setsockopt(socket.IPPROTO_TCP, option, 0)

    @property
    def has_news(self) -> bool:
        """Tell whether the server has sent something that was not read yet."""
        return readable(self._socket)

    @property
    def is_ours(self) -> bool:
        """Tell whether there is a connection, and this process has opened it."""
        return self._connection is not None and self._pid == os.getpid()

    def drop(self) -> None:
        """Give the connection up, without a word and without a wait."""
        opened, self._connection, self._socket = self._socket, None, None
        self.blocked = False
        if opened is not None:
            opened.close()  # in a child of the process that opened it, this ends nothing but the child's share in it

    def close(self) -> None:
        """Take leave of the server, if it answers, and give the connection up."""
        if self.is_ours and not self.blocked:
            with suppress(*self.errors):
                self.wait(self.timeout)
                self._connection.close()
        self.drop()

    def __del__(self) -> None:
        self.drop()

    def _refreshed(self, seconds: float) -> Any:
        """Return the connection, after it was looked after; a new one if it has ended meanwhile."""
        if not self.is_ours or not self._is_alive(seconds):
            self.drop()
        if self._connection is None:
            self._open(seconds)
        return self._connection

    def _open(self, seconds: float) -> None:
        self._pid, self.life = os.getpid(), self.life + 1
        self._connection = self.connect(seconds, self._on_blocked, self._on_unblocked)
        self._socket = self._connection.sock
        self._connection.heartbeat_tick()

    def _is_alive(self, seconds: float) -> bool:
        """Read what the server has sent meanwhile, such as its heartbeats or its farewell, and send ours if due."""
        try:
            self.wait(seconds)
            while self.has_news:
                self._connection.blocking_read(None)
            self._connection.heartbeat_tick()
        except self.errors:
            return False
        return True

    def _on_blocked(self, _: Any) -> None:
        self.blocked = True

    def _on_unblocked(self) -> None:
        self.blocked = False


def readable(opened: Any) -> bool:
    """Tell whether a socket has something to read, or has ended."""
    if getattr(opened, "pending", int)():  # TLS has decrypted it already
        return True
    if not hasattr(select, "poll"):  # on Windows
        return bool(select.select([opened], [], [], 0)[0])
    poller = select.poll()
    poller.register(opened, select.POLLIN)
    return bool(poller.poll(0))
