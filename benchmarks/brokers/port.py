"""
What the benchmark needs to know of a broker.

A further broker is a file beside this one, ``<name>_by_hand.py``, with a ``Contender`` in it, and a name more in
``CONTENDERS`` of ``race``.  By hand means: what somebody would write with the same client who knows it well, and who
wants the same: whatever is published is confirmed by the server, each message has its effect once (``once``: a row that
remembers it, in the transaction of its handler), and is acknowledged after the commit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from attrs import frozen

from simplecqrs.envelope import Envelope

__all__ = ["ByHand", "Contender"]


class ByHand(Protocol):
    """A broker, used by hand."""

    def join(self, topic: str, /) -> None:
        """Subscribe: what is published to the topic from now on is kept until ``consume`` takes it."""
        ...

    def publish(self, topic: str, envelopes: Sequence[Envelope], /) -> None:
        """Publish in the client's own way for many, and return when the server has confirmed all; else raise."""
        ...

    def consume(self, topic: str, /) -> None:
        """Handle what is there until nothing is left, each by ``once``, acknowledged after its commit."""
        ...

    def clear(self, topic: str, /) -> None:
        """Throw away what the server holds of a topic, by whomever it was published."""
        ...


@frozen(kw_only=True)
class Contender:
    """
    A broker in the race.

    Args:
        name: of the broker.
        serve: gives the URL of a server as long as its context lasts; empty: there is none, the broker is left out.
        backend: the dotted path of the adapter.
        options: what the adapter is made with: of the URL and a prefix of our own.
        by_hand: opens the client: of the URL and the prefix.
        singly: publishes with one confirmation per message, of what ``by_hand`` opened, a topic and envelopes; the
            adapter has to be ``times_singly`` as fast.  None: not measured.
        about: says how durable the server is: of the URL.
    """

    name: str
    serve: Callable[[], AbstractContextManager[str]]
    backend: str
    options: Callable[[str, str], Mapping[str, Any]]
    by_hand: Callable[[str, str], ByHand]
    singly: Callable[[Any, str, Sequence[Envelope]], None] | None = None
    times_singly: float = 5.0
    about: Callable[[str], Mapping[str, str]] = lambda _: {}
