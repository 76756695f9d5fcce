"""What goes to one topic of Azure Service Bus in one call: in batches, of which each is taken as a whole or not."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

from simplecqrs.envelope import Envelope
from simplecqrs.errors import BrokerDown
from simplecqrs.transport import ACCEPTED, UNKNOWN, Receipt, order_of, refused

__all__ = ["Gate", "Outcome", "Rejected", "Sending"]


#: Lends the link of a path, open within so many seconds.
Lending: TypeAlias = Callable[[str, float], AbstractContextManager[Any]]


class Rejected(Exception):
    """Raised when Service Bus says no to what it was sent, and not to who sent it."""


class Gate:
    """
    Lets batches through to one topic, as long as the deadline allows.

    Args:
        path: of the topic.
        lending: lends the sender of a path that is open within so many seconds.
        until: when the deadline is over.
    """

    def __init__(self, path: str, lending: Lending, until: float) -> None:
        self._path = path
        self._lending = lending
        self._until = until

    def batch(self) -> Any:
        """Return an empty batch of the client library.  Raises BrokerDown, and Rejected."""
        with self._lending(self._path, self._left()) as sender:
            return sender.create_message_batch()

    def send(self, batch: Any) -> None:
        """Send a batch.  Raises BrokerDown, and Rejected."""
        left = self._left()
        with self._lending(self._path, left) as sender:
            sender.send_messages(batch, timeout=left)

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise BrokerDown(f"the deadline is over, and not all is sent to {self._path}")
        return left


class Outcome:
    """What became of the envelopes of one call."""

    def __init__(self, envelopes: Sequence[Envelope]) -> None:
        self._envelopes = envelopes
        self._stopped: set[tuple[str, str]] = set()
        self.receipts: list[Receipt] = [UNKNOWN] * len(envelopes)

    def may_go(self, index: int) -> bool:
        """Tell whether no earlier envelope of its key was refused."""
        return order_of(self._envelopes[index]) not in self._stopped

    def accept(self, indexes: Sequence[int]) -> None:
        """Note that these were taken."""
        for index in indexes:
            self.receipts[index] = ACCEPTED

    def refuse(self, index: int, reason: str) -> None:
        """Note that this one is not taken, nor what follows it under its key."""
        if self.may_go(index):
            self.receipts[index] = refused(reason)
            if self._envelopes[index].key:
                self._stopped.add(order_of(self._envelopes[index]))

    def refuse_rest(self, indexes: Sequence[int], reason: str) -> None:
        """Note that of these nothing more is taken."""
        for index in indexes:
            if self.receipts[index] is UNKNOWN:
                self.refuse(index, reason)


class Sending:
    """Sends what goes to one topic, in its order."""

    def __init__(self, gate: Gate, outcome: Outcome, write: Callable[[Envelope], Any]) -> None:
        self._gate = gate
        self._outcome = outcome
        self._write = write

    def send(self, indexes: Sequence[int], envelopes: Sequence[Envelope]) -> None:
        """Send envelopes, which stand at these indexes of the call.  Raises BrokerDown."""
        messages: dict[int, Any] = {}
        for index, envelope in zip(indexes, envelopes, strict=True):
            try:
                messages[index] = self._write(envelope)
            except ValueError as error:
                self._outcome.refuse(index, f"it cannot be written: {error}")
        self._send(messages)

    def _send(self, messages: dict[int, Any]) -> None:
        batch, inside = self._gate.batch(), list[int]()
        for index, message in messages.items():
            if not self._outcome.may_go(index):
                continue
            if inside and not _fits(batch, message):
                self._close(batch, inside, messages)
                batch, inside = self._gate.batch(), []
                if not self._outcome.may_go(index):
                    continue
            elif inside:
                inside.append(index)
                continue
            if self._begin(batch, index, message):
                inside.append(index)
        self._close(batch, inside, messages)

    def _begin(self, batch: Any, index: int, message: Any) -> bool:
        try:
            batch.add_message(message)
        except ValueError as error:  # also the client's own MessageSizeExceededError
            self._outcome.refuse(index, f"it does not fit into a batch of its own: {error}")
            return False
        return True

    def _close(self, batch: Any, inside: Sequence[int], messages: dict[int, Any]) -> None:
        """Send a batch; if it is rejected, find out by sending its messages one by one which of them is to blame."""
        if not inside:
            return
        try:
            self._gate.send(batch)
        except Rejected as error:
            if len(inside) == 1:
                self._outcome.refuse(inside[0], str(error))
                return
            for index in inside:
                self._send({index: messages[index]})
        else:
            self._outcome.accept(inside)


def _fits(batch: Any, message: Any) -> bool:
    """Add a message to a batch, unless there is no room, or it cannot be encoded: then it is tried alone."""
    try:
        batch.add_message(message)
    except ValueError:
        return False
    return True
