"""Ten workers of sagas, killed and stopped at random: consumers, those in the foreground, and those that recover."""

from __future__ import annotations

import os
import random
import signal
import threading

import pytest

from tests.chaos.children import Child, wait_until
from tests.chaos.conftest import MARIADB, POSTGRESQL, SOAK, MakeWorld, cases
from tests.chaos.sagas.judging import Effect, Findings, Line, judge
from tests.chaos.sagas.shapes import Shape
from tests.chaos.world import PATIENCE, World

pytestmark = pytest.mark.processes

SAGAS = int(os.environ.get("CHAOS_SAGAS_NUMBER", "500" if SOAK else "60"))
TROUBLES = int(os.environ.get("CHAOS_SAGA_TROUBLES", "60" if SOAK else "8"))
#: Seconds of a lease, and for how long a process is stopped: longer.
LEASE, STOPPED = 1.0, 1.6
#: How sagas end that turn round, or not.
GOOD, BAD = Shape(3), Shape(3, failing=2)


@pytest.mark.parametrize(
    "database",
    cases(
        pytest.param("postgresql", marks=POSTGRESQL, id="postgresql"),
        soak=["sqlite", pytest.param("mariadb", marks=MARIADB, id="mariadb")],
    ),
)
def test_ten_workers_that_are_killed_and_stopped_end_all_sagas(make_world: MakeWorld, database: str) -> None:
    """No step is committed twice; each saga has completed, or is compensated; its log says what happened."""
    world = make_world(database, "database", sagas=1, lease=LEASE, step_seconds=0.02, recovery_interval=0.2)
    posts = [Post(world, kind) for kind in (*["consumer"] * 5, *["runner"] * 4, "recovery")]

    rnd = random.Random(world.seed)
    for number in range(TROUBLES):
        rnd.choice(posts).trouble(rnd, kill=number % 2 == 0)
    wait_until(lambda: world.count("cqrs_saga") >= SAGAS, seconds=PATIENCE * 10, what=f"that there are {SAGAS} sagas")
    (world.folder / "enough").touch()
    codes = [post.child.finish(seconds=PATIENCE)[0] for post in posts if post.kind == "runner"]
    wait_until(lambda: _all_ended(world), seconds=PATIENCE, what="that all sagas have ended", every=0.2)
    world.stop([post.child for post in posts if post.kind != "runner"])

    assert codes == [0] * 4, world.said()[-3000:]
    wrong = judge_all(world)
    statuses = dict(world.store.query("SELECT status, COUNT(*) FROM cqrs_saga GROUP BY status"))
    kills, stops = sum(post.kills for post in posts), sum(post.stops for post in posts)
    overtaken = world.said().count("overtaken") + world.said().count("came too late")
    again = world.store.query("SELECT COUNT(*) FROM cqrs_saga_entry WHERE event = 'unknown'")[0][0]
    figures = {"kills": kills, "stops": stops, "asked again": again, "too late": overtaken, **statuses}
    world.note(f"ten workers of sagas, {database}", events=sum(statuses.values()), **figures)
    assert wrong == {}
    assert set(statuses) == {"COMPLETED", "COMPENSATED"}


class Post:
    """A place that is always filled by a process."""

    def __init__(self, world: World, kind: str) -> None:
        self._world = world
        self.kind = kind
        self.kills = self.stops = 0
        self.child = self._begin()

    def _begin(self) -> Child:
        if self.kind == "consumer":
            return self._world.consumer("sagas")
        if self.kind == "recovery":
            return self._world.spawn("recovery", "-m", "django", "cqrs_sagas", "recover")
        return self._world.spawn("runner", "-m", "tests.chaos.sagas.runner")

    def trouble(self, rnd: random.Random, *, kill: bool) -> None:
        """Kill the process when it has done something and start another, or stop it until its lease is over."""
        if self.kind != "recovery":  # which has something to do only after troubles
            wait_until(self._works, seconds=PATIENCE, what=f"that a {self.kind} works")
        threading.Event().wait(rnd.uniform(0, 0.2))
        if kill:
            self.child.kill()
            self.kills += 1
            self.child = self._begin()
            return
        self.child.signal(signal.SIGSTOP)
        threading.Event().wait(STOPPED)
        self.child.signal(signal.SIGCONT)
        self.stops += 1

    def _works(self) -> bool:
        return self.child.has_come_to("act", "undo")


def _all_ended(world: World) -> bool:
    left = world.store.query("SELECT COUNT(*) FROM cqrs_saga WHERE status NOT IN ('COMPLETED', 'COMPENSATED')")
    return left == [(0,)]


def judge_all(world: World) -> dict[str, list[str]]:
    """Return what is wrong with each saga."""
    effects: dict[str, list[Effect]] = {}
    logs: dict[str, list[Line]] = {}
    for saga, *row in world.store.query("SELECT saga, place, what, n FROM chaos_sagaeffect"):
        effects.setdefault(str(saga), []).append(Effect(*row))
    for saga, *row in world.store.query(
        "SELECT saga_id, step, action, event, attempt FROM cqrs_saga_entry ORDER BY id"
    ):
        logs.setdefault(str(saga), []).append(Line(*row))
    wrong: dict[str, list[str]] = {}
    for saga, status in world.store.query("SELECT id, status FROM cqrs_saga"):
        shape = GOOD if status == "COMPLETED" else BAD
        found = judge(shape, Findings(status, effects.get(str(saga), []), logs.get(str(saga), []), []))
        if found:
            wrong[str(saga)] = found
    return wrong
