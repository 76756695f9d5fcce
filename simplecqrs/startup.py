"""Something that is made once, before it is used for the first time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

__all__ = ["Once"]

T = TypeVar("T")


class Once(Generic[T]):
    """
    Make something at first use, under a lock.

    Args:
        make: called once.
        then: called in this order, once, when it is made; they may use it already.
        ready: is told of it when all of them have returned.
    """

    def __init__(self, make: Callable[[], T], then: Iterable[Callable[[], object]], ready: Callable[[T], None]) -> None:
        self._make = make
        self._then = tuple(then)
        self._ready = ready
        self._lock = threading.RLock()
        self._starting: T | None = None
        self.made: T | None = None

    def get(self) -> T:
        """Return it; what is raised while it is made is raised here, and it is tried again at the next use."""
        if self.made is not None:
            return self.made
        with self._lock:
            if self._starting is not None:
                return self._starting
            if self.made is None:
                self.made = self._start()
                self._ready(self.made)
            return self.made

    def _start(self) -> T:
        self._starting = self._make()
        try:
            for call in self._then:
                call()
            return self._starting
        finally:
            self._starting = None
