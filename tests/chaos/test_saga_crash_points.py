"""Sagas of every small shape are killed at each of their steps, in the foreground and through the inbox."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from tests.chaos.conftest import MARIADB, POSTGRESQL, SOAK, MakeWorld, cases
from tests.chaos.world import World

pytestmark = pytest.mark.processes

#: Shapes are taken at random for so many seconds; 1e9: all of them, in their order, but for so many of the first.
SECONDS, SKIP = os.environ.get("CHAOS_SAGA_SECONDS", "300" if SOAK else "2"), os.environ.get("CHAOS_SAGA_SKIP", "0")
MANY = ("--most", "4", "--seconds", SECONDS, "--skip", SKIP)
FEW = ("--most", "3", "--points", "8", "--seconds", SECONDS)
DATABASES = cases(
    pytest.param("sqlite", id="sqlite"),
    pytest.param("postgresql", marks=POSTGRESQL, id="postgresql"),
    soak=[pytest.param("mariadb", marks=MARIADB, id="mariadb")],
)


def crash(world: World, *arguments: str, **env: object) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Run the lab; return what was tried, and what it found."""
    child = world.spawn("lab", "-m", "tests.chaos.sagas.lab", "--seed", str(world.seed), *arguments, **env)
    code, _ = child.finish(seconds=6 * 3600)
    assert code == 0, child.output()[-3000:]
    lines = [json.loads(line) for line in child.output().splitlines() if line.startswith("{")]
    tried = [line for line in lines if "shapes" in line]
    assert tried, child.output()[-3000:]
    return tried[-1], [line for line in lines if "crash" in line]


@pytest.mark.parametrize("mode", ["foreground", "inbox"])
@pytest.mark.parametrize("database", DATABASES)
def test_a_saga_survives_a_crash_at_any_step(make_world: MakeWorld, database: str, mode: str) -> None:
    """Each step's effect is there once or undone, its status says so, and its log fits what is there."""
    world = make_world(database, "database", synchronous="OFF")

    tried, wrong = crash(world, "--mode", mode, *(MANY if SOAK else FEW))

    assert not wrong, f"seed {world.seed}: {len(wrong)} of {tried}: {json.dumps(wrong[:5])}"
    figures = {name: tried[name] for name in ("shapes", "points", "crashes", "kills")}
    world.note(f"saga crash points {database} {mode}", events=tried["crashes"], **figures)
    assert tried["crashes"] >= 4
    assert tried["missed"] == 0 or database != "sqlite"  # elsewhere the steps of a Parallel race
    passed = {point.partition(":")[2] for point in tried["passed"]}
    assert passed & {"act:before", "commit:before", "commit:after"}


@pytest.mark.parametrize("database", DATABASES)
def test_a_saga_survives_a_crash_during_the_recovery_from_a_crash(make_world: MakeWorld, database: str) -> None:
    """Whoever takes it over dies as well; what nobody knows stays unknown."""
    world = make_world(database, "database", synchronous="OFF")

    tried, wrong = crash(world, "--most", "3", "--points", "4", "--pairs", "2", "--seconds", SECONDS)

    assert not wrong, f"seed {world.seed}: {len(wrong)} of {tried}: {json.dumps(wrong[:5])}"
    world.note(f"saga crash pairs {database}", events=tried["crashes"], kills=tried["kills"], shapes=tried["shapes"])
    assert tried["kills"] > tried["crashes"] >= 4


@pytest.mark.parametrize(
    ("fault", "mode", "shape", "found"),
    [
        ("outcome_apart", "foreground", "shape-1", "was done 2 times"),
        ("begun_late", "foreground", "shape-2", "comes after one without outcome"),
        ("never_unknown", "foreground", "shape-2", "comes after one without outcome"),
        ("once_again", "foreground", "shape-2_once-0", "not UNKNOWN"),
        ("later_apart", "inbox", "shape-2", "status RUNNING"),
        ("forgets_the_unknown", "foreground", "shape-2_failing-0", "was not undone"),
    ],
)
def test_a_saga_with_a_fault_shows_it(make_world: MakeWorld, fault: str, mode: str, shape: str, found: str) -> None:
    """A crash at the right step shows it."""
    world = make_world("sqlite", "database", synchronous="OFF", lab_patience=1)
    options = ["--mode", mode, "--most", "2", "--only", shape, "--fault", fault, "--until-found"]

    tried, wrong = crash(world, *options)

    assert found in json.dumps(wrong), (tried, wrong[:5])
    world.note(f"planted in sagas: {fault}", events=0, crashes=tried["crashes"], faults=tried["faults"])
