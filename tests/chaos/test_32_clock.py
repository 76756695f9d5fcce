"""No 32: relay and consumer whose clock is wrong."""

from __future__ import annotations

import pytest

from tests.chaos.conftest import POSTGRESQL, REDIS, MakeWorld, cases
from tests.chaos.world import EVENTS

pytestmark = [pytest.mark.processes, *POSTGRESQL, *REDIS]


@pytest.mark.parametrize("clock", cases("step", soak=["3600", "-3600"]))
def test_32_the_clock_of_the_relay_is_wrong(make_world: MakeWorld, clock: str) -> None:
    """An hour ahead or behind, or stepping about: when a retry is due is told by the database's clock."""
    world = make_world("postgresql", "redis", batch=50, refuses=0.02, fail=0.01)
    relay, consumer = world.relay(clock=clock), world.consumer("ledger", clock=clock)
    producer = world.producer("p1", EVENTS // 10, 100)
    world.enough([producer])
    took = world.settle()
    world.stop([relay, consumer])

    assert "a planted refusal" in relay.output()
    assert took < 60
    world.judge(f"clock {clock}")
