"""A TCP proxy that misbehaves when told to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Literal

Mode = Literal["pass", "lose_one_reply", "blackhole", "refuse"]


class FaultProxy:
    """
    Stand between a client and a server on a port of its own.

    Attributes:
        mode: ``pass``.  ``lose_one_reply``: the server hears a request, then the connection ends instead of its reply,
            once.  ``blackhole``: nothing comes through, either way.  ``refuse``: connections end at once.
        lost: is set when a reply has been lost.
        connections: how many were made so far.
    """

    def __init__(self, host: str, port: int) -> None:
        self.mode: Mode = "pass"
        self.lost = threading.Event()
        self.connections = 0
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop, and end all connections."""
        _hang_up(self._listener)
        self.cut()

    def cut(self) -> None:
        """End all connections; others may be made."""
        for end in self._open:
            _hang_up(end)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                if self.mode == "refuse":
                    _hang_up(client)
                    continue
                server = socket.create_connection(self._server)
                self._open += [client, server]
                for source, target in ((client, server), (server, client)):
                    threading.Thread(
                        target=self._pump, args=(source, target), kwargs={"replies": source is server}, daemon=True
                    ).start()

    def _pump(self, source: socket.socket, target: socket.socket, *, replies: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if self.mode == "lose_one_reply" and replies:
                    self.mode = "pass"
                    self.lost.set()
                    break
                if self.mode == "refuse":
                    break
                if self.mode != "blackhole":
                    target.sendall(data)
        _hang_up(source)
        _hang_up(target)


def _hang_up(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@contextmanager
def fault_proxy(host: str, port: int) -> Generator[FaultProxy, None, None]:
    """Stand before a server as long as the context lasts."""
    proxy = FaultProxy(host, port)
    try:
        yield proxy
    finally:
        proxy.close()
