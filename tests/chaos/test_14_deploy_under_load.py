"""Row 14 with daemons: a whole deploy while messages are told and handled."""

from __future__ import annotations

import pytest

from tests.chaos.conftest import POSTGRESQL
from tests.chaos.releases.world import Deploy

pytestmark = pytest.mark.processes
ON_POSTGRESQL = pytest.param("postgresql", marks=POSTGRESQL)


@pytest.mark.parametrize("deploy", ["sqlite", ON_POSTGRESQL], indirect=True)
def test_14_look_migrate_consumers_relay_and_producers(deploy: Deploy) -> None:
    """In this order; an old worker that is started anew in the middle harms nothing."""
    old = deploy.actor("one")
    first_relay, first_consumer = (deploy.start("one", what) for what in ("cqrs_relay", "cqrs_consume"))
    old.do("produce 20")
    code, said = deploy.manage("two", "cqrs_preflight")
    assert code == 0, said
    deploy.migrate("two")
    new = deploy.actor("two")

    consumer = deploy.start("two", "cqrs_consume")
    old.do("produce 20")
    assert first_consumer.terminate()[0] == 0
    again = deploy.start("one", "cqrs_consume")
    new.do("produce 20")
    relay = deploy.start("two", "cqrs_relay")
    assert first_relay.terminate()[0] == 0
    old.do("produce 20")
    new.do("produce 20")
    assert again.terminate()[0] == 0
    deploy.settle()
    assert [child.terminate()[0] for child in (relay, consumer)] == [0, 0]

    assert (deploy.dead(), deploy.lacks(), deploy.out_of_order()) == (0, {}, [])
    assert deploy.releases_of(["refunded", "rated", "thanked"]) == {"two"}
