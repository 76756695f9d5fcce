"""Sagas and a bank outside of the database: killed at each step, and stopped while they ask it."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.chaos.children import Child, wait_until
from tests.chaos.conftest import MARIADB, POSTGRESQL, MakeWorld, cases
from tests.chaos.sagas.bank import ask
from tests.chaos.world import World

pytestmark = pytest.mark.processes

ENDS = {"paid": "COMPLETED", "unpaid": "COMPENSATED"}
#: Not on SQLite: whoever is stopped in a step has its only write lock.
SERVERS = cases(
    pytest.param("postgresql", marks=POSTGRESQL, id="postgresql"),
    soak=[pytest.param("mariadb", marks=MARIADB, id="mariadb")],
)
#: Seconds of a lease.
LEASE = 0.6


def open_bank(world: World, *arguments: str) -> str:
    """Start a bank, and return its URL."""
    bank = world.spawn("bank", "-m", "tests.chaos.sagas.bank", *arguments)
    wait_until(bank.output, seconds=60, what="that the bank is open")
    return f"http://127.0.0.1:{bank.output().strip()}"


def crashes(world: World, bank: str, name: str, mode: str) -> list[dict[str, Any]]:
    """Let an errand crash at each of its points; all of them end."""
    lab = world.spawn("lab", "-m", "tests.chaos.sagas.errand", name, "--crash", "--mode", mode, sagas=1, bank=bank)
    code, _ = lab.finish(seconds=600)
    found = [json.loads(line) for line in lab.output().splitlines() if line.startswith('{"crash"')]
    assert code == 0, lab.output()[-3000:]
    assert found, lab.output()[-3000:]
    assert [crash for crash in found if not crash["died"] or crash["code"]] == []
    return found


@pytest.mark.parametrize("mode", ["foreground", "inbox"])
@pytest.mark.parametrize("name", ["paid", "unpaid", "doubtful"])
def test_a_bank_that_honours_keys_is_charged_once_or_not_at_all(make_world: MakeWorld, name: str, mode: str) -> None:
    """Whatever crash: what a completed saga was charged is one; what a compensated one was charged is nothing."""
    world = make_world("sqlite", "database", synchronous="OFF")

    found = crashes(world, open_bank(world, "--honours"), name, mode)

    statuses = {crash["status"] for crash in found}
    assert statuses == ({ENDS[name]} if name in ENDS else {"COMPLETED", "COMPENSATED"})
    for crash in found:
        assert crash["moved"] == int(crash["status"] == "COMPLETED"), crash
        assert crash["left"] == [int(crash["status"] == "COMPLETED")] * 3 or crash["left"] == [0, -1, 0], crash
    twice = sum(crash["asked"]["act"] > 1 for crash in found)
    assert twice or name == "doubtful"
    world.note(f"bank that honours keys, {name} {mode}", events=len(found), kills=len(found), twice=twice)


@pytest.mark.parametrize("name", ["paid", "unpaid"])
def test_a_bank_that_does_not_honour_keys_is_asked_at_least_once(make_world: MakeWorld, name: str) -> None:
    """It is charged as often as it is asked: once, or twice if a crash was between its answer and the commit."""
    world = make_world("sqlite", "database", synchronous="OFF")

    found = crashes(world, open_bank(world), name, "foreground")

    for crash in found:
        asked, refunds = crash["asked"]["act"], crash["asked"]["undo act"]
        assert crash["status"] == ENDS[name]
        assert asked in {1, 2}, crash
        assert crash["moved"] == asked - refunds, crash
    assert any(crash["asked"]["act"] == 2 for crash in found)
    world.note(f"bank without keys, {name}", events=len(found), kills=len(found))


@pytest.mark.parametrize("stop", ["before", "after"])
@pytest.mark.parametrize("database", SERVERS)
def test_a_charge_that_comes_after_its_refund_is_refused(make_world: MakeWorld, database: str, stop: str) -> None:
    """Its worker was stopped; another took the saga over and undid it; then the first one goes on, in vain."""
    world, bank, stopped, saga_id = overtaken(make_world, database, stop, "--honours")

    books = ask(bank, "books")
    assert "ended SagaMovedOn" in stopped.output()
    assert world.store.query("SELECT status FROM cqrs_saga") == [("COMPENSATED",)]
    assert books["moved"].get(saga_id, 0) == 0
    assert bool(books["refused"]) == (stop == "before")
    assert world.store.query("SELECT COUNT(*) FROM chaos_sagaeffect WHERE place = 1 AND what = 'act'") == [(0,)]
    world.note(f"charge after its refund, {database}, stopped {stop} asking", events=1, stops=1)


@pytest.mark.parametrize("database", SERVERS)
def test_a_saga_without_its_version_is_found_by_a_worker_that_was_stopped(make_world: MakeWorld, database: str) -> None:
    """A planted fault: what came too late is stored all the same."""
    world, _, stopped, _ = overtaken(make_world, database, "after", "--honours", saga_fault="no_version")

    assert "ended SagaMovedOn" not in stopped.output()
    assert world.store.query("SELECT COUNT(*) FROM chaos_sagaeffect WHERE place = 1 AND what = 'act'") == [(1,)]
    world.note("planted in sagas: no_version", events=1, stops=1, faults="found")


def overtaken(
    make_world: MakeWorld, database: str, stop: str, *honours: str, **env: object
) -> tuple[World, str, Child, str]:
    """Stop a worker beside its call of the bank, let another one undo that, and let the first one go on to its end."""
    world = make_world(database, "database", sagas=1, lease=LEASE, **env)
    bank, saga_id = open_bank(world, *honours), str(uuid4())
    errand = ["-m", "tests.chaos.sagas.errand", "doubtful", "--id", saga_id]
    stopped = world.spawn("worker", *errand, bank=bank, stop=stop)
    wait_until(lambda: _state(stopped) in "TZ", seconds=60, what="that the worker has stopped itself")
    assert stopped.code is None, stopped.output()
    wait_until(lambda: _is_over(world), seconds=60, what="that its lease is over")
    world.manage("cqrs_sagas", "recover", "--once", bank=bank)
    assert world.store.query("SELECT status FROM cqrs_saga") == [("COMPENSATED",)], world.said()[-3000:]
    stopped.signal(signal.SIGCONT)
    assert stopped.finish(seconds=60)[0] == 0, stopped.output()
    return world, bank, stopped, saga_id


def _state(child: Child) -> str:
    return Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0]


def _is_over(world: World) -> bool:
    now = "UTC_TIMESTAMP(6)" if "mysql" in world.store.url() else "now()"
    return bool(world.store.query(f"SELECT 1 FROM cqrs_saga WHERE due_at < {now}"))
