"""What the long-running commands do: jobs, until a signal, until a time, or until nothing is left to do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import define
from django.core.management.base import OutputWrapper
from django.db import Error

from django_cqrs.alive import Alive
from django_cqrs.bells import Bells, place_of, ringing_here
from django_cqrs.crew import Crew
from django_cqrs.listening import listening
from django_cqrs.loops import close, make_loop, recover, run
from django_cqrs.meter import Meter, Metered
from django_cqrs.processes import end_if_orphaned, stopping
from django_cqrs.pulse import recorded
from simplecqrs.backoff import pause
from simplecqrs.bell import Stop
from simplecqrs.errors import BrokerDown
from simplecqrs.loop import DOWN_CAP, DOWN_FIRST, Job

__all__ = ["serve"]

log = logging.getLogger("django_cqrs")

#: Makes the jobs; is given what tells whether it is stopping.
MakeJobs = Callable[[Callable[[], bool]], Sequence[Job]]


def serve(
    make_jobs: MakeJobs,
    out: OutputWrapper,
    *,
    once: bool = False,
    drain: bool = False,
    seconds: float | None = None,
    alive: Path | None = None,
) -> None:
    """
    Run jobs until a signal, each in a thread of its own, and say what they do.

    Args:
        make_jobs: makes them; is given what they may ask whether they are to stop.
        once: one step of each job.
        drain: until there is nothing left to do.  That is when a whole round of all jobs did nothing, for one makes
            work for another; so they take turns, in this thread.
        seconds: stop after so long.
        alive: a file to touch meanwhile.

    Raises:
        NotConfigured: if that file cannot be touched.
        BrokerDown: if all was to be done, and a job could not.
    """
    with Alive(alive) as touched, stopping() as stop:
        jobs = make_jobs(stop.is_set) if once or drain else _patiently(make_jobs, stop, touched)
        meter = Meter(out, jobs)
        if once:
            _once(jobs, meter)
        elif drain:
            _drain(jobs, stop, meter, seconds)
        else:
            _work(jobs, stop, meter, seconds, touched)
    meter.close()


def _patiently(make_jobs: MakeJobs, stop: Stop, alive: Alive) -> Sequence[Job]:
    """Make the jobs when the database is there: a daemon that starts with it, or before, waits like one that runs."""
    failures = 0
    while not stop.is_set():
        try:
            return make_jobs(stop.is_set)
        except Error as error:
            if not recover(error):
                raise
            failures += 1
            seconds = pause(failures, first=DOWN_FIRST, cap=DOWN_CAP)
            log.warning("cannot begin: %s: %s; next attempt in %.1f s", type(error).__name__, error, seconds)
            alive.tell()
            stop.wait(seconds)
    return []


def _once(jobs: Sequence[Job], meter: Meter) -> None:
    with recorded(jobs):
        try:
            for job in jobs:
                Metered(job, meter).step()
        finally:
            close(jobs)


def _drain(jobs: Sequence[Job], stop: Stop, meter: Meter, seconds: float | None) -> None:
    loop = make_loop([*(Metered(job, meter) for job in jobs), _Orphaned(stop)], stop)
    meter.troubles = lambda: [f"PAUSED {reason}" for reason in loop.down]
    with recorded(jobs, loop):
        run(loop, drain=True, seconds=seconds)
    if loop.down:
        meter.close()
        raise BrokerDown(f"not drained: {'; '.join(loop.down)}")


def _work(jobs: Sequence[Job], stop: Stop, meter: Meter, seconds: float | None, alive: Alive) -> None:
    bells = Bells(stop)
    aliases = {place[0] for place in map(place_of, jobs) if place is not None}
    with ringing_here(bells), listening(sorted(aliases), bells):
        Crew(jobs, stop, bells, meter, alive=alive).run(seconds=seconds)


@define
class _Orphaned:
    """Ends a worker process that drains and whose parent is gone."""

    stop: Stop
    name: str = "parent"

    def step(self) -> int:
        end_if_orphaned(self.stop)
        return 0
