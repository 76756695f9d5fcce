"""No 40: faults that relay or consumer could have are found by the crashes of No 5, if not without any."""

from __future__ import annotations

import json

import pytest

from tests.chaos.conftest import POSTGRESQL, REDIS, MakeWorld

pytestmark = [pytest.mark.processes, *REDIS]


@pytest.mark.parametrize(
    ("database", "fault", "where", "found"),
    [
        ("sqlite", "mark_first", "relay:publish:middle", {"unpublished"}),
        ("sqlite", "range_delete", "", {"unpublished"}),
        ("sqlite", "skip_failed", "", {"inverted_in_log"}),
        ("sqlite", "no_door", "fetcher:commit:after", {"doubled"}),
        pytest.param("postgresql", "effect_apart", "consumer:commit:after", {"doubled"}, marks=POSTGRESQL),
        ("sqlite", "park_in_pieces", "relay:statement", {"unpublished"}),
        ("sqlite", "pass_the_parked", "", {"unpublished"}),
    ],
)
def test_40_a_fault_is_found(make_world: MakeWorld, database: str, fault: str, where: str, found: set[str]) -> None:
    """Where it matters, a crash shows it; some need none."""
    times = 2 if "park" in fault or not where else 0  # refusals and failures
    world = make_world(database, "redis", batch=6, attempts=2, first=0, fault=fault, lab_patience=3, times=times)
    statements = ["--statements"] if "statement" in where else []
    arguments = ["--only", where, *statements] if where else ["--none"]
    child = world.spawn("lab", "-m", "tests.chaos.project.crash", "--until-found", *arguments)
    code, _ = child.finish(seconds=300)

    assert code == 0, child.output()[-3000:]
    crashes = [json.loads(line) for line in child.output().splitlines() if line.startswith('{"crash"')]
    assert crashes, child.output()[-3000:]
    assert crashes[-1]["faults"].keys() >= found, crashes
    world.note(f"planted: {fault}", events=0, crashes=len(crashes), faults=crashes[-1]["faults"])
