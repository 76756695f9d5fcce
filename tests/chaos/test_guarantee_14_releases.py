"""Row 14: the old and the new release work on one backlog, in every mix: nothing is lost, dead, or done twice."""

from __future__ import annotations

from itertools import product

import pytest

from tests.chaos.conftest import POSTGRESQL, cases
from tests.chaos.releases.world import Deploy

pytestmark = pytest.mark.processes
ON_POSTGRESQL = pytest.param("postgresql", marks=POSTGRESQL)
#: What only the new release knows.
NEW = ["refunded", "rated", "thanked"]


@pytest.mark.parametrize("deploy", cases("sqlite", soak=[ON_POSTGRESQL]), indirect=True)
def test_guarantee_14_old_and_new_producers_relays_and_consumers_in_all_mixes(deploy: Deploy) -> None:
    """All eight: what the old one cannot handle waits, in its order, until the new one comes."""
    releases = {release: deploy.actor(release) for release in ("one", "two")}
    for each in releases.values():
        each.do("consume")
    for producer, relay, consumer in product(releases, repeat=3):
        releases[producer].do("produce 5")
        releases[relay].do("relay")
        releases[consumer].do("consume")
    assert deploy.dead() == 0

    releases["two"].do("consume")

    assert deploy.waiting() == {}
    assert (deploy.dead(), deploy.lacks(), deploy.out_of_order()) == (0, {}, [])
    assert deploy.releases_of(["placed"]) == {"one", "two"}
    assert deploy.releases_of(NEW) == {"two"}
