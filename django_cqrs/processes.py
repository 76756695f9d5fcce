"""The processes of the long-running commands: signals, workers, and workers whose parent is gone."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import django
from django.core.management.base import OutputWrapper
from django.utils.module_loading import import_string

from simplecqrs.bell import Stop

# A worker process imports this before Django is set up in it, so nothing here may need the models.

__all__ = ["LOST", "end_if_orphaned", "multiply", "stopping"]

log = logging.getLogger("django_cqrs")

#: The exit code of a command that knows of messages that are lost.
LOST = 2


@contextmanager
def stopping() -> Generator[Stop, None, None]:
    """
    Give a stop that SIGTERM and SIGINT set; a second signal ends the process at once, with 1.

    A worker process hears a terminal's or a supervisor's signal to the whole group, and then its parent's: for it the
    second one is no impatience.  If the parent ends at once, the worker finishes its step and ends as well.
    """
    stop = Stop()
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


def multiply(number: int, target: str, options: Mapping[str, Any]) -> int:
    """
    Run a function in so many processes, and start anew those that die, until a signal or until all are done.

    Args:
        target: the dotted path of the function, which is imported once Django is set up in the process.  It returns
            how much was lost, if it can tell.
        options: of a management command; they are its argument.

    Returns:
        How many of the processes have lost something.
    """
    spawn = multiprocessing.get_context("spawn")
    plain = {name: value for name, value in options.items() if name not in ("stdout", "stderr")}

    def start() -> Any:
        process = spawn.Process(target=_in_process, args=(target, plain))
        process.start()
        return process

    with stopping() as stop:
        processes = [start() for _ in range(number)]
        while not stop.wait(0.2) and any(process.exitcode not in (0, LOST) for process in processes):
            for index, process in enumerate(processes):
                if process.exitcode not in (None, 0, LOST):
                    log.error("worker process %s ended with %s; starting another", process.pid, process.exitcode)
                    processes[index] = start()
    for process in processes:
        process.terminate()
    for process in processes:
        process.join()
    return sum(process.exitcode == LOST for process in processes)


def _in_process(target: str, options: Mapping[str, Any]) -> None:
    django.setup()
    if import_string(target)(options, out=OutputWrapper(sys.stdout)):
        sys.exit(LOST)


_parent = os.getppid()


def end_if_orphaned(stop: Stop) -> None:
    """Set the stop if this is a worker process whose parent is gone."""
    if multiprocessing.parent_process() is not None and os.getppid() != _parent:
        stop.set()
