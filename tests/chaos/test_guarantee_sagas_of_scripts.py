"""Sagas of scripts, in a SQLite file: the process dies at each point of its work, and the next one finishes."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, run
from tempfile import mkdtemp
from typing import Any

import pytest

from tests.chaos.children import ROOT
from tests.chaos.conftest import SOAK

pytestmark = pytest.mark.processes
#: What one process commits, the next one sees, also in memory; only power cuts need a disk.
MEMORY = Path("/dev/shm")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Return a folder that is quick, if there is one."""
    if not (MEMORY.is_dir() and os.access(MEMORY, os.W_OK)):
        yield tmp_path
        return
    made = Path(mkdtemp(dir=MEMORY))
    yield made
    shutil.rmtree(made)


def lab(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """Run the lab, and return its cases."""
    command = [sys.executable, "-m", "tests.chaos.saga_scripts", str(folder), *arguments]
    done = run(command, cwd=ROOT, stdout=PIPE, text=True, check=True, timeout=3600)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_script_that_dies_at_any_point_is_finished_by_the_next_one(folder: Path) -> None:
    """Before and after each commit, and in each step: all has its effect once, or is undone, and the log is true."""
    cases = lab(folder)

    assert [case for case in cases if case["faults"] or case["codes"][-1]] == []
    died = Counter(case["saga"] for case in cases if case["codes"][0] == 9)
    print(f"{len(cases)} cases: {dict(died)}")
    assert min(died.values()) > 15


def test_a_script_that_dies_while_it_recovers_is_finished_by_a_third_one(folder: Path) -> None:
    """A sample of pairs of points; a soak tries all of them."""
    cases = lab(folder, *(["--pairs", "1"] if SOAK else ["--only", "turns round", "--every", "3", "--pairs", "10"]))

    assert [case for case in cases if case["faults"] or case["codes"][-1]] == []
    assert sum(case["codes"][:2] == [9, 9] for case in cases) > 5


def test_five_that_recover_at_the_same_time_commit_each_step_once(folder: Path) -> None:
    """Of six sagas, left at different points, each step is called by one of them."""
    cases = lab(folder, "--race", "6")

    assert [case for case in cases if case["faults"] or set(case["codes"]) != {0}] == []
    assert all(case["calls"] > 6 for case in cases)
