"""The tools of the proofs: the proxy cuts where it was told to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.chaos.proxy import Cut, Proxy


class Echo:
    """A server that says everything again, and remembers it."""

    def __init__(self) -> None:
        self.heard = b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._answer, args=self.listener.accept()[:1], daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            while data := connection.recv(1000):
                self.heard += data
                connection.sendall(data)


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.listener.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    stands = Proxy(f"echo://ada:secret@127.0.0.1:{echo.listener.getsockname()[1]}/x")
    yield stands
    stands.close()


def call(url: str, *pieces: bytes) -> list[bytes]:
    """Send pieces, each after the answer to the one before it; return the answers until the connection ends."""
    answers: list[bytes] = []
    port = int(url.rpartition(":")[2].partition("/")[0])
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        for piece in pieces:
            client.sendall(piece)
            answers.append(client.recv(1000))
    return list(filter(None, answers))


def test_the_url_of_the_proxy_is_the_servers_but_for_its_place(proxy: Proxy) -> None:
    """With the login that it has."""
    url = proxy.start()

    assert url.startswith("echo://ada:secret@127.0.0.1:")
    assert url.endswith("/x")
    assert url != proxy.server
    assert call(url, b"one", b"two") == [b"one", b"two"]


def test_a_marker_breaks_each_connection_on_which_it_is_sent(echo: Echo, proxy: Proxy) -> None:
    """What stood before it is delivered, as a server does that reads up to what it cannot take."""
    url = proxy.start()
    proxy.marker = b"breaker"

    answers = [call(url, b"one", b"two breaker three", b"four") for _ in range(2)]

    assert [first for first, *_ in answers] == [b"one", b"one"]
    assert b"breaker" not in echo.heard
    assert b"four" not in echo.heard
    assert proxy.cuts == 0  # which counts those that are made once


def test_a_marker_is_found_where_it_comes_in_two_pieces(proxy: Proxy) -> None:
    """The kernel may cut it in half."""
    url = proxy.start()
    proxy.marker = b"breaker"

    assert call(url, b"one bre", b"aker", b"two") == [b"one bre"]


@pytest.mark.parametrize("cut", [Cut(step=2, reply=True), Cut(byte=5, reply=True)], ids=["step", "byte"])
def test_an_answer_is_lost_and_what_it_answered_is_not(echo: Echo, proxy: Proxy, cut: Cut) -> None:
    """By the number of a piece, and by that of a byte; once."""
    url = proxy.start()
    proxy.begin(cut)

    answers = [call(url, b"one", b"two", b"three") for _ in range(2)]

    assert answers == [[b"one"], [b"one", b"two", b"three"]]
    assert echo.heard == b"onetwoonetwothree"
    assert proxy.cuts == 1


@pytest.mark.parametrize("cut", [Cut(step=2), Cut(byte=5)], ids=["step", "byte"])
def test_a_piece_is_lost_in_whole_or_in_part(echo: Echo, proxy: Proxy, cut: Cut) -> None:
    """By the number of a piece nothing of it comes, by that of a byte what stands before."""
    url = proxy.start()
    proxy.begin(cut)

    answers = call(url, b"one", b"two", b"three")

    assert answers[0] == b"one"
    assert echo.heard in (b"one", b"onet", b"onetw")
    assert proxy.cuts == 1
