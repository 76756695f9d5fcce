"""Sagas in a project, rows 84 to 86: one worker at a time, recovery on schedule, definitions found by name."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, connections
from django.db.models import F

from django_cqrs import tasks
from django_cqrs.consumers import consumers
from django_cqrs.models import Saga
from django_cqrs.saga_recovery import recover
from simplecqrs.backoff import Retry
from simplecqrs.errors import SagaBusy
from simplecqrs.saga import Step
from tests.desk.processes import PATIENCE
from tests.desk.project import Project
from tests.desk.trips import Trip, noted, trip_saga, undoing

pytestmark = pytest.mark.usefixtures("committed")


def left(project: Project, *whos: str) -> list[UUID]:
    """Store sagas whose worker did not come back, a day ago."""
    saga = trip_saga(project.registry, "hotel", "flight")
    ids = []
    for who in whos:
        steps = saga.steps(project.bus, Trip(who))
        ids.append(next(steps).saga_id)
        steps.close()
    Saga.objects.update(owner="gone", due_at=F("updated_at") - timedelta(days=1))
    return ids


def test_row_84_two_workers_never_run_one_saga(project: Project) -> None:
    """Whoever holds the lease runs it; others find it busy, and those that recover leave it alone."""
    started, go_on = threading.Event(), threading.Event()

    def wait(_: Trip) -> None:
        started.set()
        assert go_on.wait(PATIENCE)

    # Elsewhere than in the transaction that a step has open: SQLite lets one write at a time.
    hotel = Step("hotel", wait, undoing("hotel"))
    saga = trip_saga(project.registry, "hotel", "flight", hotel=hotel)

    def run() -> Any:
        with project.bus.in_thread():
            return saga.run(project.bus, Trip())

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run)
        assert started.wait(PATIENCE)
        found = Saga.objects.get()
        others = recover(project.bus)
        if connection.vendor != "sqlite":
            with pytest.raises(SagaBusy):
                saga.run(project.bus, Trip(), saga_id=found.id)
        go_on.set()
        result = running.result(PATIENCE)

    assert (bool(found.owner), others, result.status) == (True, [], "COMPLETED")
    assert noted() == ["flight ann"]


def test_row_84_of_many_that_recover_one_gets_each(project: Project) -> None:
    """Each saga is taken over once, and no step commits twice."""
    whos = [f"nr{number}" for number in range(6)]
    left(project, *whos)
    barrier = threading.Barrier(3, timeout=PATIENCE)

    def work(_: int) -> None:
        try:
            barrier.wait()
            recover(project.bus)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))

    assert Saga.objects.filter(status="COMPLETED").count() == len(whos)
    assert sorted(noted()) == sorted(f"{step} {who}" for who in whos for step in ("hotel", "flight"))


def test_row_85_recovery_has_an_interval_a_batch_and_an_end(project: Project, settings: Any) -> None:
    """The consumer's process looks every so often, takes so many, and gives up what does not go on."""
    chosen = {"interval": 60.0, "batch": 2, "take_overs": Retry(1, first=0)}
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "SAGAS": chosen}
    left(project, "ann", "bob", "eve")
    [*_, recovering] = consumers("sagas")

    taken = [recovering.step()]
    waiting = len(recovering._due)
    taken += [recovering.step() for _ in range(3)]
    left_later = Saga.objects.filter(status="COMPLETED").update(status="RUNNING", due_at=F("updated_at"), owner="gone")
    looked_too_early = recovering.step()

    assert (taken, waiting) == ([1, 1, 1, 0], 1)
    assert (left_later, looked_too_early) == (3, 0)


def test_row_85_a_task_recovers_those_of_a_name(project: Project) -> None:
    """Scheduled by Celery's beat, for instance."""
    left(project, "ann", "bob")

    tasks.recover_sagas(saga="another")
    assert Saga.objects.filter(status="COMPLETED").count() == 0
    tasks.recover_sagas(saga="trip", limit=1)
    assert Saga.objects.filter(status="COMPLETED").count() == 1
    tasks.recover_sagas()

    assert Saga.objects.filter(status="COMPLETED").count() == 2


def test_row_86_definitions_are_found_by_name(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    """Recovery is told of none; one that is not there any more is reported, and not lost."""
    known, gone = left(project, "ann", "bob")
    Saga.objects.filter(id=gone).update(saga="removed")

    outcomes = {outcome.saga_id: outcome for outcome in recover(project.bus)}

    assert outcomes[known].result is not None
    assert "no saga 'removed'" in str(outcomes[gone].error)
    assert "could not be recovered" in caplog.text
    kept = Saga.objects.get(id=gone)
    assert (kept.status, kept.owner, kept.due_at is not None) == ("RUNNING", "", True)
