"""How time is measured: each subject in turn, many rounds, and the median of the rounds' ratios."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import repeat

__all__ = ["Call", "Times", "calls", "interleaved", "median_ratio", "seconds"]

Call = Callable[[], object]
#: Seconds of each subject, round by round.
Times = Mapping[str, Sequence[float]]


def interleaved(subjects: Mapping[str, Call], *, rounds: int, clock: Callable[[], float] = time.perf_counter) -> Times:
    """
    Time subjects in turn, so that what else happens on the machine hits all of them alike.

    Args:
        subjects: called once per round, each round beginning with another one.
        clock: ``time.thread_time`` where nothing is waited for: it does not count what others take of the processor.
    """
    names = list(subjects)
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            times[name].append(seconds(subjects[name], clock))
    return times


def seconds(call: Call, clock: Callable[[], float] = time.perf_counter) -> float:
    """Time one call, without the garbage collector."""
    with _no_garbage_collection():
        began = clock()
        call()
        return clock() - began


def calls(number: int, function: Callable[..., object], *arguments: object) -> Call:
    """Return a subject that calls a function so many times."""
    if len(arguments) == 1:
        (argument,) = arguments

        def one() -> None:
            for _ in repeat(None, number):
                function(argument)

        return one

    def many() -> None:
        for _ in repeat(None, number):
            function(*arguments)

    return many


def median_ratio(times: Times, subject: str, baseline: str) -> float:
    """Return the median of a subject's ratios to its baseline, each ratio from one round."""
    return statistics.median(a / b for a, b in zip(times[subject], times[baseline], strict=True))


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
