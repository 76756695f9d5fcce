"""
A lab of scripts: sagas in a SQLite file, in processes that die at each point of their work.

    python -m tests.chaos.saga_scripts FOLDER [--only NAME] [--every N] [--pairs N] [--race SAGAS]

Each point is the end of a process: before or after a commit, of the storage's or of a step's own, and in the middle of
a step.  The next process recovers; with ``--pairs`` that one dies as well, at every Nth point, before a third one
finishes.  With ``--race`` that many sagas are left behind, and five processes recover them at the same time.  Each case
is printed as a line of JSON, with what is wrong with it.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sqlite3
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from attrs import define

from simplecqrs.codec import JSONCodec
from simplecqrs.saga import recover
from simplecqrs.saga.sqlite import SQLiteSagas
from tests.chaos.saga_effects import Effects, Trip, buses

#: Exit code of a process that died at its point.
DIED = 9
CONNECT = sqlite3.connect
CODEC = JSONCodec()


@define
class Point:
    """Where a process dies, counted over all that it passes."""

    at: int
    passed: int = 0

    def __call__(self) -> None:
        """Pass a point, or die there."""
        self.passed += 1
        if self.passed == self.at:
            os._exit(DIED)


class Dying(sqlite3.Connection):
    """A connection that dies before or after a commit."""

    point: Callable[[], None]

    def execute(self, sql: str, /, *parameters: Any) -> sqlite3.Cursor:
        """Execute; a commit is between two points."""
        if sql != "COMMIT":
            return super().execute(sql, *parameters)
        self.point()
        cursor = super().execute(sql)
        self.point()
        return cursor


def in_child(work: Callable[[], object], at: int = 0) -> int:
    """Do something in a process that dies at this point, and return its exit code: 0 if it did not come so far."""
    return ended(begin(work, at))


def ended(pid: int) -> int:
    """Wait for the end of a process, and return its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def begin(work: Callable[[], object], at: int = 0) -> int:
    """Do something in a process that dies at this point, and return its id."""
    pid = os.fork()
    if pid:
        return pid
    point = Point(at)
    try:
        Dying.point = staticmethod(point)  # type: ignore[assignment]
        sqlite3.connect = partial(CONNECT, factory=Dying)  # type: ignore[assignment]
        Effects.point = staticmethod(point)
        work()
        os._exit(0)
    except BaseException:  # noqa: BLE001 - it shall not go on as its parent
        traceback.print_exc()
    finally:
        os._exit(1)


class Lab:
    """One saga definition, in files of its own, over and over; only the children open what they share."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.sagas = SQLiteSagas(folder / "sagas", CODEC)
        self.saga, self.bus = buses(Effects(folder / "effects"), self.sagas)[name]
        self.bus.check()

    def case(self, *ats: int) -> dict[str, Any]:
        """Let one process after the other die at its point, and the last one finish; return what became of it."""
        self._clear()
        codes = []
        for number, at in enumerate([*ats, 0]):
            codes.append(in_child(self._run if number == 0 else self._recover, at))
            self._let_leases_end()
        return {"saga": self.name, "ats": ats, "codes": codes, "faults": self._faults()}

    def _run(self) -> None:
        self.saga.run(self.bus, Trip())

    def _recover(self) -> None:
        if not self.sagas.find():  # it died before there was one: whoever ran it runs it again
            self.saga.run(self.bus, Trip())
        for outcome in recover(self.bus, patience=5.0):
            if outcome.error is not None:
                raise outcome.error

    def race(self, sagas: int, racers: int = 5) -> dict[str, Any]:
        """Leave sagas behind, each at another point, and have them recovered by several processes at once."""
        self._clear()
        for number in range(sagas):
            in_child(self._run, 5 + number % 8)
        self._let_leases_end()
        effects = Effects(self.folder / "effects")
        before = Counter(effects.read("calls"))
        codes = [ended(pid) for pid in [begin(self._recover) for _ in range(racers)]]
        calls = Counter(effects.read("calls")) - before
        faults = [f"{key} was called {times} times by those who recovered" for key, times in calls.items() if times > 1]
        return {"saga": self.name, "codes": codes, "calls": len(calls), "faults": faults + self._faults(sagas)}

    def _clear(self) -> None:
        for file in self.folder.iterdir():
            file.unlink()

    def _let_leases_end(self) -> None:
        db = CONNECT(self.folder / "sagas")
        with db:
            if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'simplecqrs_sagas'").fetchone():
                db.execute("UPDATE simplecqrs_sagas SET due = due - 10000")
        db.close()

    def _faults(self, expected: int = 1) -> list[str]:
        sagas, effects = SQLiteSagas(self.folder / "sagas", CODEC), Effects(self.folder / "effects")
        records = sagas.find()
        faults = [f"{len(records)} sagas"] * (len(records) != expected)
        keys = [key.split(":", 2) for key in effects.read("effects")]
        for record in records:
            own = [key for _, saga_id, key in keys if saga_id == str(record.id)]
            faults += wrong(record, [*sagas.history(record.id)], own)
        faults += [f"{saga} is stale" for saga in sagas.stale(limit=10)]
        sagas.close()
        return faults


def wrong(record: Any, log: list[Any], effects: list[str]) -> Iterator[str]:
    """Find what a saga's record, its log and the effects of its steps tell against each other."""
    ends = Counter(f"{line.step}:{line.action}" for line in log if line.event == "completed")
    yield from (f"{key} was committed {times} times" for key, times in ends.items() if times > 1)
    begun = {f"{line.step}:{line.action}" for line in log if line.event == "started"}
    twice = [key for key, times in Counter(effects).items() if times > 1]
    yield from (f"{key} had its effect twice" for key in twice)
    yield from (f"{key} was not begun, says the log" for key in set(effects) - begun)
    acts = {key for key in effects if ":undo" not in key}
    undone = {key.replace(":undo ", ":") for key in effects if ":undo" in key}
    if record.status == "COMPLETED":
        done = {f"{name}:{known.action}" for name, known in record.progress.items()}
        yield from (f"{key} is done, says the record, and had no effect" for key in done - acts)
        yield from (f"{key} had an effect, and is not done" for key in (acts - undone) - done)
    elif record.status == "COMPENSATED":
        yield from (f"{key} was not undone" for key in acts - undone)
    else:
        yield f"it is {record.status}: {record.error}"


def cases(lab: Lab, every: int, stride: int) -> Iterator[dict[str, Any]]:
    """Try each point of a saga, or every Nth, and with a stride pairs of points, the second ones so far apart."""
    for at in count(1, every):
        case = lab.case(at)
        yield case
        if case["codes"][0] != DIED:
            return
        second = 1 + at * 7 % stride if stride else 0
        while second:
            case = lab.case(at, second)
            yield case
            second = second + stride if case["codes"][1] == DIED else 0


def main() -> None:
    """Print the cases."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=0)
    parser.add_argument("--race", type=int, default=0)
    parser.add_argument("--only", default="")
    chosen = parser.parse_args()
    CODEC.decode(Trip, CODEC.encode(Trip()))  # made once, not by each child
    gc.freeze()  # what nobody writes to need not be copied for each child
    for name in buses(Effects(chosen.folder / "effects"), SQLiteSagas(chosen.folder / "sagas")):
        if chosen.only not in ("", name):
            continue
        lab = Lab(chosen.folder, name)
        for case in [lab.race(chosen.race)] if chosen.race else cases(lab, chosen.every, chosen.pairs):
            print(json.dumps(case), flush=True)


if __name__ == "__main__":
    main()
