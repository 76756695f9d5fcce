"""No 5: relay, fetcher, consumer, producer and operator are killed at each of their steps, one after the other."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from tests.chaos.conftest import ON_POSTGRESQL, ON_SQLITE, SOAK, MakeWorld

pytestmark = pytest.mark.processes

#: Second crashes after each first one, and seconds for all: a sample; scripts/soak tries every pair.
PER_POINT = os.environ.get("CHAOS_PAIRS", "2")
SECONDS = os.environ.get("CHAOS_PAIR_SECONDS", "10")
BATCH = 3


def crash(
    make_world: MakeWorld, pair: tuple[str, str], *arguments: str, **settings: object
) -> tuple[list[dict[str, Any]], int]:
    """Run the lab; return what it found after each crash, and how many there could have been."""
    world = make_world(*pair, batch=BATCH, attempts=2, first=0, **settings)
    child = world.spawn("lab", "-m", "tests.chaos.project.crash", "--seed", str(world.seed), *arguments)
    code, _ = child.finish(seconds=3600)
    assert code == 0, child.output()[-3000:]
    lines = [json.loads(line) for line in child.output().splitlines() if line.startswith("{")]
    crashes = [line for line in lines if "crash" in line]
    bad = [line for line in crashes if line["faults"] or line["code"] or line["missed"]]
    assert not bad, f"seed {world.seed}: {len(bad)} of {len(crashes)}: {bad[:5]}\n{child.output()[-3000:]}"
    world.note(f"crash points {'+'.join(pair)} {' '.join(arguments)}", events=6 * len(crashes), kills=len(crashes))
    return crashes, lines[0]["points"]


def test_05_a_crash_at_any_step_loses_and_doubles_nothing(make_world: MakeWorld, pair: tuple[str, str]) -> None:
    """Each point that a clean run passes is crashed at: the next process finishes, and the checker finds nothing."""
    crashes, points = crash(make_world, pair, *(["--statements"] if SOAK else []))

    assert len(crashes) == points
    passed = {point.partition("#")[0] for line in crashes for point in line["crash"]}
    assert passed > {f"producer:{p}" for p in ("produce", "append:after", "commit:after")}
    assert passed > {f"relay:{p}" for p in ("hold:before", "hold:inside", "read:after", "publish:middle")}
    assert passed > {f"relay:{p}" for p in ("publish:after", "done:after", "park:after", "commit:after")}
    assert passed > {f"consumer:{p}" for p in ("hold:inside", "read:after", "done:after", "take:inside")}
    assert passed > {f"consumer:{p}" for p in ("handle", "park:after", "commit:after")}
    assert passed > {f"promoter:{p}" for p in ("commit:before", "commit:after")}
    assert passed > {f"operator:{p}" for p in ("retry:before", "commit:before", "commit:after")}
    if pair[1] == "redis":
        assert passed > {f"fetcher:{p}" for p in ("fetch:after", "store:after", "commit:after", "acknowledge:after")}


def test_05_a_crash_of_a_consumer_that_handles_several_together_loses_and_doubles_nothing(
    make_world: MakeWorld, pair: tuple[str, str]
) -> None:
    """One in the middle of a batch fails: all are taken back, and handled one by one."""
    crashes, points = crash(make_world, pair, "--only", "consumer", together=10, failing=2)

    assert len(crashes) == points
    passed = [point.partition("#")[0] for line in crashes for point in line["crash"]]
    assert passed.count("consumer:handle") > 6  # some of them twice
    assert set(passed) > {f"consumer:{p}" for p in ("read:after", "done:after", "take:inside", "commit:after")}


@pytest.mark.parametrize("pair", [ON_SQLITE])
def test_05_a_crash_between_two_statements_of_a_relay(make_world: MakeWorld, pair: tuple[str, str]) -> None:
    """On SQLite no transaction is open while another broker is told: what belongs together is together all the same."""
    crashes, points = crash(make_world, pair, "--statements", "--only", "relay:statement")

    assert len(crashes) == points > 10


@pytest.mark.parametrize("pair", [ON_POSTGRESQL])
def test_05_a_crash_during_the_recovery_from_a_crash_loses_nothing(
    make_world: MakeWorld, pair: tuple[str, str]
) -> None:
    """The process that recovers dies as well, and the third one finishes."""
    crashes, points = crash(make_world, pair, "--per-point", PER_POINT, "--seconds", SECONDS)

    assert points > 80
    assert len(crashes) > 5
