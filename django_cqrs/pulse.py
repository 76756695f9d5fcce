"""The pulse of a process: writes down now and then what its jobs have done, and that they are alive."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from attrs import frozen
from django.db import Error, connections, transaction

from django_cqrs.brokers import INBOXES
from django_cqrs.counting import Counted, ledger, where
from django_cqrs.loops import make_loop
from django_cqrs.tallies import add
from django_cqrs.workers import TICKS, Beat, beat, forget, leave
from simplecqrs.loop import Job, Loop

__all__ = ["Pulse", "Sign", "record", "recorded", "trouble_of"]

log = logging.getLogger("django_cqrs")

#: Seconds between two writes of what was done, and between two heartbeats; those who say nothing are looked for hourly.
WRITES, BEATS, HOURLY = 10.0, 20.0, 3600.0
#: Seconds that the end of a process waits for the last write.
LAST = 2.0

#: What is written besides what was counted.
Rest = Callable[[], object] | None


@frozen
class Sign:
    """
    What a job looks like now.

    Args:
        rings: how often it was woken.
        age: seconds since its step has made progress.
        trouble: for what it pauses.
    """

    job: Any
    rings: int = 0
    age: float = 0.0
    trouble: str = ""


class Pulse:
    """
    Writes in a thread of its own, so that a database that hangs is nobody else's trouble.

    A write that fails is logged, once until one succeeds; what was counted is written later.

    Args:
        look: returns the signs of all jobs of this process, always the same ones.
    """

    def __init__(self, look: Callable[[], Sequence[Sign]]) -> None:
        self._look = look
        self._counted = _counted([sign.job for sign in look()])
        self._aliases = _aliases(self._counted)
        self._began = time.monotonic()
        self._ending = threading.Event()
        self._failing: set[str] = set()
        self._said: list[str] = []
        self._said_at = float("-inf")
        self._thread = threading.Thread(target=self._run, name="cqrs pulse", daemon=True)

    def start(self) -> None:
        """Begin, if there is a job of ours."""
        if self._counted:
            self._thread.start()

    def close(self) -> None:
        """Write for the last time, and forget the workers of this process."""
        self._ending.set()
        if self._counted:
            self._thread.join(LAST)

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                self.write()
                self._ending.wait(WRITES)
            self._note()
            for alias in self._aliases:
                self._write(alias, partial(leave, alias))
        except Exception:
            log.exception("the pulse has stopped: what this process does is not recorded any more")
        finally:
            connections.close_all()

    def write(self) -> None:
        """Write what there is to write by now."""
        signs, now = self._note(), time.monotonic()
        troubles = [sign.trouble for sign in signs]
        is_due = now - self._said_at >= BEATS or troubles != self._said
        for alias in self._aliases:
            beats = [_beat(sign, one, now - self._began) for sign, one in self._of(alias, signs)] if is_due else []
            self._write(alias, partial(_say, alias, beats) if beats else None)
        if is_due:
            self._said, self._said_at = troubles, now

    def _note(self) -> Sequence[Sign]:
        signs = self._look()
        for alias in self._aliases:
            for sign, one in self._of(alias, signs):
                ledger.note(alias, one.entries(sign.rings))
        ledger.note_doors()
        return signs

    def _of(self, alias: str, signs: Sequence[Sign]) -> list[tuple[Sign, Counted]]:
        counted = {id(one.job): one for one in self._counted if one.place[0] == alias}
        return [(sign, counted[id(sign.job)]) for sign in signs if id(sign.job) in counted]

    def _write(self, alias: str, rest: Rest) -> None:
        if _survives(alias, rest, is_first=alias not in self._failing):
            self._failing.discard(alias)
        else:
            self._failing.add(alias)


@contextmanager
def recorded(jobs: Sequence[Job], loop: Loop | None = None) -> Generator[Loop, None, None]:
    """
    Give a loop of jobs that run for a while, as a tick does, and write down at its end what they have done.

    Args:
        loop: that has these jobs, if there is one already.
    """
    loop = loop or make_loop(jobs)
    counted = _counted(jobs)
    try:
        yield loop
    finally:
        record(counted, loop.down)


def record(counted: Sequence[Counted], down: Sequence[str] = ()) -> None:
    """
    Write what a tick has done, and now and then that there are ticks.

    Args:
        down: what pauses, and for what.
    """
    for one in counted:
        ledger.note(one.place[0], one.entries())
    ledger.note_doors()
    now = time.monotonic()
    for alias in _aliases(counted):
        due = [one for one in counted if one.place[0] == alias and _is_due(one, now)]
        beats = [_beat(Sign(one.job, trouble=trouble_of(one.job, down)), one, 0.0) for one in due]
        if _survives(alias, partial(_say, alias, beats, pid=TICKS) if beats else None):
            _ticked.update({(alias, one.job.name): now for one in due})


#: When the ticks of this process have last said that there are any, for each alias and job.
_ticked: dict[tuple[str, str], float] = {}


def _aliases(counted: Sequence[Counted]) -> list[str]:
    """Return where something may have been counted: a relay of any alias fills the inboxes."""
    return sorted({INBOXES, *(one.place[0] for one in counted)}) if counted else []


def _is_due(one: Counted, now: float) -> bool:
    return now - _ticked.get((one.place[0], one.job.name), float("-inf")) >= BEATS


def _counted(jobs: Sequence[Any]) -> list[Counted]:
    places = [(job, where(job)) for job in jobs]
    return [Counted(job, place) for job, place in places if place is not None]


def trouble_of(job: Any, down: Sequence[str]) -> str:
    """Return for what a job pauses, of what its loop says is down."""
    said = f"{job.name}: "
    return next((text.removeprefix(said) for text in down if text.startswith(said)), "")


def _beat(sign: Sign, one: Counted, up: float) -> Beat:
    _, box, queue = one.place
    return Beat(job=sign.job.name, box=box, queue=queue, up=up, age=sign.age, trouble=sign.trouble)


def _say(alias: str, beats: Sequence[Beat], *, pid: int | None = None) -> None:
    """Write heartbeats, and forget those who have said nothing for long: now, and once an hour."""
    beat(alias, beats, pid=pid)
    if time.monotonic() - _forgot.get(alias, float("-inf")) >= HOURLY:
        forget(alias)
        _forgot[alias] = time.monotonic()


#: When this process has last forgotten others, for each alias.
_forgot: dict[str, float] = {}


def _survives(alias: str, rest: Rest, *, is_first: bool = True) -> bool:
    """Write, and tell whether that was possible; if not, what was counted is written later."""
    if rest is None and not ledger.has(alias):
        return True
    try:
        _write(alias, rest)
    except Error as error:
        if is_first:
            log.warning("%r: what was done is not recorded now, but later: %s", alias, error)
        if not connections[alias].in_atomic_block:
            connections[alias].close()
        return False
    return True


def _write(alias: str, rest: Rest) -> None:
    """Write what was counted, and do the rest; on SQLite as one write, which keeps others waiting once."""
    do = rest or (lambda: None)
    if connections[alias].vendor == "sqlite":
        with ledger.taken(alias) as waiting, transaction.atomic(using=alias):
            add(alias, waiting)
            do()
        return
    with ledger.taken(alias) as waiting:
        add(alias, waiting)
    do()
