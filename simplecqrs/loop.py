"""The loop that drives relays, fetchers and consumers: adaptive polling, pauses after failures, a clean stop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from attrs import define, field

from simplecqrs.backoff import pause
from simplecqrs.errors import BrokerDown

__all__ = ["Job", "Loop"]

log = logging.getLogger("simplecqrs.loop")

#: Seconds: the first and the longest wait when there is nothing to do, and after failures.
IDLE_FIRST, IDLE_CAP = 0.005, 0.1
DOWN_FIRST, DOWN_CAP = 0.1, 30.0


class Job(Protocol):
    """Something that is done step by step."""

    @property
    def name(self) -> str:
        """Name the job in log lines."""
        ...

    def step(self) -> Any:
        """Do a little, and return something true if there was work.  Raises BrokerDown."""
        ...


@define
class _Turn:
    job: Job
    at: float = 0.0
    idle: float = IDLE_FIRST
    failures: int = 0
    error: str = ""


@define
class Loop:
    """
    Run jobs in turn until told to stop; one that fails pauses, the others go on.

    Args:
        jobs: what is to be done.
        stop: set it, from a signal handler or another thread, and the loop ends after the step it is in.
        recover: called with each error that is not the broker's, to say whether the loop may go on.
        after_step: called after each step, to tidy up.
    """

    jobs: Sequence[Job]
    stop: threading.Event = field(factory=threading.Event)
    recover: Callable[[Exception], bool] = field(default=lambda error: False)
    after_step: Callable[[], object] = field(default=lambda: None)
    _turns: list[_Turn] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._turns = [_Turn(job) for job in self.jobs]

    def run(self, *, seconds: float | None = None, drain: bool = False) -> int:
        """
        Run, and return how many steps did something.

        Args:
            seconds: stop after so long.
            drain: stop as soon as no job has anything to do, or can do it.
        """
        ends = None if seconds is None else time.monotonic() + seconds
        worked = 0
        while not self.stop.is_set() and (ends is None or time.monotonic() < ends):
            now = time.monotonic()
            busy = [turn for turn in self._turns if self._is_due(turn, now, drain=drain) and self._step(turn)]
            worked += len(busy)
            if drain and not busy:
                break
            if not busy:
                self._wait(ends)
        return worked

    @property
    def down(self) -> list[str]:
        """Say which jobs are pausing after a failure, and why."""
        return [f"{turn.job.name}: {turn.error}" for turn in self._turns if turn.failures]

    def _is_due(self, turn: _Turn, now: float, *, drain: bool) -> bool:
        """While draining, an idle job is asked in each round: another one may just have made work for it."""
        return not self.stop.is_set() and (turn.at <= now or (drain and not turn.failures))

    def _wait(self, ends: float | None) -> None:
        until = min((turn.at for turn in self._turns), default=time.monotonic() + IDLE_CAP)
        if ends is not None:
            until = min(until, ends)
        self.stop.wait(max(0.0, until - time.monotonic()))

    def _step(self, turn: _Turn) -> bool:
        try:
            worked = bool(turn.job.step())
        except Exception as error:
            if not isinstance(error, BrokerDown) and not self.recover(error):
                raise
            self._pause(turn, error)
            return False
        finally:
            self.after_step()
        if turn.failures:
            log.warning("%s is back after %d failures", turn.job.name, turn.failures)
            turn.failures, turn.error = 0, ""
        turn.idle = IDLE_FIRST if worked else min(turn.idle * 2, IDLE_CAP)
        turn.at = 0.0 if worked else time.monotonic() + turn.idle
        return worked

    def _pause(self, turn: _Turn, error: Exception) -> None:
        turn.failures += 1
        turn.error = f"{type(error).__name__}: {error}"
        seconds = pause(turn.failures, first=DOWN_FIRST, cap=DOWN_CAP)
        turn.at = time.monotonic() + seconds
        log.warning("%s: %s; nothing is lost, next attempt in %.1f s", turn.job.name, turn.error, seconds)
