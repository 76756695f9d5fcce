"""
Crashes at every step of the story.

Run as ``python -m tests.chaos.project.crash --per-point 3 --seed 1``; prints a line of JSON for each crash, or for
each pair: a crash, and one during the recovery from it.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import time
from typing import Any

from tests.chaos.project.lab import clear, faults, fork, set_up
from tests.chaos.project.way import WAY, watch_ports


def main() -> None:
    """Crash at each point, or at pairs of points."""
    options = _options()
    set_up()
    watch_ports()
    WAY.statements = options.statements
    if options.none:
        crash()
        return
    clear()
    points = [point for point in fork()[1] if point.startswith(options.only)]
    print(json.dumps({"points": len(points)}), flush=True)
    if options.per_point:
        crash_twice(points, options)
        return
    for point in points:
        if crash(point) and options.until_found:
            return


def _options() -> Any:
    parser = argparse.ArgumentParser()
    parser.add_argument("--statements", action="store_true", help="crash before each statement as well")
    parser.add_argument("--none", action="store_true", help="go the way without a crash")
    parser.add_argument("--only", default="", help="points that begin so")
    parser.add_argument("--until-found", action="store_true", help="end with the first crash that shows a fault")
    parser.add_argument("--per-point", type=int, default=0, help="so many second crashes after each first one")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin with no further pair after so long")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def crash_twice(points: list[str], options: Any) -> None:
    """Crash at points in random order, and then at points that are passed during the recovery."""
    rnd, ends = random.Random(options.seed), time.monotonic() + options.seconds
    for first in rnd.sample(points, len(points)):
        clear()
        fork(first)
        then = fork()[1]
        for second in rnd.sample(then, min(options.per_point, len(then))):
            if time.monotonic() > ends:
                return
            crash(first, second)


def crash(*points: str) -> bool:
    """Let one process after the other die at its point, let a last one finish, and print what is found then."""
    clear()
    missed = [point for point in points if fork(point)[0] != -signal.SIGKILL]
    code, _ = fork()
    found = faults(len(points))
    print(json.dumps({"crash": points, "missed": missed, "code": code, "faults": found}), flush=True)
    return bool(found or code)


if __name__ == "__main__":
    main()
