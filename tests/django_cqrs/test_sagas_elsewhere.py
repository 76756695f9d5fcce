"""Sagas in another database than the inboxes', by another engine, and those whose steps end their process."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction

from django_cqrs.consumers import consumers
from django_cqrs.doorbells import doorbells
from django_cqrs.errors import WroteElsewhere
from django_cqrs.loops import run
from django_cqrs.models import Blocked, Dead, Inbox, Saga
from simplecqrs import Command, Mediator
from simplecqrs.backoff import Retry
from simplecqrs.saga import Parallel, Step, hand_in
from simplecqrs.saga import Saga as Definition
from tests.desk.models import AuditEntry
from tests.desk.project import Project
from tests.desk.trips import PaymentCame, Trip, doing, hurry, noted, paid, trip_saga, undoing

pytestmark = pytest.mark.usefixtures("committed")

rung: list[str] = []


def ring(consumer: str) -> None:
    """Stand for another task queue."""
    rung.append(consumer)


@pytest.fixture
def audited(project: Project, settings: Any) -> Definition[Trip]:
    """Return a saga that is kept on another alias."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "DATABASES": {"saga.audited": "audit"}}

    def act(state: Trip) -> None:
        AuditEntry.objects.create(text=state.who)

    steps = [Step("first", act, undoing("first")), paid(timeout=timedelta(hours=1)), Step("last", act)]
    return Definition("audited", Trip, steps, registry=project.registry)


def test_a_saga_lives_where_its_steps_write(project: Project, audited: Definition[Trip]) -> None:
    """The consumer works there as well; events that it waits for come from the other database."""
    with transaction.atomic("audit"):
        saga_id = audited.start(project.bus, Trip())
    project.work()
    assert Saga.objects.using("audit").get().status == "WAITING"
    project.publish(PaymentCame("ann"))
    project.ship()
    project.work()

    kept = Saga.objects.using("audit").get(id=saga_id)
    assert (kept.status, kept.due_at, Saga.objects.count()) == ("COMPLETED", None, 0)
    assert AuditEntry.objects.using("audit").count() == 2
    assert Blocked.objects.count() == 0


def test_an_event_is_handed_in_to_another_database(project: Project, audited: Definition[Trip]) -> None:
    """By whoever has it, wherever that is."""
    saga_id = audited.start(project.bus, Trip())
    project.work()

    with transaction.atomic():
        assert hand_in(project.bus, PaymentCame("ann")) == [saga_id]
    project.work()

    assert Saga.objects.using("audit").get().status == "COMPLETED"


def test_a_saga_cannot_be_started_by_a_command_of_another_database(project: Project, audited: Definition[Trip]) -> None:
    """It would not share the command's fate."""

    class Begin(Command[None], name="desk.Begin"):
        """Begins one."""

    def begin(_: Begin) -> None:
        audited.start(project.bus, Trip())

    project.registry.add(Begin, begin)

    with pytest.raises(WroteElsewhere):
        project.bus.send(Begin())

    assert Saga.objects.using("audit").count() == 0


def test_another_engine_is_rung_for_sagas(project: Project, settings: Any) -> None:
    """By the commit that starts one."""
    engine = {"sagas": {"engine": f"{__name__}.ring"}}
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "CONSUMERS": engine}
    saga = trip_saga(project.registry, "hotel")
    rung.clear()

    with transaction.atomic():
        saga.start(project.bus, Trip())
    doorbells.flush(5)

    assert rung == ["sagas"]


@pytest.mark.parametrize("counted", [False, True])
def test_a_step_that_ends_its_process_each_time_is_given_up(project: Project, settings: Any, counted: bool) -> None:
    """What it may have done is undone; nothing is left in the inbox, and nobody has to look at a dead letter."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "SAGAS": {"take_overs": Retry(1, first=0)}}
    deaths = 0

    def die(_: Trip) -> None:
        nonlocal deaths
        deaths += 1
        raise KeyboardInterrupt

    fallback = doing("bus") if counted else None
    hotel = Step("hotel", die, undoing("hotel"), fallback=fallback)
    saga = trip_saga(project.registry, "flight", "hotel", "thanks", hotel=hotel)
    saga.start(project.bus, Trip())

    while deaths <= 10 and Saga.objects.get().status == "RUNNING":
        with suppress(KeyboardInterrupt):
            project.work()
        hurry()
    project.work()

    assert Saga.objects.get().status == ("FAILED" if counted else "COMPENSATED")
    assert (Inbox.objects.count(), Blocked.objects.count(), Dead.objects.count()) == (0, 0, 0)


def test_branches_of_a_saga_that_is_run_at_once_have_threads(project: Project) -> None:
    """Each with a connection of its own, which is closed; on SQLite one after the other."""
    seen: list[Any] = []

    def look(_: Trip) -> None:
        seen.append(connections["default"].connection)

    both = Parallel(Step("a", look, undoing("a")), Step("b", look, undoing("b")))
    saga: Definition[Trip] = Definition("both", Trip, [both, Step("c", doing("c"))], registry=project.registry)

    result = saga.run(project.bus, Trip())

    assert result.status == "COMPLETED"
    assert len(set(map(id, seen))) == (1 if connection.vendor == "sqlite" else 2)
    assert noted() == ["c ann"]
    assert isinstance(project.bus, Mediator)
    assert run(consumers("sagas"), drain=True) == 0


def test_settings_for_their_consumer_do_no_harm_where_there_are_no_sagas(project: Project, settings: Any) -> None:
    """The last one may be gone, and its settings not yet."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "CONSUMERS": {"sagas": {"retry": Retry(3)}}}

    project.work()

    assert "sagas" in {job.name.removeprefix("consumer ") for job in consumers()}
