"""Deferred commands under Django's tasks: its table of tasks is emptied and a worker killed, and nothing is lost."""

from __future__ import annotations

import pytest

pytest.importorskip("django_tasks_db", reason="django-tasks-db is not installed: pip install django-tasks-db")

from tests.chaos.children import Child, wait_until
from tests.chaos.conftest import MakeWorld
from tests.chaos.world import EVENTS

pytestmark = pytest.mark.processes


def test_guarantee_10_djangos_tasks_only_ring(make_world: MakeWorld) -> None:
    """The relay rings for what is overdue: its doorbells were deleted, or rang for who is dead."""
    world = make_world("sqlite", "database", engine="django-tasks", dwell_handle=0.001)
    world.manage("migrate", "--verbosity", "0", "--database", "default")

    def start() -> Child:
        options = ["--queue-name", "cqrs", "--interval", "0.1", "--no-startup-delay"]
        return world.spawn("tasks", "-m", "django", "db_worker", *options)

    relay, workers = world.relay(), [start(), start()]
    producer = world.producer("p1", EVENTS // 10, 40, "--deferred")
    wait_until(lambda: world.count("chaos_handled"), seconds=60, what="that Django's tasks work")
    workers.pop().clear()
    world.enough([producer])
    world.manage("shell", "-c", "from django_tasks_db.models import DBTaskResult as R; R.objects.all().delete()")
    workers.append(start())
    world.settle()
    for child in (relay, *workers):
        child.terminate(seconds=30)

    world.judge("django tasks killed and emptied", kills=1)
