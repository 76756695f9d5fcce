"""A subscription of Azure Service Bus, as a consumer reads it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, TypeAlias

from simplecqrs.brokers.azure_locks import LockLost, Locks
from simplecqrs.envelope import Envelope
from simplecqrs.transport import Delivery, Garbage

__all__ = ["AzureFeed", "Complete", "Lending", "Read"]

#: Lends the receiver of a path, opened if need be, and turns what goes wrong with it into ``BrokerDown`` or
#: ``LockLost``; either way the receiver is closed.
Lending: TypeAlias = Callable[[str], AbstractContextManager[Any]]
#: Settles a message of a receiver, and tells whether it still had its lock.
Complete: TypeAlias = Callable[[Any, Any], bool]
#: Reads a message of the client library.
Read: TypeAlias = Callable[[Any], "Envelope | Garbage"]

#: Seconds to listen for messages that are on their way; the second one where there were none the last time.
WAIT: Final = 0.05, 0.005
#: Messages that are kept while older ones are locked by somebody else.
ROOM: Final = 2000
#: Sequence numbers from here on begin with the number of a partition: gaps between them say nothing.
PARTITIONED: Final = 2**48

log = logging.getLogger("simplecqrs.brokers.azure")


class AzureFeed:
    """
    One subscription, as one consumer reads it.

    Service Bus gives each message to whoever asks first, and locks it.  What another fetcher has locked, one that
    died perhaps, comes later than what follows it.  So nothing is handed on while an older message is still there:
    numbers that follow each other need no look, and into a gap one looks.
    """

    def __init__(self, name: str, consumer: str, *, lending: Lending, complete: Complete, read: Read) -> None:
        self.name = name
        self._consumer = consumer
        self._lending = lending
        self._complete = complete
        self._read = read
        self._receiver: Any = None
        self._forget()

    def fetch(self, limit: int, /) -> Sequence[Delivery]:
        """Return what was fetched before and not acknowledged, or else what is new and has nothing older before it."""
        try:
            with self._lending(self.name) as receiver:
                self._adopt(receiver)
                if not self._held:
                    self._receive(receiver, limit)
                self._locks.keep(receiver, [message for _, message in self._held.values()])
                if not self._held:
                    self._locks.check(self._waiting)
                    self._hand_on(receiver, limit)
        except LockLost as error:
            self._forget()
            self._tell(error)
        return [delivery for delivery, _ in self._held.values()][:limit]

    def acknowledge(self, deliveries: Sequence[Delivery], /) -> None:
        """Complete all of them, one after the other; what has lost its lock comes again, and is known by then."""
        if not self._held:
            return
        lost = 0
        try:
            with self._lending(self.name) as receiver:
                self._adopt(receiver)
                for delivery in deliveries:
                    _, message = self._held.get(delivery.id, (None, None))
                    if message is not None:
                        lost += not self._complete(receiver, message)
                        self._held.pop(delivery.id, None)
        except LockLost as error:
            self._forget()
            self._tell(error)
        if lost:
            self._tell(LockLost(f"{lost} locks ran out"))

    def _tell(self, error: LockLost) -> None:
        extra = {"cqrs_queue": self._consumer, "cqrs_feed": self.name}
        log.warning("%s: %s; what was locked comes again", self.name, error, extra=extra)

    def _forget(self) -> None:
        self._held: dict[str, tuple[Delivery, Any]] = {}  # fetched and not acknowledged
        self._waiting: list[Any] = []  # received, in order
        self._last: int | None = None  # the number that was handed on last
        self._is_quiet = False
        self._locks = Locks()

    def _adopt(self, receiver: Any) -> None:
        """Forget what belongs to a receiver that is no more: nobody can acknowledge it."""
        if receiver is not self._receiver:
            self._forget()
            self._receiver = receiver

    def _receive(self, receiver: Any, limit: int) -> None:
        """Take what has come; what waits is not kept for longer than its locks last, or two could wait for ever."""
        if len(self._waiting) > ROOM:
            raise LockLost(f"{len(self._waiting)} messages wait for older ones")
        received = receiver.receive_messages(max_message_count=limit, max_wait_time=WAIT[self._is_quiet])
        self._is_quiet = not received
        self._waiting = sorted([*self._waiting, *received], key=_number)

    def _hand_on(self, receiver: Any, limit: int) -> None:
        while self._waiting and len(self._held) < limit and self._is_next(receiver, _number(self._waiting[0])):
            message = self._waiting.pop(0)
            number = _number(message)
            self._last = max(number, self._last or 0)
            self._held[str(number)] = Delivery(str(number), self._read(message)), message

    def _is_next(self, receiver: Any, number: int) -> bool:
        """Tell whether nothing older is there; what is older than the last one was handed on before."""
        if number >= PARTITIONED or (self._last is not None and number <= self._last + 1):
            return True
        start = (self._last or 0) + 1
        while peeked := receiver.peek_messages(max_message_count=10, sequence_number=start):
            for message in peeked:
                if _number(message) >= number:
                    return True
                if message.state == 0:  # not deferred, nor for later
                    return False
            start = _number(peeked[-1]) + 1
        return True


def _number(message: Any) -> int:
    number: int = message.sequence_number
    return number
