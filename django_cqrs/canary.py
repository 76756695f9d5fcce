"""Retrying dead letters with care: one, then ten, then hundreds, and no further once the same failure repeats."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, repeat
from typing import Any, Literal

from attrs import define, field, frozen

from django_cqrs.actions import Operator
from django_cqrs.bounded import capped, narrowed
from django_cqrs.inspection import BOXES, box_of
from django_cqrs.models import Blocked, Dead
from simplecqrs.letters import Wanted, cause_of

__all__ = ["Canary", "Result"]

#: Seconds between two looks at what became of the letters that were retried.
FIRST_LOOK, LAST_LOOK = 0.02, 1.0
#: What becomes of a letter whose key has failed at an earlier one.
BEHIND = "it waits behind another message of its key, which has failed"
#: What else one can do who hears nothing, at the command line.
ADVICE = "; --run works the queue here, --timeout waits longer, --now does not wait"


@frozen
class Tried:
    """
    A letter that was retried.

    Args:
        row: by which it is found again; 0: it was let in at the door, is new like any message, and is not waited for.
    """

    number: int
    box: Literal["outbox", "inbox"]
    queue: str
    topic: str
    key: str
    row: int
    cause: str


@define
class Result:
    """
    What became of the letters that were retried.

    Attributes:
        refused: numbers of letters that can only be skipped: they were never readable.
        stopped: why the rest was left as it is; empty: nothing is left, or time was up.
        open: how many had no outcome yet when time was up.
    """

    retried: int = 0
    done: int = 0
    failed: Counter[str] = field(factory=Counter[str])
    refused: list[int] = field(factory=list[int])
    stopped: str = ""
    left: int = 0
    open: int = 0


@define
class Canary:
    """
    Retry dead letters in stages, and wait for the outcome of each stage.

    A failure that has the cause for which a letter had died, or that another letter of this run had, is a repeat,
    and ends it.

    Args:
        operator: who retries.
        timeout: seconds that a stage may take.
        say: told what happens.
        work: works a queue of a box for a moment; None: relays and consumers run elsewhere.
        stages: how many are retried at a time; the last one is repeated.
        most: seconds that all of it may take; what is left then is left without a reason.
        advice: what else one can do who hears nothing.
    """

    operator: Operator
    timeout: float
    say: Callable[[str], object]
    work: Callable[[str, str], object] | None = None
    stages: Sequence[int] = (1, 10, 100)
    most: float = math.inf
    advice: str = ADVICE
    result: Result = field(factory=Result)
    _causes: set[str] = field(factory=set[str])
    _until: int = 0
    _ends: float = math.inf

    def run(self, wanted: Wanted, *, after: int = 0) -> Result:
        """
        Retry what is wanted and dead now, the oldest first.

        Args:
            after: only letters with higher numbers.
        """
        every = Dead.objects.using(self.operator.alias).defer("payload").filter(pk__gt=after)
        dead = narrowed(every, wanted).order_by("pk")
        # What dies again has a higher number, and is not retried again.
        self._until = dead.values_list("pk", flat=True).last() or 0
        self._ends = time.monotonic() + self.most
        for size in chain(self.stages, repeat(self.stages[-1])):
            page = list(dead.filter(pk__gt=after, pk__lte=self._until)[:size])
            if not page:
                break
            after = page[-1].pk
            if not self._stage(page) or time.monotonic() >= self._ends:
                self.result.left = capped(dead.filter(pk__gt=after, pk__lte=self._until))
                break
        return self.result

    def _stage(self, page: Sequence[Dead]) -> bool:
        """Retry some letters and tell whether the next ones may be retried."""
        tried = list(self._retry(page))
        self._causes |= {one.cause for one in tried}
        if not tried:
            return True
        self.say(f"retried {len(tried)}: {_numbers([one.number for one in tried])}")
        waiting = self._settle(tried)
        if waiting and not self.result.stopped:
            if time.monotonic() >= self._ends and (self.result.done or self.result.failed):
                self.result.open = len(waiting)  # somebody works, and we have no time to look on
            else:
                self.result.stopped = self._silence(waiting)
        return not self.result.stopped

    def _retry(self, page: Sequence[Dead]) -> Iterator[Tried]:
        for dead in page:
            if self.operator.retry(dead.pk):
                self.result.retried += 1
                yield Tried(
                    dead.pk, box_of(dead), dead.queue, dead.topic, dead.key, dead.row or 0, cause_of(dead.reason)
                )
            elif Dead.objects.using(self.operator.alias).filter(pk=dead.pk).exists():
                self.result.refused.append(dead.pk)

    def _settle(self, waiting: list[Tried]) -> list[Tried]:
        """Wait for outcomes, and return the letters that have none when time is up or a failure repeats."""
        ends, pause = min(time.monotonic() + self.timeout, self._ends), FIRST_LOOK
        clock = threading.Event()
        while True:
            if self.work is not None:
                for box, queue in dict.fromkeys((one.box, one.queue) for one in waiting):
                    self.work(box, queue)
            waiting = [one for one in waiting if not self._note(one)]
            if not waiting or self.result.stopped or time.monotonic() >= ends:
                return waiting
            clock.wait(min(pause, max(0.0, ends - time.monotonic())))
            pause = min(pause * 2, LAST_LOOK)

    def _note(self, one: Tried) -> bool:
        """Look what became of a letter, and tell whether it is settled."""
        outcome = self._outcome(one)
        if outcome is None:
            return False
        if outcome == "":
            self.result.done += 1
            return True
        self.result.failed[outcome] += 1
        if outcome in self._causes and not self.result.stopped:
            self.result.stopped = f"{one.number} ({one.box} {one.queue}) failed again: {outcome}"
        self._causes.add(outcome)
        return True

    def _outcome(self, one: Tried) -> str | None:
        """Return the cause of a new failure, an empty string for success, or None if there is none of them yet."""
        alias = self.operator.alias
        parked = BOXES[one.box][1].objects.using(alias).filter(pk=one.row)
        if not parked.exists():
            died: Any = Dead.objects.using(alias).filter(pk__gt=self._until, box=one.box, row=one.row)
            reason = died.values_list("reason", flat=True).first()
            return "" if reason is None else cause_of(reason)
        place = Blocked.objects.using(alias).filter(box=one.box, queue=one.queue, topic=one.topic, key=one.key)
        blocked = place.filter(slot=0 if one.key else one.row).first()
        if blocked is None or blocked.attempts == 0:
            return None
        return cause_of(blocked.error) if blocked.head == one.row else BEHIND

    def _silence(self, waiting: Sequence[Tried]) -> str:
        numbers = _numbers([one.number for one in waiting])
        if self.work is not None:
            return f"{numbers} had no outcome within {self.timeout:g} s"
        workers = {f"{'cqrs_relay' if one.box == 'outbox' else 'cqrs_consume'} for {one.queue}" for one in waiting}
        return (
            f"{numbers} had no outcome within {self.timeout:g} s; is {' and '.join(sorted(workers))} running?  They "
            f"stay retried{self.advice}"
        )


def _numbers(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:5]))
    return shown if len(numbers) <= 5 else f"{shown} and {len(numbers) - 5} more"
