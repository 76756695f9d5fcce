"""The ports to brokers: what a broker's adapter must do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol, runtime_checkable

from attrs import field, frozen

from simplecqrs.envelope import Envelope
from simplecqrs.metadata import NO_HEADERS

__all__ = [
    "ACCEPTED",
    "UNKNOWN",
    "Broker",
    "Delivery",
    "Destination",
    "Feed",
    "Garbage",
    "Promise",
    "Publisher",
    "Receipt",
    "Rewindable",
    "Trimmed",
    "Trims",
    "Watchful",
    "order_of",
    "refused",
]

#: What a broker's acknowledgement is worth: it survives a restart, it is in memory only, or nobody keeps it.
Promise = Literal["stored", "memory", "none"]


@frozen
class Receipt:
    """
    What became of one envelope that was handed to a broker.

    Args:
        status: ``accepted``: the broker has it.  ``unknown``: it may have it; hand it over again.
            ``refused``: it will not take it; ``reason`` says why.
    """

    status: Literal["accepted", "unknown", "refused"]
    reason: str = ""


ACCEPTED = Receipt("accepted")
UNKNOWN = Receipt("unknown")


def refused(reason: str) -> Receipt:
    """Return the receipt of an envelope that the broker will not take, for this reason."""
    return Receipt("refused", reason)


def order_of(envelope: Envelope) -> tuple[str, str]:
    """Return the topic and key within which envelopes keep their order."""
    return envelope.topic, envelope.key


class Publisher(Protocol):
    """
    Takes envelopes to where others can read them.

    Called by the mediator (without an outbox) and by the relay.  Threads do not share one.
    """

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
        """
        Hand over envelopes in their order and return a receipt for each, in the same order.

        A (topic, key) stops at its first envelope that is not accepted: the later ones of that key are
        ``unknown`` and were not sent.  Repeating a call is safe; receivers drop what they have seen.

        Args:
            deadline: seconds after which it returns, whatever is still open being ``unknown``.

        Raises:
            BrokerDown: if the broker as a whole cannot be reached.  Nothing is known of any envelope then.
        """
        ...


class Destination(Publisher, Protocol):
    """A publisher that a relay ships to."""

    def ping(self, *, deadline: float) -> None:
        """
        Ask the broker whether it works, without sending anything.

        By this a relay tells an event that breaks whatever it is sent with from a broker that is down.

        Args:
            deadline: seconds after which no answer is an answer.

        Raises:
            BrokerDown: if it does not answer.
        """
        ...


@frozen
class Garbage:
    """
    Something that came from a broker and could not be read as an envelope, or is not to be believed.

    Args:
        claim: what it says of itself, if that can be read.
    """

    error: str
    payload: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default=NO_HEADERS)
    claim: Envelope | None = field(default=None, repr=False)


@frozen
class Delivery:
    """One entry of a feed: the broker's own id of it, and what it holds."""

    id: str
    content: Envelope | Garbage


class Feed(Protocol):
    """
    One stream, queue or partition that a consumer reads, in the order in which it was written.

    One fetcher at a time uses a feed: what it fetched and did not acknowledge comes again, first and in order,
    to whoever fetches next.
    """

    @property
    def name(self) -> str:
        """Name the feed; the fetcher's lock goes by it."""
        ...

    def fetch(self, limit: int, /) -> Sequence[Delivery]:
        """Return what is there, up to a limit, without waiting.  Raises BrokerDown."""
        ...

    def acknowledge(self, deliveries: Sequence[Delivery], /) -> None:
        """Tell the broker that these are stored on our side.  May be repeated.  Raises BrokerDown."""
        ...


class Rewindable(Feed, Protocol):
    """A feed that can go back: what was acknowledged is still there."""

    def rewind(self, since: datetime | None, /) -> None:
        """
        Let the consumer read once more what came at a time or later, by the broker's clock; None: all that is there.

        Nobody fetches meanwhile, but whoever has fetched may be about to acknowledge.  Raises BrokerDown.
        """
        ...


class Watchful(Rewindable, Protocol):
    """A feed that notices what is gone before it was fetched, and knows how far it is."""

    @property
    def lost(self) -> int:
        """Count what is known to be gone, since the feed was opened; one at least for what nobody can count."""
        ...

    @property
    def mark(self) -> str:
        """Tell how far it is acknowledged, as ``compare`` understands it; empty: nobody knows."""
        ...

    def rewind_to(self, mark: str, /) -> None:
        """Let the consumer read once more what came behind a mark; see ``Rewindable``."""
        ...

    def compare(self, mark: str, /) -> None:
        """Sound an alarm if the broker is not as far as it was: it was emptied, or restored.  Raises BrokerDown."""
        ...


class Broker(Destination, Protocol):
    """A named server connection: publishes, and opens feeds for consumers."""

    @property
    def promise(self) -> Promise:
        """Say what an acknowledgement of this broker is worth, as read from the server.  Raises BrokerDown."""
        ...

    def feeds(self, consumer: str, topics: Sequence[str], /) -> Sequence[Feed]:
        """
        Open the feeds of a consumer.

        What was published before its first time is included if it is still there.  Raises BrokerDown.
        """
        ...


@frozen
class Trimmed:
    """
    What a broker has forgotten of a topic.

    Args:
        entries: how many.
        whole: whether that was all there is to forget now; else ask again.
        before: everything that came before this time was, or would be, forgotten.
        held_by: the consumer that has not acknowledged what came then; empty: it is to be kept for its age.
    """

    entries: int
    whole: bool = True
    before: datetime | None = None
    held_by: str = ""


@runtime_checkable
class Trims(Protocol):
    """What a broker has, beside ``Broker``, that keeps what its consumers have acknowledged until it is trimmed."""

    def trim(
        self, topic: str, consumers: Sequence[str], /, *, keep: float, limit: int = 10_000, dry_run: bool = False
    ) -> Trimmed:
        """
        Forget the oldest entries of a topic, never one that a consumer has not acknowledged.

        Consumers that are not named here, those of other projects, count as well if the server knows them.

        Args:
            consumers: that read the topic.
            keep: seconds for which everything is kept.
            limit: entries at a time.
            dry_run: forget nothing, and count.

        Raises:
            NotConfigured: if the server does not know one of the consumers: it is to read from the beginning.
            BrokerDown: if it does not answer.
        """
        ...
