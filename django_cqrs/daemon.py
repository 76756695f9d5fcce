"""What the long-running commands have in common: signals, processes, and what they say."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import django
from attrs import define, field
from django.core.management.base import OutputWrapper
from django.utils.module_loading import import_string

from django_cqrs.loops import make_loop, run
from simplecqrs.errors import BrokerDown
from simplecqrs.loop import Job, Loop

__all__ = ["multiply", "serve", "stopping"]

log = logging.getLogger("django_cqrs")

#: Makes the jobs of a loop; is given what tells whether it is stopping.
MakeJobs = Callable[[Callable[[], bool]], Sequence[Job]]

#: Seconds between two lines of a live terminal, and of a log.
LIVE, LOGGED = 0.5, 10.0


@contextmanager
def stopping() -> Generator[threading.Event, None, None]:
    """
    Give an event that SIGTERM and SIGINT set; a second signal ends the process at once, with 1.

    A worker process hears a terminal's or a supervisor's signal to the whole group, and then its parent's: for it the
    second one is no impatience.  If the parent ends at once, the worker finishes its step and ends as well.
    """
    stop = threading.Event()
    is_worker = multiprocessing.parent_process() is not None

    def on_signal(number: int, frame: object) -> None:
        if stop.is_set() and not is_worker:
            os._exit(1)
        stop.set()

    if threading.current_thread() is not threading.main_thread():  # as in tests: signals are the main thread's
        yield stop
        return
    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def serve(make_jobs: MakeJobs, out: OutputWrapper, *, once: bool = False, drain: bool = False) -> None:
    """
    Run jobs until a signal, and say what they do: a live line on a terminal, log lines elsewhere.

    Args:
        make_jobs: makes them; is given what they may ask whether the loop is stopping.
        once: one step of each job.
        drain: until there is nothing left to do.

    Raises:
        BrokerDown: if the loop was to drain, and a job could not.
    """
    with stopping() as stop:
        jobs = make_jobs(stop.is_set)
        meter = Meter(out, jobs)
        metered = [Metered(job, meter) for job in jobs]
        if once:
            for job in metered:
                job.step()
        else:
            meter.loop = make_loop([*metered, Orphaned(stop)], stop)
            run(meter.loop, drain=drain)
    meter.close()
    if drain and meter.loop is not None and meter.loop.down:
        raise BrokerDown(f"not drained: {'; '.join(meter.loop.down)}")


@define
class Meter:
    """Counts what jobs do and says so now and then."""

    out: OutputWrapper
    jobs: Sequence[Any] = ()
    loop: Loop | None = None
    counts: dict[str, int] = field(factory=dict)
    _said: float = field(factory=time.monotonic)
    _said_counts: dict[str, int] = field(factory=dict)

    def add(self, name: str, number: int) -> None:
        """Count, and say so if it is time."""
        self.counts[name] = self.counts.get(name, 0) + number
        every = LIVE if self.out.isatty() else LOGGED
        if time.monotonic() - self._said >= every:
            self.say()

    def say(self) -> None:
        """Write one line: what was done in all, how fast lately, and what pauses."""
        now = time.monotonic()
        seconds = max(now - self._said, 0.001)
        parts = [
            f"{name} {count:,} ({(count - self._said_counts.get(name, 0)) / seconds:,.0f}/s)"
            for name, count in self.counts.items()
        ]
        down = self.loop.down if self.loop is not None else []
        line = " | ".join([*parts, *asides(self.jobs), *(f"PAUSED {reason}" for reason in down)])
        if self.out.isatty():
            self.out.write(f"\r\x1b[2K{line[:200]}", ending="")
            self.out.flush()
        elif self.counts != self._said_counts or down:
            self.out.write(line)
        self._said, self._said_counts = now, dict(self.counts)

    def close(self) -> None:
        """Write the last line."""
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


@define
class Orphaned:
    """Ends a worker process whose parent is gone."""

    stop: threading.Event
    name: str = "parent"
    _parent: int = field(factory=os.getppid)

    def step(self) -> int:
        """Look whether the process has another parent than at its start."""
        if multiprocessing.parent_process() is not None and os.getppid() != self._parent:
            self.stop.set()
        return 0


def multiply(number: int, target: str, options: Mapping[str, Any]) -> None:
    """
    Run a function in so many processes, and start anew those that die, until a signal or until all are done.

    Args:
        target: the dotted path of the function, which is imported once Django is set up in the process.
        options: of a management command; they are its argument.
    """
    spawn = multiprocessing.get_context("spawn")
    plain = {name: value for name, value in options.items() if name not in ("stdout", "stderr")}

    def start() -> Any:
        process = spawn.Process(target=_in_process, args=(target, plain))
        process.start()
        return process

    with stopping() as stop:
        processes = [start() for _ in range(number)]
        while not stop.wait(0.2) and any(process.exitcode != 0 for process in processes):
            for index, process in enumerate(processes):
                if process.exitcode:
                    log.error("worker process %s ended with %s; starting another", process.pid, process.exitcode)
                    processes[index] = start()
    for process in processes:
        process.terminate()
    for process in processes:
        process.join()


def _in_process(target: str, options: Mapping[str, Any]) -> None:
    django.setup()
    import_string(target)(options, out=OutputWrapper(sys.stdout))
