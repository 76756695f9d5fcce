"""The weaknesses B31 and B32: what is kept for ever or cannot be found, and where the tables cannot be at all."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from attrs import frozen
from django.core.management import call_command
from django.db import connection, models
from django.utils import timezone

from django_cqrs.models import History, Inbox, Outbox, Saga, SagaEntry, Seen
from simplecqrs import NotificationEvent
from tests.desk.project import Project
from tests.desk.trips import Trip, trip_saga

pytestmark = pytest.mark.usefixtures("committed")


@frozen
class Told(NotificationEvent, name="desk.told", topic="told"):
    """Somebody was told something."""

    who: str


def told(project: Project) -> None:
    """Let an event go through outbox and inbox to its handler."""
    project.consume(Told, consumer="listening")
    project.publish(Told("ada"))
    project.ship()
    project.work("listening")


def indexed(kind: type[models.Model]) -> set[tuple[str, ...]]:
    """Return the first columns of a table's indexes, as they are in the database."""
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, kind._meta.db_table)
    lists = [tuple(one["columns"]) for one in found.values() if one["index"] or one["unique"] or one["primary_key"]]
    return {columns[:number] for columns in lists for number in range(1, len(columns) + 1)}


def test_b31_outbox_and_inbox_keep_nothing_that_is_done(project: Project) -> None:
    """So there is nothing to purge; the id that is remembered is purged in time."""
    told(project)

    assert (Outbox.objects.count(), Inbox.objects.count(), Seen.objects.count()) == (0, 0, 1)
    Seen.objects.update(seen_at=timezone.now() - timedelta(days=15))
    call_command("cqrs_purge", "seen", verbosity=0)
    assert Seen.objects.count() == 0


def test_b31_what_was_shipped_is_archived_if_the_project_wants_that(project: Project, settings: Any) -> None:
    """For as long as it says."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "KEEP_HISTORY": "48h"}
    told(project)
    kept = History.objects.count()

    History.objects.update(shipped_at=timezone.now() - timedelta(hours=49))
    call_command("cqrs_purge", "history", verbosity=0)

    assert (kept, History.objects.count()) == (1, 0)


def test_b31_a_saga_that_has_ended_is_purged_with_its_log(project: Project) -> None:
    """And one that has just ended is not."""
    saga = trip_saga(project.registry, "a", "b")
    old, new = (saga.run(project.bus, Trip()).saga_id for _ in range(2))
    long_ago = timezone.now() - timedelta(days=31)
    Saga.objects.filter(id=old).update(created_at=long_ago, updated_at=long_ago)

    call_command("cqrs_purge", "sagas", verbosity=0)

    assert set(Saga.objects.values_list("id", flat=True)) == {new}
    assert set(SagaEntry.objects.values_list("saga_id", flat=True)) == {new}


def test_b31_what_is_asked_for_has_an_index() -> None:
    """In the database itself."""
    assert {("status", "created_at"), ("created_at",), ("due_at",)} <= indexed(Saga)
    assert ("saga_id", "id") in indexed(SagaEntry)
    assert ("queue", "lane", "id") in indexed(Outbox) & indexed(Inbox)
    assert ("seen_at",) in indexed(Seen)


def test_b32_the_tables_are_made_by_migrate_on_each_database(project: Project) -> None:
    """This one has them, and an event goes through them; nothing but Django is asked for."""
    with connection.cursor() as cursor:
        there = set(connection.introspection.table_names(cursor))

    told(project)

    assert {kind._meta.db_table for kind in (Outbox, Inbox, Seen, Saga, SagaEntry)} <= there
    assert project.seen == ["listening ada"]


def test_b32_no_time_that_is_stored_is_naive(project: Project) -> None:
    """They are read as what they were."""
    before = timezone.now() - timedelta(seconds=60)
    saga = trip_saga(project.registry, "a")

    told(project)
    saga.run(project.bus, Trip())

    times = [Seen.objects.get().seen_at, Saga.objects.get().created_at, Saga.objects.get().updated_at]
    assert [before < time < timezone.now() + timedelta(seconds=60) for time in times] == [True] * 3
