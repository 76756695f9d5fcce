"""How long the operations page of the admin takes when everything is full, on each database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from benchmarks.report import Line, show

__all__ = ["run"]

#: Milliseconds that the page may take.
GOAL = 300.0
DATABASES = {"default": "PostgreSQL", "sqlite": "SQLite", "mariadb": "MariaDB"}


def run(*, full: bool) -> list[Line]:
    """Measure and print."""
    names = [name for name in DATABASES if name != "mariadb" or "CQRS_TEST_MARIADB" in os.environ]
    lines = [line for name in names for line in _lines(DATABASES[name], _measured(name, full=full))]
    what = "1,000,000 events pending, 10,000 dead in 5 causes that block as many keys, 10,000 sagas, an hour of tallies"
    show("operations", lines, notes={"database": what, "page": "by Django's test client; the median of some dozens"})
    return lines


def _measured(name: str, *, full: bool) -> dict[str, Any]:
    """Measure in a process of its own, whose default database is another one."""
    env = {**os.environ, **({} if name == "default" else {"CQRS_BENCH_DEFAULT": name})}
    command = [sys.executable, "-m", "benchmarks.operations_page", *(["--full"] if full else [])]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _lines(database: str, found: dict[str, Any]) -> list[Line]:
    return [
        Line(
            f"{page} on {database}",
            measured["median"],
            GOAL if (page, database) == ("operations", "PostgreSQL") else None,
            unit="ms",
            detail=f"slowest {measured['slowest']:.0f} ms, {measured['queries']} queries",
        )
        for page, measured in found.items()
    ]
