"""Workers: which processes do which jobs, whether they are alive, and what troubles them."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from datetime import datetime, timedelta

from attrs import frozen
from django.db import connections

from django_cqrs.databases import dialect, now
from django_cqrs.databases.upserts import NEW, upsert
from django_cqrs.models import Worker
from django_cqrs.rows import text
from simplecqrs.messages import LONGEST

__all__ = ["FETCHER", "SILENT", "TICKS", "Beat", "WorkerState", "beat", "forget", "leave", "workers"]

#: Seconds after which a worker that says nothing is silent, and after which it is forgotten.
SILENT, FORGOTTEN = 60.0, 3600.0
#: The process of what is done in ticks.
TICKS = 0
#: How the job begins that fills an inbox.
FETCHER = "fetcher "
#: Characters of a trouble that are kept.
TROUBLE = 500
#: Workers that are read.
MOST = 1000
KEY = ("host", "pid", "job")
MERGED: dict[str, str] = dict.fromkeys(("box", "queue", "since", "at", "age", "trouble"), NEW)


@frozen(kw_only=True)
class Beat:
    """
    What a job says of itself.

    Args:
        up: seconds since it began.
        age: seconds since its step has made progress; 0 between two steps.
        trouble: for what it pauses.
    """

    job: str
    box: str = ""
    queue: str = ""
    up: float = 0.0
    age: float = 0.0
    trouble: str = ""


@frozen(kw_only=True)
class WorkerState:
    """
    A job of a process, as it has last said of itself.

    Args:
        pid: its process; 0 for ticks, which any process of that host does.
        up: seconds since it began.
        silent: seconds since it has said so.
        age: seconds for which its step had made no progress then.
    """

    host: str
    pid: int
    job: str
    box: str
    queue: str
    since: datetime
    up: float
    silent: float
    age: float
    trouble: str

    @property
    def is_alive(self) -> bool:
        """Tell whether it has said something lately."""
        return self.silent <= SILENT

    @property
    def who(self) -> str:
        """Name the process."""
        return f"{self.host} {self.pid}" if self.pid else f"{self.host}, ticks"

    @property
    def works(self) -> bool:
        """Tell whether it empties its queue; a fetcher fills it."""
        return bool(self.queue) and not self.job.startswith(FETCHER)


def beat(alias: str, beats: Sequence[Beat], *, pid: int | None = None) -> None:
    """Write down that these jobs of this process are alive, by one statement."""
    speech, process = dialect(alias), os.getpid() if pid is None else pid
    rows = [
        [_host(), process, said.job[:LONGEST], said.box, said.queue, -said.up, said.age, text(said.trouble[:TROUBLE])]
        for said in sorted(beats, key=lambda said: said.job)
    ]
    expressions = {"since": speech.later, "at": speech.now}
    upsert(connections[alias], Worker._meta.db_table, KEY, MERGED, rows, values=expressions)


def leave(alias: str) -> None:
    """Forget the jobs of this process, which has ended in order."""
    Worker.objects.using(alias).filter(host=_host(), pid=os.getpid()).delete()


def forget(alias: str) -> None:
    """Forget those who have said nothing for an hour."""
    Worker.objects.using(alias).filter(at__lt=now(alias) - timedelta(seconds=FORGOTTEN)).delete()


def workers(alias: str) -> list[WorkerState]:
    """Return all jobs of all processes that have said something within an hour."""
    found = Worker.objects.using(alias).annotate(now=now(alias)).order_by("job", "host", "pid")
    states = [
        WorkerState(
            host=row.host, pid=row.pid, job=row.job, box=row.box, queue=row.queue, since=row.since, age=row.age,
            trouble=row.trouble, up=_between(row.since, row.now), silent=_between(row.at, row.now),
        )
        for row in found[:MOST]
    ]  # fmt: skip
    return [state for state in states if state.silent <= FORGOTTEN]


def _between(since: datetime, until: datetime) -> float:
    return max(0.0, (until - since).total_seconds())


def _host() -> str:
    return socket.gethostname()[:LONGEST]
