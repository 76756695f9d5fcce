"""A command under an idempotency key has its effect once, and whoever sends it gets the same answer."""

from __future__ import annotations

import random

import pytest

from tests.chaos.conftest import MARIADB, POSTGRESQL, MakeWorld
from tests.chaos.nemesis import Post, kill_in_turn
from tests.chaos.world import EVENTS, KILLS, PATIENCE

pytestmark = pytest.mark.processes


@pytest.mark.parametrize(
    "database",
    [pytest.param("postgresql", marks=POSTGRESQL), pytest.param("mariadb", marks=MARIADB), "sqlite"],
)
def test_50_commands_are_done_once_though_their_senders_are_killed(make_world: MakeWorld, database: str) -> None:
    """Four processes send the same commands over and over; they are killed at any moment, before and after a commit."""
    keys = EVENTS // 5
    world = make_world(database, "database", dwell_produce=0.002)
    posts = [
        Post.fill(lambda: world.spawn("again", "-m", "tests.chaos.project.again", "--keys", str(keys)), "send")
        for _ in range(4)
    ]

    kill_in_turn(posts, KILLS, random.Random(world.seed))
    (world.folder / "enough").touch()
    for post in posts:
        code, _ = post.child.finish(seconds=PATIENCE)
        assert code == 0, post.child.output()

    rows = dict(world.store.query("SELECT deed, version FROM chaos_deed"))
    answers = {(line["number"], line["version"]) for line in world.journal()}
    assert world.count("chaos_deed") == world.count("cqrs_idempotency") == keys
    assert answers == {(number, rows[f"deed {number}"]) for number in range(keys)}
    world.note(f"commands once {database}", kills=KILLS, keys=keys, answers=len(world.journal()))
