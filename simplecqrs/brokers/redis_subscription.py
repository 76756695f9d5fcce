"""A channel of Redis, as a consumer hears it."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from simplecqrs.brokers.redis_server import RedisServer
from simplecqrs.envelope import Envelope
from simplecqrs.errors import BrokerDown
from simplecqrs.transport import Delivery, Garbage

__all__ = ["RedisSubscription"]

#: Seconds to listen for messages that are on their way; the second one where there were none the last time.
WAIT: Final = 0.01, 0.002
#: Seconds of silence after which the server is asked whether it is there.
SILENCE: Final = 5.0

#: What else stands for something in a pattern of Redis, and here only for itself.
_special: Final = re.compile(r"[\[\]?\\]")

log = logging.getLogger("simplecqrs.brokers.redis")


class RedisSubscription:
    """
    One channel, as one consumer hears it, from when it joined on; or all those that ``*`` in its name stands for.

    Attributes:
        gaps: how often the connection was lost, and with it whatever was published until it was there again.
    """

    def __init__(
        self, name: str, consumer: str, *, server: RedisServer, read: Callable[[bytes], Envelope | Garbage]
    ) -> None:
        self.name = name
        self.gaps = 0
        self._pattern = _special.sub(r"\\\g<0>", name) if "*" in name else ""
        self._consumer = consumer
        self._server = server
        self._read = read
        self._listening: Any = None
        self._pid = os.getpid()
        self._heard = self._asked = 0.0
        self._number = 0
        self._is_quiet = False
        self._held: dict[str, Delivery] = {}  # heard and not acknowledged

    def join(self) -> None:
        """Subscribe, and wait until the server has noted it.  Raises BrokerDown."""
        with self._server.translating():
            listening = self._server.open(self._server.timeout).pubsub()
            if self._pattern:
                listening.psubscribe(self._pattern)
            else:
                listening.subscribe(self.name)
            if listening.get_message(timeout=self._server.timeout) is None:
                listening.close()
                raise TimeoutError(f"no answer to SUBSCRIBE within {self._server.timeout} s")
        self._listening, self._pid = listening, os.getpid()
        self._heard, self._asked = time.monotonic(), 0.0

    def close(self) -> None:
        """Unsubscribe.  The next call subscribes anew."""
        listening, self._listening = self._listening, None
        if listening is not None and self._pid == os.getpid():  # else it is the parent's, which goes on hearing by it
            listening.connection_pool.disconnect()
            listening.close()

    def fetch(self, limit: int, /) -> Sequence[Delivery]:
        """Return what was heard before and not acknowledged, and what has come since."""
        if self._pid != os.getpid():
            self._listening = None
        if self._listening is None:
            self.join()
        try:
            with self._server.translating():
                self._listen(limit)
        except BrokerDown:
            self._lose()
            raise
        return list(self._held.values())[:limit]

    def acknowledge(self, deliveries: Sequence[Delivery], /) -> None:
        """Forget them; nobody else knows of them."""
        for delivery in deliveries:
            self._held.pop(delivery.id, None)

    def _listen(self, limit: int) -> None:
        wait, before = WAIT[self._is_quiet], self._number
        while len(self._held) < limit and (message := self._listening.get_message(timeout=wait)) is not None:
            self._heard, self._asked, wait = time.monotonic(), 0.0, 0.0
            if message["type"] in ("message", "pmessage"):
                self._number += 1
                self._held[str(self._number)] = Delivery(str(self._number), self._read(message["data"]))
        self._is_quiet = self._number == before
        if not self._held:
            self._doubt(time.monotonic())

    def _doubt(self, now: float) -> None:
        """Ask who has been silent; a connection that leads nowhere says nothing either."""
        if self._asked and now - self._asked > self._server.timeout:
            raise TimeoutError(f"no answer to PING within {self._server.timeout} s")
        if not self._asked and now - self._heard > SILENCE:
            self._asked = now
            self._listening.ping()

    def _lose(self) -> None:
        self.close()
        self.gaps += 1
        log.warning(
            "%s: the connection is lost, and what is published until it is there again, is lost to %s",
            self.name, self._consumer, extra={"cqrs_queue": self._consumer, "cqrs_feed": self.name},
        )  # fmt: skip
