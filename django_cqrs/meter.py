"""What the long-running commands say: a live line on a terminal, log lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field
from django.core.management.base import OutputWrapper

__all__ = ["Meter", "Metered"]

#: Seconds between two lines of a live terminal, and of a log.
LIVE, LOGGED = 0.5, 10.0


@define
class Meter:
    """
    Counts what jobs do, in whatever thread, and says so now and then.

    Args:
        troubles: asked, for each line, what does not go as it should.
    """

    out: OutputWrapper
    jobs: Sequence[Any] = ()
    troubles: Callable[[], list[str]] = list
    counts: dict[str, int] = field(factory=dict)
    _lock: threading.RLock = field(factory=threading.RLock)
    _said: float = field(factory=time.monotonic)
    _said_counts: dict[str, int] = field(factory=dict)

    def add(self, name: str, number: int) -> None:
        """Count, and say so if it is time."""
        with self._lock:
            self.counts[name] = self.counts.get(name, 0) + number
        self.tick()

    def tick(self) -> None:
        """Say how it goes if it is time."""
        with self._lock:
            if time.monotonic() - self._said >= (LIVE if self.out.isatty() else LOGGED):
                self.say()

    def say(self) -> None:
        """Write one line: what was done in all, how fast lately, and what does not go as it should."""
        now = time.monotonic()
        seconds = max(now - self._said, 0.001)
        parts = [
            f"{name} {count:,} ({(count - self._said_counts.get(name, 0)) / seconds:,.0f}/s)"
            for name, count in self.counts.items()
        ]
        troubles = self.troubles()
        line = " | ".join([*parts, *asides(self.jobs), *troubles])
        if self.out.isatty():
            self.out.write(f"\r\x1b[2K{line[:200]}", ending="")
            self.out.flush()
        elif self.counts != self._said_counts or troubles:
            self.out.write(line)
        self._said, self._said_counts = now, dict(self.counts)

    def close(self) -> None:
        """Write the last line."""
        with self._lock:
            self._said_counts = {**self._said_counts, "": -1}
            self.say()
            if self.out.isatty():
                self.out.write("")


def asides(jobs: Sequence[Any]) -> list[str]:
    """Return what else there is to say of jobs: what failed, had no handler, was seen before, nobody wanted."""
    return [
        f"{job.name}: {number:,} {what}"
        for job in jobs
        for what, number in getattr(job, "asides", {}).items()
        if number
    ]


@define
class Metered:
    """A job whose steps are counted."""

    job: Any
    meter: Meter

    @property
    def name(self) -> str:
        """Name the job."""
        return str(self.job.name)

    def step(self) -> int:
        """Do a step and count it."""
        result = self.job.step()
        done = int(getattr(result, "read", result) or 0)
        self.meter.add(self.name, done)
        return done

    def close(self) -> None:
        """Close the job, if it is one that can be closed."""
        getattr(self.job, "close", lambda: None)()
