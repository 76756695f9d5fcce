"""What a relay, a fetcher or a consumer has done since it started, and how long messages had waited for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import NamedTuple

from attrs import define, field

__all__ = ["Counts", "Waited", "Waits"]


class Waited(NamedTuple):
    """How many messages were done, and the seconds that they had waited until then: all together, and the longest."""

    number: int = 0
    seconds: float = 0.0
    longest: float = 0.0


class Waits:
    """
    Adds up the critical time: the seconds from when a message was stored until it was done.

    One thread adds, another one may take what has been added.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waited = Waited()

    def add(self, stored: Iterable[float]) -> None:
        """
        Add messages that are done now.

        Args:
            stored: when they were stored, see ``Row``.
        """
        now = time.monotonic()
        waits = [max(0.0, now - moment) for moment in stored]
        with self._lock:
            number, seconds, longest = self._waited
            self._waited = Waited(number + len(waits), seconds + sum(waits), max([longest, *waits]))

    def take(self) -> Waited:
        """Return what was added since the last time."""
        with self._lock:
            taken, self._waited = self._waited, Waited()
        return taken


@define
class Counts:
    """
    What a relay, a fetcher or a consumer has done since it started.

    Args:
        published: events that a broker has accepted.
        failed: attempts that failed, also those of a relay that its broker refused.
        dead: messages that were given up.
    """

    handled: int = 0
    failed: int = 0
    unclaimed: int = 0
    discarded: int = 0
    paused: int = 0
    awaited: int = 0
    fetched: int = 0
    seen: int = 0
    published: int = 0
    dead: int = 0
    waits: Waits = field(factory=Waits, eq=False, repr=False)
