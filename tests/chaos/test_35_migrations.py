"""No 35: tables are migrated forward and back while all work on them, and nobody waits for a lock for long."""

from __future__ import annotations

import pytest

from tests.chaos.children import Child
from tests.chaos.conftest import POSTGRESQL
from tests.chaos.releases.world import Deploy

pytestmark = [pytest.mark.processes, *POSTGRESQL]

#: Seconds that a commit may take while a migration wants the table, or has it.
LONGEST = 2.0


@pytest.mark.parametrize("deploy", ["postgresql"], indirect=True)
def test_35_migrations_under_load_keep_nobody_waiting(deploy: Deploy) -> None:
    """A column and an index on outbox and inbox, there and back again; a reader has the tables for some seconds."""
    producer, reader = deploy.actor("one"), deploy.actor("one")
    daemons = [deploy.start("one", what) for what in ("cqrs_relay", "cqrs_consume")]
    producer.do("produce 5")
    reader.begin("read 8")
    env = deploy.env("one")
    migration = Child("alter", "-m", "tests.chaos.releases.alter", "2", env=env, folder=deploy.folder)
    deploy.children.append(migration)

    rounds = 0
    while migration.code is None:
        producer.do("produce 5")
        rounds += 1
    reader.end()
    deploy.settle()

    assert migration.code == 0, migration.output()
    assert [child.terminate()[0] for child in daemons] == [0, 0]
    assert (deploy.dead(), deploy.lacks(), deploy.out_of_order()) == (0, {}, [])
    assert rounds > 1
    assert producer.longest < LONGEST
