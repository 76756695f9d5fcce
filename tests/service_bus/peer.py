"""The peer itself: it listens on loopback, and misbehaves when told to."""

from __future__ import annotations

import socket
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from urllib.parse import parse_qs

from azure.servicebus._pyamqp.utils import generate_sas_token

from tests.service_bus.frames import hang_up
from tests.service_bus.links import Connection
from tests.service_bus.store import Store

#: Seconds between two looks at the clock.
TICK = 0.01


class Peer:
    """
    Serve topics and subscriptions to the client library.

    Attributes:
        connections: how many were made so far.
        drops: how often all were ended.
        max_bytes: of a transfer.
        key: the one that opens the door.
        forbidden: topics that nobody may touch.
        refuses: connections end at once.
        rejects: conditions by which the next transfers are rejected; None: it is taken; empty: no answer comes.
        on_demand: the subscriptions of topics that are made when somebody asks for them.
        lock_seconds: of these.
    """

    def __init__(self, *, key: str = "s3cret", max_bytes: int = 2**20) -> None:
        self.connections = self.drops = 0
        self.max_bytes = max_bytes
        self.key = key
        self.forbidden: set[str] = set()
        self.refuses = False
        self.rejects: list[bytes | None] = []
        self.on_demand: tuple[str, ...] = ()
        self.lock_seconds = 30.0
        self.store = Store()
        self._speaking = Event()
        self._speaking.set()
        self._over = Event()
        self._open: dict[Connection, socket.socket] = {}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()
        Thread(target=self._tick, daemon=True).start()

    @property
    def url(self) -> str:
        """Return the connection string of who may do everything."""
        return connection_string(self.port, self.key)

    def close(self) -> None:
        """Stop, and end all connections."""
        self._over.set()
        self._speaking.set()
        hang_up(self._listener)
        self._listener.close()
        self.drop()

    # Commands

    def drop(self) -> None:
        """End all connections, and wait until nobody reads by them."""
        self.drops += 1
        ended = dict(self._open)
        for sock in ended.values():
            hang_up(sock)
        until = time.monotonic() + 5
        while self._speaking.is_set() and ended.keys() & self._open.keys() and time.monotonic() < until:
            time.sleep(0.001)

    def hush(self) -> None:
        """Hear what is said, and answer nothing, until told to ``speak``."""
        self._speaking.clear()

    def speak(self) -> None:
        """Answer again, also what was said meanwhile."""
        self._speaking.set()

    def clear(self) -> None:
        """Throw away all messages."""
        with self.store.lock:
            for subscription in self.store.every():
                subscription.clear()

    def expire(self) -> None:
        """End all locks, as if their time were over."""
        with self.store.lock:
            for subscription in self.store.every():
                subscription.expire(float("inf"))
            self.pump()

    def forsake(self) -> None:
        """Hand nothing more to those who read now, as if they were dead, and end their locks."""
        with self.store.lock:
            for connection in list(self._open):
                for link in connection.links.values():
                    link.subscription = None
        self.expire()

    # What connections ask

    def listen(self) -> None:
        """Wait until the peer speaks."""
        self._speaking.wait()

    def pump(self) -> None:
        """Hand over what there is, on every connection."""
        for connection in list(self._open):
            connection.pump()

    def stumble(self) -> bytes | None:
        """Return why the next transfer is rejected; None: it is not."""
        return self.rejects.pop(0) if self.rejects else None

    def refusal(self, node: str, *, reads: bool) -> tuple[bytes, str] | None:
        """Return condition and text if a link to a node may not be attached."""
        node = node.removesuffix("/$management")
        if node == "$cbs":
            return None
        topic = node.partition("/")[0]
        if self.on_demand and topic not in self.store.topics:
            self.store.create(topic, *self.on_demand, lock_seconds=self.lock_seconds)
        known = self.store.subscription(node) if "/" in node else self.store.topics.get(node)
        if known is None:
            return b"amqp:not-found", f"The messaging entity '{node}' could not be found."
        if topic in self.forbidden:
            return b"amqp:unauthorized-access", f"Unauthorized access. '{'Listen' if reads else 'Send'}' is required."
        return None

    def lets_in(self, token: bytes) -> bool:
        """Tell whether a shared access signature was made with our key."""
        fields = parse_qs(token.decode().partition(" ")[2])
        made = generate_sas_token(fields["sr"][0], fields["skn"][0], self.key, int(fields["se"][0]))
        return parse_qs(made.partition(" ")[2])["sig"] == fields["sig"]

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                if self.refuses:
                    hang_up(sock)
                    sock.close()
                    continue
                Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(sock, self)
        self._open[connection] = sock
        try:
            connection.run()
        except (OSError, ValueError) as error:
            if not self._over.is_set() and not isinstance(error, OSError):
                raise
        finally:
            del self._open[connection]
            connection.wire.end()

    def _tick(self) -> None:
        while not self._over.wait(TICK):
            if not self._speaking.is_set():
                continue
            with self.store.lock:
                now = time.time()
                for subscription in self.store.every():
                    subscription.expire(now)
                self.pump()


def connection_string(port: int, key: str) -> str:
    """Return what an operator would copy from Azure's portal, for a peer without TLS."""
    return f"Endpoint=sb://127.0.0.1:{port};SharedAccessKeyName=shop;SharedAccessKey={key};UseDevelopmentEmulator=true;"


@contextmanager
def service_bus(**options: int) -> Generator[Peer, None, None]:
    """Run a peer in threads of this process, as long as the context lasts."""
    peer = Peer(**options)  # type: ignore[arg-type]
    try:
        yield peer
    finally:
        peer.close()
