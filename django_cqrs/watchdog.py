"""The watchdog: says where a step hangs, and ends the process if it goes on hanging."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from attrs import define, field
from attrs import has as is_attrs

from simplecqrs.loop import Loop

__all__ = ["HUNG", "Watch", "limit_of"]

log = logging.getLogger("django_cqrs")

#: The exit code of a process that hangs, so that a supervisor starts another.
HUNG = 3
#: Seconds that a step may take without any progress; and what a consumer has beyond its handlers' ``timeout``.
LIMIT, MARGIN = 60.0, 30.0


def limit_of(job: Any) -> float:
    """Return how many seconds a job may go without progress."""
    timeout = getattr(job, "timeout", None)
    return LIMIT if timeout is None else float(timeout) + MARGIN


@define
class Watch:
    """
    Watch one loop for steps that hang.

    Its database and its broker take back what a process holds when it ends, so that ending it is the safe way out of
    a step that does not come back.

    Args:
        limit: seconds without progress after which it is told, once, where the step hangs; twice that ends the
            process.
        die: ends it.

    Attributes:
        age: seconds since the step that is being done has made progress; 0 between two steps.
    """

    loop: Loop
    job: Any
    limit: float
    die: Callable[[int], object] = os._exit
    age: float = field(default=0.0, init=False)
    _pulse: object = field(default=None, init=False)
    _told: bool = field(default=False, init=False)

    def look(self, seconds: float, thread: int | None) -> None:
        """
        Look once more.

        Args:
            seconds: since the last time.  The caller does not count those in which the whole process stood still, as
                after SIGSTOP: the step is not to blame for them.
            thread: the identity of the thread that runs the loop.
        """
        pulse = self._read_pulse()
        if self.loop.current is None or pulse != self._pulse:
            self.age, self._told = 0.0, False
        else:
            self.age += seconds
        self._pulse = pulse
        if self.age > self.limit and not self._told:
            self._told = True
            log.error(
                "%s has been in one step for %.0f s, and ends the process with %d after %.0f s; it is here:\n%s",
                self.job.name, self.age, HUNG, 2 * self.limit, "".join(_stack(thread)),
                extra={"cqrs_job": self.job.name},
            )  # fmt: skip
        if self.age > 2 * self.limit:
            log.critical(
                "%s hangs: the process ends with %d, for another to be started",
                self.job.name,
                HUNG,
                extra={"cqrs_job": self.job.name},
            )
            self.die(HUNG)

    def trouble(self) -> Iterator[str]:
        """Say that it takes long, before it is too long."""
        if self.age > min(self.limit / 2, 10.0):
            yield f"{self.job.name}: in one step for {self.age:.0f} s"

    def _read_pulse(self) -> object:
        """Return something that changes with each step, and with each message of a step that handles several."""
        counts = getattr(self.job, "counts", None)
        return self.loop.steps, repr(counts) if is_attrs(type(counts)) else None


def _stack(thread: int | None) -> list[str]:
    frame = sys._current_frames().get(thread or 0)
    return ["(its thread is gone)\n"] if frame is None else traceback.format_stack(frame)
