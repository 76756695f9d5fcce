"""
Sagas of every shape, gone through again and again in processes that die at each of their points.

Run as ``python -m tests.chaos.sagas.lab --mode foreground --most 2``; prints a line of JSON for each crash that shows a
fault, and after each shape one with what was tried so far.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from attrs import asdict, define, field

from simplecqrs.saga import Saga
from tests.chaos.project.lab import fork
from tests.chaos.project.way import WAY
from tests.chaos.sagas.going import MODES, clear, findings, watch_sagas
from tests.chaos.sagas.judging import judge
from tests.chaos.sagas.shapes import Shape, shapes


@define
class Tally:
    """What was tried."""

    shapes: int = 0
    points: int = 0
    crashes: int = 0
    kills: int = 0
    missed: int = 0
    faults: int = 0
    passed: set[str] = field(factory=set)


def main() -> None:
    """Go through shapes, and crash at each of their points."""
    options = _options()
    chosen = [shape for shape in shapes(options.most) if options.only in shape.name][options.skip :]
    rnd = random.Random(options.seed)
    if options.sample or options.seconds < 1e9:
        chosen = rnd.sample(chosen, min(options.sample or len(chosen), len(chosen)))
    stories = set_up(chosen, options.fault)
    warm_up(MODES[options.mode], stories.values())
    WAY.statements = options.statements
    tally, ends = Tally(), time.monotonic() + options.seconds
    for shape in chosen:
        if time.monotonic() > ends:
            break
        lab = Lab(shape, partial(MODES[options.mode], stories[shape.name]), tally)
        is_right = lab.enumerate(rnd, options)
        print(json.dumps(asdict(tally, value_serializer=lambda _, __, value: _plain(value))), flush=True)
        if options.until_found and not is_right:
            break


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, set) else value


def _options() -> Any:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", choices=sorted(MODES), default="foreground")
    parser.add_argument("--most", type=int, default=4, help="steps of a saga")
    parser.add_argument("--sample", type=int, default=0, help="so many shapes at random; 0: all")
    parser.add_argument("--points", type=int, default=10**6, help="so many crashes of each shape at most, at random")
    parser.add_argument("--pairs", type=int, default=0, help="so many crashes during the recovery from each of them")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin with no further shape after so long")
    parser.add_argument("--skip", type=int, default=0, help="so many shapes, to go on where a run was ended")
    parser.add_argument("--only", default="", help="shapes whose name has this in it")
    parser.add_argument("--statements", action="store_true", help="crash before each statement as well")
    parser.add_argument("--until-found", action="store_true", help="end with the first shape that shows a fault")
    parser.add_argument("--fault", default="", help="a fault to plant, of tests.chaos.sagas.planted")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def set_up(chosen: Sequence[Shape], fault: str) -> dict[str, Saga[Any]]:
    """Prepare a process from which others are forked."""
    import django

    django.setup()
    from django.db import connection

    from django_cqrs import bus
    from tests.chaos.sagas.planted import FAULTS
    from tests.chaos.sagas.stories import make_story

    made = {shape.name: make_story(bus.registry, shape) for shape in chosen}
    if fault:
        FAULTS[fault]()
    watch_sagas()
    bus.sagas.find(limit=1)
    connection.close()
    return made


def warm_up(way: Callable[[Saga[Any]], None], stories: Iterable[Saga[Any]]) -> None:
    """Go through one of the longest here, so that what is imported late is there when a process is forked."""
    clear()
    way(max(stories, key=lambda saga: len(saga.by_name)))
    clear()


@define
class Lab:
    """One shape under fire."""

    shape: Shape
    way: Callable[[], None]
    tally: Tally

    def enumerate(self, rnd: random.Random, options: Any) -> bool:
        """Crash at each point of a clean run, and perhaps during recoveries; False if a fault was found."""
        before = self.tally.faults
        self.tally.shapes += 1
        clear()
        code, points = fork(way=self.way)
        self._judge([], code)
        self.tally.points += len(points)
        for first in rnd.sample(points, min(options.points, len(points))):
            then = self._crash([first])
            for second in rnd.sample(then, min(options.pairs, len(then))):
                self._crash([first, second])
        return self.tally.faults == before

    def _crash(self, points: Sequence[str]) -> list[str]:
        """Let one process after the other die at its point and a last one finish; return what that one passed."""
        clear()
        died = [fork(point, way=self.way)[0] == -signal.SIGKILL for point in points]
        code, then = fork(way=self.way)
        self.tally.crashes += 1
        self.tally.kills += sum(died)
        self.tally.missed += len(died) - sum(died)
        self.tally.passed |= {point.partition("#")[0] for point in points}
        self._judge(points, code)
        return then

    def _judge(self, points: Sequence[str], code: int) -> None:
        found = findings()
        wrong = [*judge(self.shape, found), *([f"the last process ended with {code}"] if code else [])]
        if wrong:
            self.tally.faults += 1
            log = [f"{step} {action} {event} {n}" for step, action, event, n in found.log]
            print(json.dumps({"shape": self.shape.name, "crash": points, "faults": wrong, "log": log}), flush=True)


if __name__ == "__main__":
    main()
