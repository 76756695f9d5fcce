"""Senders and receivers of Azure Service Bus that stay open."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from simplecqrs.brokers.azure_opening import Opening, shut
from simplecqrs.errors import BrokerDown

__all__ = ["Links"]

#: Seconds after which a link that nobody used is opened anew: Service Bus closes what is silent for some minutes.
IDLE: Final = 60.0
#: Seconds after which an opening that hangs is left to itself, and another one begun.
HANGS: Final = 30.0


class Links:
    """
    Links by their paths, opened when they are asked for; in a forked process they are opened anew.

    Args:
        make: makes the sender or receiver of a path; it is not open yet.
    """

    def __init__(self, make: Callable[[str], Any]) -> None:
        self._make = make
        self._forget()

    def get(self, path: str, seconds: float) -> Any:
        """Return the link of a path, open.  Raises BrokerDown if that takes longer, and what the library raises."""
        if self._pid != os.getpid():  # they are the parent's, which goes on using them
            self._forget()
        link, used = self._open.get(path, (None, 0.0))
        now = time.monotonic()
        if link is not None and now - used > IDLE:
            self.drop(path)
            link = None
        if link is None:
            link = self._wait(path, seconds)
        self._open[path] = link, now
        return link

    def drop(self, path: str) -> None:
        """Close the link of a path, if it is open."""
        link, _ = self._open.pop(path, (None, 0.0))
        if link is not None:
            with suppress(Exception):  # it may be as broken as what it is dropped for
                shut(link)

    def close(self) -> None:
        """Close all of them."""
        if self._pid == os.getpid():
            for opening in self._openings.values():
                opening.give_up()
            for path in list(self._open):
                self.drop(path)
        self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._open: dict[str, tuple[Any, float]] = {}
        self._openings: dict[str, Opening] = {}

    def _wait(self, path: str, seconds: float) -> Any:
        opening = self._openings.pop(path, None)
        if opening is not None and opening.age > HANGS:
            opening.give_up()
            opening = None
        if opening is None:
            opening = Opening(self._make(path))
        if not opening.wait(seconds):
            self._openings[path] = opening
            raise BrokerDown(f"no connection within {seconds:.1f} s")
        return opening.link
