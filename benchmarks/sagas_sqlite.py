"""Sagas in a SQLite file: transactions of a step, and what many stored sagas cost."""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

from attrs import evolve, frozen

from benchmarks.measure import interleaved, median_ratio, seconds
from benchmarks.report import Line, show
from simplecqrs import Mediator, Registry
from simplecqrs.saga import Saga, Step
from simplecqrs.saga.sqlite import SQLiteSagas

__all__ = ["run"]

STEPS = 3
#: Sagas of a round.
SAGAS = 20
STALE = 100
FILL = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {number})
INSERT INTO simplecqrs_sagas (id, saga, state, status, progress, position, version, fingerprint, paused, cancelled,
    error, owner, recoveries, correlation_id, headers, due)
SELECT lower(hex(randomblob(16))), saga, state, '{status}', progress, position, version, fingerprint, paused, cancelled,
    error, '', recoveries, correlation_id, headers, {due} FROM n JOIN simplecqrs_sagas WHERE number = 1
"""


@frozen
class Order:
    """What the sagas are about."""

    number: int
    done: int = 0


class Counting(sqlite3.Connection):
    """A connection that counts transactions."""

    begun: ClassVar[int] = 0

    def execute(self, sql: str, /, *parameters: Any) -> sqlite3.Cursor:
        """Execute, and count what begins a transaction."""
        Counting.begun += sql.startswith("BEGIN")
        return super().execute(sql, *parameters)


def run(*, full: bool) -> list[Line]:
    """Measure and print."""
    rounds = 60 if full else 15
    lines = [_transactions(), _cost(rounds), _by_size(rounds), _scan(1_000_000)]
    said = f"{rounds} rounds of {SAGAS} sagas of {STEPS} steps that do nothing; synchronous = FULL"
    show("sagas_sqlite", lines, notes={"rounds": said, "sqlite": sqlite3.sqlite_version})
    return lines


@contextmanager
def _stored() -> Iterator[tuple[Callable[[], None], SQLiteSagas, Path]]:
    """Yield what runs a round of sagas, where they are stored, and its file."""
    registry = Registry()
    steps = [Step(name, lambda state: evolve(state, done=state.done + 1), lambda state: None) for name in "abc"[:STEPS]]
    saga = Saga("order", Order, steps, registry=registry)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sagas.sqlite3"
        sagas = SQLiteSagas(path)
        bus = Mediator(registry, sagas=sagas)

        def work() -> None:
            for number in range(SAGAS):
                saga.run(bus, Order(number)).unwrap()

        work()
        yield work, sagas, path
        sagas.close()


def _transactions() -> Line:
    """Count transactions of a step."""
    with patch.object(sqlite3, "connect", partial(sqlite3.connect, factory=Counting)), _stored() as (work, _, _):
        before = Counting.begun
        work()
        begun = Counting.begun - before
    return Line(
        "transactions per step", begun / SAGAS / STEPS, 2, "", detail=f"{begun / SAGAS:g} per saga of {STEPS} steps"
    )


def _cost(rounds: int) -> Line:
    """Compare sagas with as many commits by hand."""
    with _stored() as (work, _, path):
        db = sqlite3.connect(path.with_name("by_hand"), isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, note TEXT)")

        def by_hand() -> None:
            for _ in range(SAGAS * (STEPS + 1)):
                db.execute("BEGIN IMMEDIATE")
                db.execute("INSERT INTO notes (note) VALUES ('x')")
                db.execute("COMMIT")

        times = interleaved({"sagas": work, "by hand": by_hand}, rounds=rounds)
        db.close()
    a, b = (statistics.median(times[name]) / SAGAS * 1000 for name in ("sagas", "by hand"))
    detail = f"{a:.2f} ms per saga, {b:.2f} ms for {STEPS + 1} commits of a row"
    return Line("a saga, as commits by hand", median_ratio(times, "sagas", "by hand"), detail=detail)


def _by_size(rounds: int) -> Line:
    """Compare the cost of a saga among few and among many stored ones."""
    with _stored() as (few, _, _), _stored() as (many, _, path):
        _fill(path, 100_000, "COMPLETED", "NULL")
        times = interleaved({"few": few, "many": many}, rounds=rounds)
    a, b = (statistics.median(times[name]) / SAGAS * 1000 for name in ("many", "few"))
    detail = f"{a:.2f} ms, {b:.2f} ms"
    return Line("a saga among 100,000 stored, as among 100", median_ratio(times, "many", "few"), 1.3, detail=detail)


def _scan(finished: int) -> Line:
    """Time the scan for stale sagas."""
    with _stored() as (_, sagas, path):
        _fill(path, finished, "COMPLETED", "NULL")
        _fill(path, STALE, "RUNNING", "1000 + i")
        taken = [seconds(lambda: sagas.stale(limit=STALE)) * 1000 for _ in range(21)]
        if len(sagas.stale(limit=STALE * 2)) != STALE:
            raise RuntimeError("not all stale sagas were found")
    detail = f"slowest of {len(taken)}: {max(taken):.2f} ms"
    return Line(f"scan: {STALE} stale of {finished:,} finished", statistics.median(taken), 10, "ms", detail=detail)


def _fill(path: Path, number: int, status: str, due: str) -> None:
    db = sqlite3.connect(path)
    with db:
        db.execute(FILL.format(number=number, status=status, due=due))
    db.close()
