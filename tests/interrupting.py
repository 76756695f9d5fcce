"""An interruption in the middle of whatever is done, as by a time limit of Celery."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Interrupted", "interrupted_after"]


class Interrupted(BaseException):
    """Raised by a signal in the middle of something."""


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """Raise ``Interrupted`` in the main thread, wherever it is by then."""

    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
