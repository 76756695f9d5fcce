"""The loop that drives relays, fetchers and consumers: adaptive polling, pauses after failures, a clean stop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from attrs import define, field

from simplecqrs.backoff import pause
from simplecqrs.bell import Bell, Stop
from simplecqrs.errors import BrokerDown

__all__ = ["DOWN_CAP", "DOWN_FIRST", "Job", "Loop"]

log = logging.getLogger("simplecqrs.loop")

#: Seconds: the first and the longest wait when there is nothing to do, and after failures.
IDLE_FIRST, IDLE_CAP = 0.002, 0.1
DOWN_FIRST, DOWN_CAP = 0.1, 5.0


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
    idle: float = 0.0
    failures: int = 0
    error: str = ""


@define
class Loop:
    """
    Run jobs in turn until told to stop; one that fails pauses, the others go on.

    A job that had nothing to do is asked again after 2, 4, 8 milliseconds and so on, and at once when the bell rings.

    Args:
        jobs: what is to be done.
        stop: set it, from a signal handler or another thread, and the loop ends after the step it is in.
        recover: called with each error that is not the broker's, to say whether the loop may go on.
        after_step: called after each step, to tidy up.
        bell: rings when there may be work, and when the loop is to stop (``Stop.rings``).  None: it polls.
        cap: asked for the longest time to let an idle job be, in seconds; longer where the bell is sure to ring.

    Attributes:
        steps: how many steps were begun.
        current: the job whose step is being done.
    """

    jobs: Sequence[Job]
    stop: Stop | threading.Event = field(factory=Stop)
    recover: Callable[[Exception], bool] = field(default=lambda error: False)
    after_step: Callable[[], object] = field(default=lambda: None)
    bell: Bell | None = field(default=None, kw_only=True)
    cap: Callable[[], float] = field(default=lambda: IDLE_CAP, kw_only=True)
    steps: int = field(default=0, init=False)
    current: Job | None = field(default=None, init=False)
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
        worked, heard = 0, -1
        while not self.stop.is_set() and (ends is None or time.monotonic() < ends):
            rings = self._rings()
            if rings != heard:
                self._awaken()
                heard = rings
            now = time.monotonic()
            busy = [turn for turn in self._turns if self._is_due(turn, now, drain=drain) and self._step(turn)]
            worked += len(busy)
            if drain and not busy:
                break
            if not busy:
                self._wait(ends, heard)
        return worked

    @property
    def down(self) -> list[str]:
        """Say which jobs are pausing after a failure, and why."""
        return [f"{turn.job.name}: {turn.error}" for turn in self._turns if turn.failures]

    def _rings(self) -> int:
        return 0 if self.bell is None else self.bell.rings

    def _awaken(self) -> None:
        """Let idle jobs be due; one that pauses after a failure is not to be hurried."""
        for turn in self._turns:
            if not turn.failures:
                turn.at = turn.idle = 0.0

    def _is_due(self, turn: _Turn, now: float, *, drain: bool) -> bool:
        """While draining, an idle job is asked in each round: another one may just have made work for it."""
        return not self.stop.is_set() and (turn.at <= now or (drain and not turn.failures))

    def _wait(self, ends: float | None, heard: int) -> None:
        now = time.monotonic()
        until = min((turn.at for turn in self._turns), default=now + IDLE_CAP)
        if ends is not None:
            until = min(until, ends)
        if self.bell is None:
            self.stop.wait(max(0.0, until - now))
        elif not self.stop.is_set():  # whoever sets it rings afterwards
            self.bell.wait(heard, max(0.0, until - now))

    def _step(self, turn: _Turn) -> bool:
        self.steps += 1
        self.current = turn.job
        try:
            worked = bool(turn.job.step())
        except Exception as error:
            if not isinstance(error, BrokerDown) and not self.recover(error):
                raise
            self._pause(turn, error)
            return False
        finally:
            self.current = None
            self.after_step()
        if turn.failures:
            log.warning("%s is back after %d failures", turn.job.name, turn.failures, extra={"cqrs_job": turn.job.name})
            turn.failures, turn.error = 0, ""
        turn.idle = 0.0 if worked else min(turn.idle * 2 or IDLE_FIRST, self.cap())
        turn.at = 0.0 if worked else time.monotonic() + turn.idle
        return worked

    def _pause(self, turn: _Turn, error: Exception) -> None:
        turn.failures += 1
        turn.error = f"{type(error).__name__}: {error}"
        seconds = pause(turn.failures, first=DOWN_FIRST, cap=DOWN_CAP)
        turn.at = time.monotonic() + seconds
        log.warning(
            "%s: %s; nothing is lost, next attempt in %.1f s", turn.job.name, turn.error, seconds,
            extra={"cqrs_job": turn.job.name, "cqrs_failures": turn.failures},
        )  # fmt: skip
