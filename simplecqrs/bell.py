"""The bell on which loops wait for work, and the word that ends them."""

from __future__ import annotations

import threading
import time

__all__ = ["Bell", "Stop"]


class Bell:
    """
    Wakes all who wait on it; any number of threads may wait and ring.

    A ring is never lost: who wants to wait says up to which ring it has looked for work, so that one that came while
    it was looking wakes it at once.

    >>> bell = Bell()
    >>> heard = bell.rings
    >>> bell.ring()  # somebody does, while we look for work
    >>> bell.wait(heard, 1.0)
    True
    """

    def __init__(self) -> None:
        # Its lock may be taken again by a signal handler that interrupts the thread that holds it.
        self._condition = threading.Condition(threading.RLock())
        self._rings = 0

    @property
    def rings(self) -> int:
        """Return how often it has rung."""
        return self._rings

    def ring(self) -> None:
        """Wake all who wait, and those who are about to."""
        with self._condition:
            self._rings += 1
            self._condition.notify_all()

    def wait(self, heard: int, timeout: float, /) -> bool:
        """
        Wait until it has rung more often than was heard; tell whether it has.

        Args:
            timeout: seconds after which to give up.
        """
        ends = time.monotonic() + timeout
        with self._condition:
            while self._rings == heard:
                left = ends - time.monotonic()
                if left <= 0:
                    return False
                self._condition.wait(left)
            return True


class Stop:
    """Says once that loops are to end, and rings the bells on which they wait; a signal handler may set it."""

    def __init__(self) -> None:
        self._is_set = False
        self._own = Bell()
        self._bells = [self._own]

    def rings(self, bell: Bell) -> Bell:
        """Ring a bell as well when it is set, and return that bell."""
        self._bells.append(bell)
        if self._is_set:
            bell.ring()
        return bell

    def set(self) -> None:
        """Say it."""
        self._is_set = True
        for bell in list(self._bells):
            bell.ring()

    def is_set(self) -> bool:
        """Tell whether it was said."""
        return self._is_set

    def wait(self, timeout: float) -> bool:
        """Wait until it is said, or for so many seconds; tell whether it was."""
        if not self._is_set:
            self._own.wait(0, timeout)
        return self._is_set
