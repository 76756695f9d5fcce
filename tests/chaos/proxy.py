"""A TCP proxy that misbehaves: it resets, swallows, dawdles, and cuts at a step or after so many bytes."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from attrs import define, field

__all__ = ["Cut", "Proxy"]

CHUNK = 65536


@define
class Cut:
    """
    Where connections are cut, once.

    Args:
        step: the how-manieth piece that a client sends, of all its connections; 0: none.
        reply: the piece is delivered, and the server's answer is lost.
        byte: or the how-manieth byte that clients send: what comes before it is delivered, or its piece if the
            answer is to be lost.
    """

    step: int = 0
    reply: bool = False
    byte: int = 0


@define
class Proxy:
    """
    Stand before a server.

    Args:
        server: a URL of it.
        latency: seconds by which each answer is late.
        rate: bytes in a second that clients may send; 0: any.
        silent: nothing is passed on, in neither direction, as if a wire were cut that nobody looks at.
        marker: a connection on which a client sends these bytes is reset where they begin, each time.
    """

    server: str
    latency: float = 0.0
    rate: float = 0.0
    silent: bool = False
    marker: bytes = b""
    cut: Cut = field(factory=Cut)
    steps: int = 0
    sent: int = 0
    cuts: int = 0
    _pairs: list[tuple[Any, Any]] = field(factory=list)
    _doomed: tuple[Any, Any] | None = None
    _listener: Any = None

    def start(self) -> str:
        """Listen, and return the server's URL with our port."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()
        parts = urlsplit(self.server)
        login, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{login}{at}127.0.0.1:{self._listener.getsockname()[1]}").geturl()

    def begin(self, cut: Cut | None = None) -> None:
        """Count anew, and cut here."""
        self.cut, self.steps, self.sent, self.cuts, self._doomed = cut or Cut(), 0, 0, 0, None

    def reset(self) -> None:
        """Reset all connections."""
        for pair in self._pairs:
            self._break(pair)
        self._pairs.clear()

    def close(self) -> None:
        """Go away."""
        self._listener.close()
        self.reset()

    def _accept(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            parts = urlsplit(self.server)  # somebody may have put another one there
            try:
                server = socket.create_connection((parts.hostname, parts.port or 0))
            except OSError:
                client.close()
                continue
            pair = (client, server)
            self._pairs.append(pair)
            for source, sink, pump in ((client, server, self._ask), (server, client, self._answer)):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._pump, args=(source, sink, pump, pair), daemon=True).start()

    def _pump(self, source: Any, sink: Any, pump: Any, pair: tuple[Any, Any]) -> None:
        tail = b""
        with suppress(OSError):
            while data := source.recv(CHUNK):
                while self.silent:
                    time.sleep(0.01)
                if source is pair[0] and self.marker and self.marker in tail + data:
                    sink.sendall(data[: max(0, (tail + data).index(self.marker) - len(tail))])
                    self._break(pair)
                    break
                tail = data[-len(self.marker) :]
                if not pump(sink, data, pair):
                    break
        if pair is self._doomed:  # it has ended before its answer came
            self._cut(pair)
        for end in pair:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()

    def _ask(self, sink: Any, data: bytes, pair: tuple[Any, Any]) -> bool:
        """Pass on what a client sends; False if the connection was cut."""
        before, self.steps, self.sent = self.sent, self.steps + 1, self.sent + len(data)
        if self.rate:
            time.sleep(len(data) / self.rate)
        if before < self.cut.byte <= self.sent and self.cut.reply:
            self._doomed = pair
            sink.sendall(data)
            return True
        if before < self.cut.byte <= self.sent:
            sink.sendall(data[: self.cut.byte - before])
        elif self.steps == self.cut.step and self.cut.reply:
            sink.sendall(data)
            return True  # until there is an answer, which is when the server has done it
        elif self.steps != self.cut.step:
            sink.sendall(data)
            return True
        self._cut(pair)
        return False

    def _answer(self, sink: Any, data: bytes, pair: tuple[Any, Any]) -> bool:
        if self.latency:
            time.sleep(self.latency)
        if pair is self._doomed or (self.cut.reply and self.cut.step and self.steps >= self.cut.step):
            self._cut(pair)
            return False
        sink.sendall(data)
        return True

    def _cut(self, pair: tuple[Any, Any]) -> None:
        self.cut, self._doomed = Cut(), None
        self.cuts += 1
        self._break(pair)

    def _break(self, pair: tuple[Any, Any]) -> None:
        """Break both ends off, without a farewell."""
        for end in pair:
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RD)  # for the thread that reads: as long as it does, nothing is closed
                end.close()
