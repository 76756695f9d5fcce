"""No 12, and 17 for brokers: connections are cut at each step of the protocol, and the process recovers by itself."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from tests.chaos.conftest import ON_MARIADB, ON_POSTGRESQL, ON_SQLITE, MakeWorld, cases

pytestmark = pytest.mark.processes

#: Of some hundreds; scripts/soak cuts at all of them.
SAMPLE = os.environ.get("CHAOS_CUTS", "15")
BYTES = os.environ.get("CHAOS_CUT_BYTES", "12")


def cut(make_world: MakeWorld, pair: tuple[str, str], server: str, *arguments: str) -> list[dict[str, Any]]:
    """Cut connections to a server, and return what was found after each cut."""
    world = make_world(*pair, batch=3, attempts=2, first=0)
    child = world.spawn("cut", "-m", "tests.chaos.project.cut", server, "--seed", str(world.seed), *arguments)
    code, _ = child.finish(seconds=3600)
    assert code == 0, child.output()[-3000:]
    first, *cuts = [json.loads(line) for line in child.output().splitlines() if line.startswith("{")]
    assert first["code"] == 0, child.output()[-3000:]
    bad = [line for line in cuts if line["faults"] or line["code"]]
    assert not bad, f"seed {world.seed}: {len(bad)} of {len(cuts)}: {bad[:5]}\n{child.output()[-3000:]}"
    assert "nothing is lost, next attempt in" in child.output()
    done = sum(line["cuts"] for line in cuts)
    world.note(f"cut {server} {'+'.join(pair)}", events=6 * len(cuts), cuts=done, of=2 * first["steps"])
    return cuts


@pytest.mark.parametrize("pair", [ON_POSTGRESQL, ON_MARIADB])
def test_12_a_connection_to_the_database_may_break_at_any_step(make_world: MakeWorld, pair: tuple[str, str]) -> None:
    """Before a statement is heard, and before its answer is: the loop pauses, connects anew and goes on."""
    cuts = cut(make_world, pair, "default", "--sample", SAMPLE)

    assert sum(line["cuts"] for line in cuts) > len(cuts) * 0.9


@pytest.mark.parametrize("pair", cases(ON_SQLITE, soak=[ON_POSTGRESQL, ON_MARIADB]))
def test_17_a_connection_to_redis_may_break_at_any_step_or_byte(make_world: MakeWorld, pair: tuple[str, str]) -> None:
    """In the middle of a batch, too: what is not known to be there is sent again, and dropped at the door."""
    cuts = cut(make_world, pair, "redis", "--sample", BYTES, "--bytes", BYTES)

    assert sum(line["cuts"] for line in cuts) > len(cuts) * 0.9
