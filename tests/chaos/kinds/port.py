"""
The port of a kind of broker: what the proofs need to know of one, to put it under fire.

A further kind is a file beside this one with a ``Kind`` in it, and a name more in ``KINDS``:

* ``serve`` runs a private server as long as its context lasts, and gives a ``Server``.  Who is in ``scripts/services``
  says ``partial(service, "redis")``; others write a class with the five methods.
* ``options`` says how the adapter is made, given a URL and a prefix that no other run uses (letters, digits, ``-``,
  ``_``, ``:``).  The URL is the proxy's, so ``url`` of the server must be one whose host and port can be replaced.
* ``log`` reads what the server holds, in its order, if it keeps what was acknowledged; None: the proof does without.
* One event is to break whatever it is sent with.  Unless a kind says more, the proxy resets the connection on which
  ``MARKER`` goes by.  ``breaker`` names a function in its place: it gets the envelope, just before the adapter does,
  and returns one that the server itself closes the channel on.
* ``between`` makes what stands between clients and server, and cuts: a ``Proxy``, unless the protocol tells clients of
  other addresses; then something with the same methods that makes the server itself misbehave.

``running`` gives a ``Site``: server and proxy of one proof.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import pytest
from attrs import field, frozen

from tests.chaos.checker import Entry
from tests.chaos.proxy import Cut, Proxy
from tests.chaos.servers import Servers, private_servers

__all__ = ["MARKER", "Between", "Kind", "Server", "Site", "running", "service"]

#: In the payload of the event that breaks connections; its key.
MARKER = "breaker"


class Server(Protocol):
    """A server of a proof's own."""

    @property
    def url(self) -> str:
        """Say where it is; the same after a restart."""
        ...

    def kill(self) -> None:
        """Kill it with SIGKILL, and wait until it is gone."""
        ...

    def start(self) -> None:
        """Start it again with its data, and wait until it answers."""
        ...

    def pause(self) -> None:
        """Stop it, so that it holds its connections and says nothing."""
        ...

    def resume(self) -> None:
        """Let it go on."""
        ...


class Between(Protocol):
    """What stands between clients and server: see ``Proxy``, which is one."""

    marker: bytes
    cuts: int

    def start(self) -> str:
        """Begin, and return the URL for clients."""
        ...

    def begin(self, cut: Cut | None = None) -> None:
        """Count ``cuts`` anew, and cut once, here."""
        ...

    def close(self) -> None:
        """Go away."""
        ...


@frozen(kw_only=True)
class Kind:
    """
    A kind of broker.

    Args:
        name: of the case in the tests.
        serve: runs a private server.
        backend: the dotted path of the adapter.
        options: what it is made with: of a URL and a prefix.
        log: what the server holds: of its URL and a prefix.
        breaker: the dotted path of what makes an envelope one that the server closes the channel on.
        between: makes what cuts, of the server's URL.
        marks: what a test of it needs.
    """

    name: str
    serve: Callable[[], AbstractContextManager[Server]]
    backend: str
    options: Callable[[str, str], Mapping[str, Any]]
    log: Callable[[str, str], Sequence[Entry]] | None = None
    breaker: str = ""
    between: Callable[[str], Between] = Proxy
    marks: Sequence[pytest.MarkDecorator] = field(default=())


@frozen
class Site:
    """A kind whose server runs: what a world is made with."""

    kind: Kind
    server: Server
    between: Between
    url: str

    def brokers(self, prefix: str) -> dict[str, Any]:
        """Return the setting BROKERS of the project under fire."""
        options = {
            "backend": self.kind.backend,
            "options": dict(self.kind.options(self.url, prefix)),
            "breaker": self.kind.breaker,
        }
        return {"broker": {"BACKEND": "tests.chaos.project.shaken.Shaken", "OPTIONS": options}}

    def log(self, prefix: str) -> Sequence[Entry] | None:
        """Return what the server holds; None if it keeps nothing."""
        return self.kind.log(self.server.url, prefix) if self.kind.log is not None else None

    def heal(self) -> None:
        """Let the event pass that has broken connections."""
        self.between.marker = b""


@contextmanager
def running(kind: Kind) -> Iterator[Site]:
    """Run a server and what stands before it as long as the context lasts."""
    with kind.serve() as server:
        between = kind.between(server.url)
        url = between.start()
        between.marker = b"" if kind.breaker else MARKER.encode()
        try:
            yield Site(kind, server, between, url)
        finally:
            between.close()


@frozen
class _Service:
    """One of the servers of ``scripts/services``, on a port of its own."""

    name: str
    servers: Servers
    url: str

    def kill(self) -> None:
        self.servers.do("kill", self.name)

    def start(self) -> None:
        self.servers.do("start", self.name)

    def pause(self) -> None:
        self.servers.do("pause", self.name)

    def resume(self) -> None:
        self.servers.do("resume", self.name)


@contextmanager
def service(name: str) -> Iterator[Server]:
    """Run a server of ``scripts/services`` privately."""
    with private_servers(name) as servers:
        yield _Service(name, servers, servers.url(name))
