"""No 34: a replica is promoted that lacks the last commits, and gives ids a second time; nothing is done by hand."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from contextlib import AbstractContextManager, closing
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from attrs import evolve

from tests.chaos.checker import check
from tests.chaos.children import wait_until
from tests.chaos.conftest import POSTGRESQL, REDIS, MakeWorld
from tests.chaos.proxy import Proxy
from tests.chaos.servers import Servers, private_servers
from tests.chaos.world import EVENTS, World

pytestmark = [pytest.mark.processes, *POSTGRESQL, *REDIS]

BATCH = 50
#: Events that the replica lacks at least: more than the 32 ids by which PostgreSQL's log is ahead of a sequence.
LACKS = 150


def test_34_a_replica_is_promoted_that_lacks_the_last_commits(make_world: MakeWorld) -> None:
    """What it has is published, has its effect once and keeps its order; what it lacks, others may know."""
    with (
        private_servers("postgresql") as primary,
        replica_of(primary) as replica,
        closing(Proxy(primary.url("postgresql"))) as address,
    ):
        world = make_world("postgresql", "redis", server=address.start(), batch=BATCH)
        crew = [world.relay(), world.relay(), world.consumer(), world.consumer()]
        producers = [world.producer(name, EVENTS // 8, 60) for name in ("p1", "p2")]
        wait_until(lambda: world.count("chaos_handled") > LACKS, seconds=60, what="that events flow")

        replica.do("stop")
        had = world.count("chaos_deed")
        wait_until(lambda: world.count("chaos_handled") > had + LACKS, seconds=60, what="what the replica lacks")
        given = last_id(world)
        primary.do("kill")
        replica.do("start")
        promote(replica)
        address.server = replica.url("postgresql")
        address.reset()

        begins = last_id(world)
        world.enough(producers)
        wait_until(lambda: not lost(world), seconds=120, what="that all that it has is handled", every=0.5)
        world.settle()
        world.stop(crew)

        faults, lacked = judge(world)
        world.note("failover", events=world.count("chaos_deed"), lacked=lacked, faults=faults or "none")
        assert faults == {}, f"seed {world.seed}"
        assert lacked >= LACKS
        assert begins < given - LACKS


def replica_of(primary: Servers) -> AbstractContextManager[Servers]:
    """Run a server that follows another one, with all that it does."""
    return private_servers("postgresql", prepare=partial(copy, primary.url("postgresql")))


def copy(url: str, folder: Path) -> None:
    """Copy a server that runs, so that the copy follows it."""
    with psycopg.connect(url) as connection:
        (row,) = connection.execute("SELECT setting FROM pg_config WHERE name = 'BINDIR'").fetchall()
    place = folder / "postgresql"
    place.mkdir()
    account: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if not os.geteuid() else {}
    if account:
        subprocess.run(["chown", "postgres:postgres", str(place)], check=True)
    command = [f"{row[0]}/pg_basebackup", "--dbname", url, "--pgdata", str(place / "data"), "--write-recovery-conf"]
    subprocess.run([*command, "--checkpoint=fast"], check=True, cwd=place, **account)


def promote(replica: Servers) -> None:
    """Let it take over, with a timeline of its own."""
    with psycopg.connect(replica.url("postgresql")) as connection:
        assert connection.execute("SELECT pg_promote()").fetchall() == [(True,)]


def last_id(world: World) -> int:
    """Return the last id that an event in the outbox was given."""
    found = world.store.query("SELECT pg_sequence_last_value(pg_get_serial_sequence('cqrs_outbox', 'id')::regclass)")
    return int(found[0][0])


def lost(world: World) -> int:
    """Count what the replica has, and nobody has handled."""
    verdict = check(world.evidence())
    return len(verdict.unhandled | verdict.unpublished)


def judge(world: World) -> tuple[dict[str, int], int]:
    """Return faults, and how many of the commits the replica lacks; what these told others is no fault, once each."""
    found = world.evidence()
    verdict, had = check(found), set(found.committed)
    of_these = evolve(
        found,
        journal=(),
        log=[entry for entry in found.log or () if entry.fact in had],
        handled=[entry for entry in found.handled if entry.fact in had],
        effects=Counter(fact.key for fact in had),
    )
    # Versions are given twice as well, so that order shows among what it has.
    faults = check(of_these).faults(duplicates=4 * BATCH)
    of_all = check(evolve(found, journal=(), committed=[*had, *verdict.ghosts]))
    faults |= {name: n for name, n in of_all.faults(duplicates=4 * BATCH).items() if not name.startswith("inverted")}
    wanted = {line["deed"] for line in found.journal if "deed" in line}
    made_up = [fact for fact in verdict.ghosts if fact.deed not in wanted]
    return {**faults, **({"made up": len(made_up)} if made_up else {})}, len(verdict.forgotten)
