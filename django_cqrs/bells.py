"""The bells of a process that runs loops: one for each queue that is worked there."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any, cast

from attrs import define, field
from django.db import connections

from simplecqrs.bell import Bell, Stop
from simplecqrs.loop import IDLE_CAP

__all__ = ["Bells", "is_ringing_here", "place_of", "ring_here", "ringing_here"]

#: Seconds between two looks at a queue in which nothing happens: while a listener hears of each commit, and without.
HEARING, POLLING, POLLING_FILE = 1.0, 0.05, 0.02


def place_of(job: Any) -> tuple[str, str] | None:
    """Return the alias and the name of the queue that a job works; None if it waits for something else."""
    if hasattr(job, "place"):
        return cast("tuple[str, str]", job.place)
    storage = getattr(job, "storage", None)
    alias = getattr(storage, "alias", None)
    if storage is None or alias is None:
        return None
    return alias, f"{storage.box}:{job.queue if storage.box == 'outbox' else job.consumer}"


@define
class Bells:
    """
    Bells for the queues that jobs work, and how patient the jobs may be.

    Args:
        stop: rings all of them.

    Attributes:
        hearing: the aliases with a listener that hears of each commit.
    """

    stop: Stop
    hearing: set[str] = field(factory=set)
    _bells: dict[tuple[str, str] | None, Bell] = field(factory=dict)
    #: Where jobs that work in several schemas read in which one it rang.
    _schemas: dict[tuple[str, str], list[deque[str | None]]] = field(factory=dict)

    def bell(self, job: Any) -> Bell:
        """Return the bell of the queue that a job works; jobs of one queue share it."""
        place = place_of(job)
        if place not in self._bells:
            self._bells[place] = self.stop.rings(Bell())
        if place is not None and hasattr(job, "attend"):
            job.attend(self._bells[place], lambda: place[0] in self.hearing)
            if hasattr(job, "rung"):
                self._schemas.setdefault(place, []).append(job.rung)
        elif hasattr(job, "rung"):  # nobody tells of its work
            job.attend(self._bells[place], lambda: False)
        elif place is not None and hasattr(job, "bell"):
            job.bell = self._bells[place]
        return self._bells[place]

    def cap(self, job: Any) -> Callable[[], float]:
        """Return what tells how long a job may be let be while it is idle, in seconds."""
        place = place_of(job)
        if place is None or hasattr(job, "attend"):  # which knows itself when to look
            return lambda: IDLE_CAP
        alias = place[0]
        polling = POLLING_FILE if connections[alias].vendor == "sqlite" else POLLING
        return lambda: HEARING if alias in self.hearing else polling

    def ring(self, alias: str, names: Iterable[str] | None = None, schema: str | None = None) -> None:
        """
        Ring for these queues of an alias; for all of them, if none are named.

        Args:
            schema: in which there is work; None: nobody knows, or there are none.
        """
        for place in self._places(alias) if names is None else [(alias, name) for name in names]:
            for rung in self._schemas.get(place, ()):
                rung.append(schema)
            if place in self._bells:
                self._bells[place].ring()

    def _places(self, alias: str) -> list[tuple[str, str]]:
        return [place for place in list(self._bells) if place is not None and place[0] == alias]


_here: list[Bells] = []


@contextmanager
def ringing_here(bells: Bells) -> Generator[None, None, None]:
    """Let what this process commits ring its own bells, without a way through the database."""
    _here.append(bells)
    try:
        yield
    finally:
        _here.remove(bells)


def ring_here(alias: str, names: Iterable[str], schema: str | None = None) -> None:
    """Ring for queues that are worked in this process."""
    for bells in _here:
        bells.ring(alias, names, schema)


def is_ringing_here() -> bool:
    """Tell whether this process runs loops."""
    return bool(_here)
