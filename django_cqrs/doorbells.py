"""Doorbells: tell an engine that a consumer has work, without ever keeping the caller waiting."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from simplecqrs.bell import Bell
from simplecqrs.log_fields import named

__all__ = ["Doorbells", "doorbells"]

log = logging.getLogger("django_cqrs")

#: Seconds between two rings for one consumer, and those that the end of the process waits for the last one.
WINDOW, AT_EXIT = 0.05, 1.0


class Doorbells:
    """
    Ring for consumers, each at most once in 50 ms, in a thread of its own.

    Celery's broker may be slow, or down: whoever has just committed does not wait for it.  What rings within the
    50 ms rings once, at their end.  A ring that is lost is no loss: who looks for overdue work rings again.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, as a process does that was forked: it has no thread of its parent's."""
        self._lock = threading.Lock()
        self._names: set[str] = set()
        self._sending: set[str] = set()
        self._bell, self._done = Bell(), Bell()
        self._thread: threading.Thread | None = None
        self._failing: set[str] = set()
        self._here = threading.local()

    @contextmanager
    def answering(self, consumers: Sequence[str]) -> Generator[None, None, None]:
        """Do not ring for consumers whose work this thread does anyhow, as long as the context lasts."""
        self._here.answered = frozenset(consumers)
        try:
            yield
        finally:
            del self._here.answered

    def ring(self, consumer: str) -> None:
        """Ring for a consumer, soon."""
        if consumer in getattr(self._here, "answered", ()):
            return
        with self._lock:
            self._names.add(consumer)
            if self._thread is None:
                # A daemon: the end of the process waits for it no longer than `flush` says.
                self._thread = threading.Thread(target=self._run, name="cqrs doorbells", daemon=True)
                self._thread.start()
        self._bell.ring()

    def flush(self, seconds: float = AT_EXIT) -> bool:
        """Wait until all have been rung for, or for so many seconds; tell whether they have."""
        ends = time.monotonic() + seconds
        while True:
            heard = self._done.rings
            if not self._names and not self._sending:
                return True
            if not self._done.wait(heard, max(0.0, ends - time.monotonic())):
                return False

    def _run(self) -> None:
        heard = 0
        while True:
            self._bell.wait(heard, 3600.0)
            heard = self._bell.rings
            with self._lock:
                self._sending, self._names = self._names, set()
            for name in sorted(self._sending):
                self._send(name)
            self._sending = set()
            self._done.ring()
            time.sleep(WINDOW)

    def _send(self, consumer: str) -> None:
        from django_cqrs.conf import settings
        from django_cqrs.engines import ring

        engine = settings().consumer(consumer).engine
        try:
            ring(engine, consumer)
        except Exception as error:  # noqa: BLE001 - whatever it is, work that is overdue is found without
            if engine not in self._failing:
                self._failing.add(engine)
                text, extra = "%s could not be told that %s has work, which is found later: %s", named(queue=consumer)
                log.warning(text, engine, consumer, error, extra=extra)
        else:
            self._failing.discard(engine)


doorbells = Doorbells()
atexit.register(doorbells.flush)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=doorbells.forget)
