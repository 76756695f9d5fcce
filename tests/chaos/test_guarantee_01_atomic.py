"""Row 1: an event is stored if and only if its data is committed."""

from __future__ import annotations

import json
import random

import pytest

from tests.chaos.checker import acknowledged
from tests.chaos.conftest import MakeWorld
from tests.chaos.nemesis import Post, kill_in_turn
from tests.chaos.world import EVENTS, KILLS, World

pytestmark = pytest.mark.processes

#: What is raised at each point, and the deeds that are left; a swallowed error of a plain cursor differs.
LEFT = {
    "handler": ("ValueError", []),
    "event-handler": ("ValueError", []),
    "savepoint": ("", ["savepoint", "savepoint-after"]),
    "swallowed": ("TransactionBroken", []),
    "commit": ("IntegrityError", []),
    "nested": ("", ["nested"]),
    "elsewhere": ("WroteElsewhere", []),
    "after-commit": ("", ["after-commit"]),
    "nowhere": ("", ["nowhere"]),
    "outer_rollback": ("ValueError", []),
    "view_fails": ("ValueError", []),
    "view_succeeds": ("", ["view-succeeds"]),
    "second_alias_fails": ("ValueError", []),
    "second_alias_succeeds": ("", []),
}
CURSOR = {"postgresql": ("TransactionBroken", [])}
CURSOR |= {database: ("", ["swallowed-cursor"]) for database in ("mariadb", "sqlite")}


def deeds(world: World, table: str, *, alias: str = "default") -> list[str]:
    """Return the deeds of a table in their order."""
    column = "payload" if table == "cqrs_outbox" else "deed"
    found = [row[0] for row in world.store.query(f"SELECT {column} FROM {table} ORDER BY id", alias=alias)]
    return [json.loads(bytes(payload))["deed"] for payload in found] if column == "payload" else found


def test_guarantee_01_rows_and_events_share_one_fate_at_each_point(
    make_world: MakeWorld, pair: tuple[str, str]
) -> None:
    """Handler, event handler, savepoint, swallowed error, view, second alias, commit: no ghost, no lost event."""
    world = make_world(*pair)
    expected = {**LEFT, "swallowed-cursor": CURSOR[pair[0]]}

    child = world.spawn("roll-back", "-m", "tests.chaos.project.roll_back")
    assert child.finish(seconds=60)[0] == 0, child.output()

    raised = json.loads(child.output().splitlines()[-1])
    assert raised == {point: error for point, (error, _) in expected.items()}
    left = sorted(deed for _, deeds_ in expected.values() for deed in deeds_)
    assert sorted(deeds(world, "chaos_deed")) == left
    assert sorted(deeds(world, "cqrs_outbox")) == left
    assert deeds(world, "chaos_auditdeed", alias="audit") == ["audit-succeeds"]
    assert deeds(world, "cqrs_outbox", alias="audit") == ["audit-succeeds"]

    world.manage("cqrs_relay", "--drain")
    world.manage("cqrs_consume", "--drain")

    assert sorted(deeds(world, "chaos_handled")) == sorted([*left, "audit-succeeds"])


def test_guarantee_01_an_event_is_there_exactly_if_the_row_of_a_killed_producer_is(
    make_world: MakeWorld, pair: tuple[str, str]
) -> None:
    """Producers killed in the middle of their transactions leave both or neither."""
    world = make_world(*pair, dwell_produce=0.002)
    relay, consumers = world.relay(), [world.consumer() for _ in range(2)]
    names = iter(f"p{number}" for number in range(1000))
    posts = [Post.fill(lambda: world.producer(next(names), 0, 150), "produce") for _ in range(2)]

    kill_in_turn(posts, KILLS, random.Random(world.seed))
    world.enough([post.child for post in posts])
    more = world.producer("last", EVENTS // 10, 400)
    world.enough([more])
    world.settle()
    world.stop([relay, *consumers])

    verdict = world.judge(f"producer killed {'+'.join(pair)}", kills=KILLS)
    evidence = world.evidence()
    assert verdict.forgotten == frozenset()
    halves = {line["deed"] for line in evidence.journal if line["what"] == "intent"}
    assert {fact.deed for fact in evidence.committed} <= halves
    assert {fact.deed for fact in acknowledged(evidence.journal)} < halves  # some were cut in the middle
