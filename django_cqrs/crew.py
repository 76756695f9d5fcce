"""The crew of a daemon: a thread for each job, so that none waits for another."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field
from django.db import connections

from django_cqrs.alive import Alive
from django_cqrs.bells import Bells
from django_cqrs.loops import close, make_loop
from django_cqrs.meter import Meter, Metered
from django_cqrs.processes import end_if_orphaned
from django_cqrs.pulse import Pulse, Sign, trouble_of
from django_cqrs.watchdog import Watch, limit_of
from simplecqrs.bell import Bell, Stop
from simplecqrs.loop import Job, Loop

__all__ = ["Crew"]

#: Seconds between two looks of the main thread at the others.
TICK = 0.25


@define
class Crew:
    """
    Run each job in a thread of its own, until the stop is set.

    A handler or a broker that hangs delays no other.  An error that a loop does not survive (a bug, missing tables)
    ends all of them, and is raised in the thread that called ``run``, which does nothing but wait and watch.

    Args:
        limit: asked for the seconds that a job may go without progress, see ``Watch``.
        die: ends the process if a job hangs.
        alive: is told all the time that somebody watches.
    """

    jobs: Sequence[Job]
    stop: Stop
    bells: Bells
    meter: Meter
    limit: Callable[[Any], float] = limit_of
    die: Callable[[int], object] = os._exit
    alive: Alive = field(factory=Alive)
    _hands: list[_Hand] = field(factory=list, init=False)
    _errors: list[BaseException] = field(factory=list, init=False)
    _ended: Bell = field(factory=Bell, init=False)

    def run(self, *, seconds: float | None = None) -> None:
        """
        Run them.

        Args:
            seconds: stop after so long.
        """
        self._hands = [self._hire(job, seconds) for job in self.jobs]
        self.meter.troubles = self.troubles
        pulse = Pulse(self.signs)  # which looks before anything is done
        for hand in self._hands:
            hand.thread.start()
        pulse.start()
        try:
            self._watch()
        finally:
            pulse.close()
        if self._errors:
            raise self._errors[0]

    def troubles(self) -> list[str]:
        """Say what pauses after a failure, and what takes long."""
        down = [f"PAUSED {reason}" for hand in self._hands for reason in hand.loop.down]
        return [*down, *(text for hand in self._hands for text in hand.watch.trouble())]

    def signs(self) -> list[Sign]:
        """Return what each job looks like now."""
        return [hand.sign() for hand in self._hands]

    def _hire(self, job: Job, seconds: float | None) -> _Hand:
        loop = make_loop([Metered(job, self.meter)], self.stop, bell=self.bells.bell(job), cap=self.bells.cap(job))
        # A daemon: if this thread has to give up, the process ends without waiting for those that hang.
        thread = threading.Thread(target=self._work, args=(job, loop, seconds), name=f"cqrs {job.name}", daemon=True)
        return _Hand(loop, thread, Watch(loop, job, self.limit(job), self.die))

    def _work(self, job: Job, loop: Loop, seconds: float | None) -> None:
        try:
            loop.run(seconds=seconds)
        except BaseException as error:  # noqa: BLE001 - it is the main thread's to raise
            self._errors.append(error)
            self.stop.set()
        finally:
            close([job])
            connections.close_all()
            self._ended.ring()

    def _watch(self) -> None:
        """Wait for the end of all threads, and look after them meanwhile."""
        looked = time.monotonic()
        heard = self._ended.rings
        while any(hand.thread.is_alive() for hand in self._hands):
            self._ended.wait(heard, TICK)
            heard, now = self._ended.rings, time.monotonic()
            for hand in self._hands:
                # While the whole process stood still, nobody has hung.
                hand.watch.look(min(now - looked, 4 * TICK), hand.thread.ident)
            looked = now
            end_if_orphaned(self.stop)
            self.alive.tell()
            self.meter.tick()


@define
class _Hand:
    loop: Loop
    thread: threading.Thread
    watch: Watch

    def sign(self) -> Sign:
        bell, job = self.loop.bell, self.watch.job
        return Sign(job, 0 if bell is None else bell.rings, self.watch.age, trouble_of(job, self.loop.down))
