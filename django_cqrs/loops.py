"""The loop with Django's connections: what a daemon, a test and a Celery task have in common."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from django.db import Error, OperationalError, ProgrammingError, connections, reset_queries

from simplecqrs.bell import Bell, Stop
from simplecqrs.loop import Job, Loop

__all__ = ["close", "lacks_tables", "make_loop", "recover", "run"]

log = logging.getLogger("django_cqrs")


def run(jobs: Sequence[Job] | Loop, *, seconds: float | None = None, drain: bool = False) -> int:
    """
    Run jobs, and return how many steps did something.

    Args:
        jobs: what is to be done, or a loop of them that somebody wants to look at meanwhile.
        seconds: stop after so long.
        drain: stop as soon as there is nothing to do.
    """
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:  # as it is in a test
            connection.close_if_unusable_or_obsolete()
    loop = jobs if isinstance(jobs, Loop) else make_loop(jobs)
    try:
        return loop.run(seconds=seconds, drain=drain)
    finally:
        close(loop.jobs)


def close(jobs: Sequence[Any]) -> None:
    """Let jobs give back in order what they hold; a database that is down now takes it back by itself."""
    for job in jobs:
        try:
            getattr(job, "close", lambda: None)()
        except Error as error:
            log.info("%s could not be closed: %s", job.name, error)


def make_loop(
    jobs: Sequence[Job], stop: Stop | None = None, *, bell: Bell | None = None, cap: Callable[[], float] | None = None
) -> Loop:
    """Return a loop that survives database errors and keeps no list of its queries, as DEBUG would."""
    patience = {} if cap is None else {"cap": cap}
    return Loop(jobs, stop or Stop(), recover=recover, after_step=reset_queries, bell=bell, **patience)


def recover(error: Exception) -> bool:
    """Drop broken connections after a database error; the loop pauses and tries again."""
    if not isinstance(error, Error) or lacks_tables(error):
        return False
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()
    return True


def lacks_tables(error: Exception) -> bool:
    """Tell whether a database error says that ``migrate`` has not been run yet."""
    text = str(error)
    return isinstance(error, (OperationalError, ProgrammingError)) and (
        "no such table" in text
        or ("relation" in text and "does not exist" in text)
        or ("Table" in text and "doesn't exist" in text)
    )
