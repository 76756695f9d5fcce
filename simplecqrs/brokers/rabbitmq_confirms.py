"""Events on their way to RabbitMQ: sent in waves, and what the server said of each."""

from __future__ import annotations

import re
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Any, Final

from attrs import define, field

from simplecqrs.brokers.rabbitmq_link import Link
from simplecqrs.envelope import Envelope
from simplecqrs.transport import ACCEPTED, UNKNOWN, Receipt, order_of, refused

__all__ = ["Batch", "Confirms", "Letter"]

#: Bytes that may be on their way without an answer.
WINDOW: Final = 2**20
#: What a server says when it closes the channel on account of a message: one that is too large, and one whose topic
#: the user may not write to.
TOO_LARGE: Final = re.compile(r"message size (\d+)")
FORBIDDEN: Final = re.compile(r"access to topic '(.*)' in exchange")
NACKED: Final = "RabbitMQ did not take it (basic.nack): a queue is full, or has lost the majority of its members"


@define(eq=False)
class Letter:
    """
    An event, ready to be sent, and what became of it.

    Args:
        message: of py-amqp.
        size: of its body, in bytes.
    """

    envelope: Envelope
    message: Any = field(repr=False)
    size: int
    receipt: Receipt = UNKNOWN

    @property
    def mark(self) -> tuple[str, str]:
        """Return by what it is recognised if the server returns it."""
        return self.message.properties["message_id"], self.envelope.topic


class Batch:
    """
    The events of one call.

    Of each topic and key only the first that is not confirmed may be on its way: a server that refuses one and takes
    the next would break their order.  What has no key, or another one, goes with it in one wave.

    Args:
        letters: in their order, or in the place of one the receipt that refuses it beforehand.
    """

    def __init__(self, envelopes: Sequence[Envelope], letters: Iterable[Letter | Receipt]) -> None:
        self.ready: deque[Letter] = deque()
        self.under_way: set[Letter] = set()
        self.size = 0  # of what is under way, in bytes
        self._entries = list(letters)
        self._waiting: dict[tuple[str, str], deque[Letter]] = {}
        stopped: set[tuple[str, str]] = set()
        for envelope, entry in zip(envelopes, self._entries, strict=True):
            order = order_of(envelope)
            if isinstance(entry, Receipt):
                stopped |= {order} if envelope.key else set()
            elif not envelope.key:
                self.ready.append(entry)
            elif order in self._waiting and order not in stopped:
                self._waiting[order].append(entry)
            elif order not in stopped:
                self._waiting[order] = deque()
                self.ready.append(entry)

    @property
    def receipts(self) -> list[Receipt]:
        """Return what is known of each event."""
        return [entry if isinstance(entry, Receipt) else entry.receipt for entry in self._entries]

    @property
    def is_open(self) -> bool:
        """Tell whether there is more to send, or to hear."""
        return bool(self.ready or self.under_way)

    def next(self) -> Letter:
        """Return the next event that is to be sent."""
        letter = self.ready.popleft()
        self.under_way.add(letter)
        self.size += letter.size
        return letter

    def settle(self, letter: Letter, receipt: Receipt) -> None:
        """Note what the server said of an event; its follower is ready if that was good."""
        self.under_way.discard(letter)
        self.size -= letter.size
        letter.receipt = receipt
        followers = self._waiting.get(order_of(letter.envelope))
        if followers and receipt is ACCEPTED and letter.envelope.key:
            self.ready.append(followers.popleft())

    def blame(self, text: str) -> None:
        """Refuse what the server has closed the channel on, if it said which; of all others nothing is known."""
        size, topic = TOO_LARGE.search(text), FORBIDDEN.search(text)
        for letter in list(self.under_way):
            is_too_large = size is not None and letter.size == int(size[1])
            if is_too_large or (topic is not None and letter.envelope.topic == topic[1]):
                self.settle(letter, refused(text))


class Confirms:
    """
    A channel on which the server confirms what it has taken.

    What was sent in an earlier call, and not confirmed then, may be so in a later one: nobody waits for it any more.

    Args:
        mandatory: the server is to return what no queue is bound for; it does so before it confirms it.
    """

    def __init__(self, channel: Any, exchange: str, *, mandatory: bool) -> None:
        self.channel = channel
        self._exchange = exchange
        self._mandatory = mandatory
        self._number = 0
        self._sent: dict[int, tuple[Batch, Letter]] = {}
        self._returned: Counter[tuple[str, str]] = Counter()
        channel.confirm_select()
        channel.events["basic_ack"].add(self._acked)
        channel.events["basic_nack"].add(self._nacked)
        channel.events["basic_return"].add(self._came_back)

    def send(self, batch: Batch, link: Link, until: float) -> None:
        """Send a batch and wait for what becomes of it, to the deadline, or till the server takes nothing more."""
        connection = self.channel.connection
        while batch.is_open and not link.blocked and (left := until - time.monotonic()) > 0:
            link.wait(left)
            if batch.ready:
                with link.gathering():
                    self._send(batch)
            connection.blocking_read(None)
            while batch.under_way and link.has_news:
                connection.blocking_read(None)

    def _send(self, batch: Batch) -> None:
        while batch.ready and (batch.size < WINDOW or not batch.under_way):
            letter = batch.next()
            self._number += 1
            self._sent[self._number] = batch, letter
            self.channel.basic_publish(letter.message, self._exchange, letter.envelope.topic, mandatory=self._mandatory)

    def _acked(self, number: int, multiple: bool) -> None:  # noqa: FBT001 - py-amqp calls it so
        for batch, letter in self._confirmed(number, multiple=multiple):
            if self._returned and self._was_returned(letter.mark):
                reason = f"no queue is bound for the topic {letter.envelope.topic}: nobody has subscribed to it yet"
                batch.settle(letter, refused(reason))
            else:
                batch.settle(letter, ACCEPTED)

    def _nacked(self, number: int, multiple: bool) -> None:  # noqa: FBT001 - py-amqp calls it so
        for batch, letter in self._confirmed(number, multiple=multiple):
            batch.settle(letter, refused(NACKED))

    def _came_back(self, error: Exception, exchange: str, topic: str, message: Any) -> None:
        self._returned[message.properties.get("message_id", ""), topic] += 1

    def _was_returned(self, mark: tuple[str, str]) -> bool:
        if mark not in self._returned:
            return False
        self._returned[mark] -= 1
        self._returned += Counter()  # drops what is zero
        return True

    def _confirmed(self, number: int, *, multiple: bool) -> list[tuple[Batch, Letter]]:
        if not multiple:
            return [self._sent.pop(number)] if number in self._sent else []
        numbers = list(takewhile(lambda known: known <= number, self._sent))
        return [self._sent.pop(known) for known in numbers]
