"""The record of what operators did: all of it is there, and none of it can be changed."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import call_command
from django.db import transaction

from django_cqrs.audit import record
from django_cqrs.errors import AppendOnly
from django_cqrs.models import Action
from simplecqrs.errors import InvalidSaga
from tests.desk.bookings import Trips
from tests.desk.project import Project

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture
def action() -> Action:
    """Return a record."""
    return record("default", "resend", who="ada", reason="the broker was emptied", box="outbox", queue="streams")


def test_a_record_cannot_be_changed_or_deleted(action: Action) -> None:
    """Neither one by one, nor many at a time, nor by one that takes its place."""
    found = Action.objects.get()
    found.reason = "nothing"
    instead = {"update_conflicts": True, "update_fields": ["reason"], "unique_fields": ["id"]}
    for change in (
        found.save,
        found.delete,
        Action.objects.all().delete,
        lambda: Action.objects.update(reason=""),
        lambda: Action.objects.bulk_update([found], ["reason"]),
        lambda: Action.objects.update_or_create({"reason": ""}, pk=found.pk),
        lambda: Action.objects.bulk_create([found], **instead),
    ):
        with pytest.raises(AppendOnly, match="a correction is a row of its own"):
            change()

    assert Action.objects.get().reason == "the broker was emptied"


def test_a_record_of_a_known_number_does_not_overwrite(action: Action) -> None:
    """It is refused by the database."""
    copy = Action(**{field.attname: getattr(action, field.attname) for field in Action._meta.concrete_fields})
    copy.reason = "another"

    with pytest.raises(Exception, match=r"(?i)unique|duplicate"), transaction.atomic():
        copy.save()

    assert Action.objects.get().reason == "the broker was emptied"


def test_what_is_recorded_is_kept_as_every_database_can() -> None:
    """Whatever somebody has typed, and however long their name is."""
    action = record("default", "resend", who="a" * 500, reason="no\0body", box="outbox", queue="streams")

    action.refresh_from_db()
    assert (len(action.who), action.reason) == (200, "no\ufffdbody")


def test_what_is_done_to_a_saga_is_recorded_like_all_else(project: Project) -> None:
    """The saga and its log are purged some day; the record stays."""
    trips = Trips(project)
    saga_id = trips.start()
    call_command("cqrs_sagas", "pause", str(saga_id), who="ada", why="a strike", stdout=StringIO())

    action = Action.objects.get()
    assert (action.who, action.act, action.reason) == ("ada", "pause", "a strike")
    assert (action.box, action.queue, action.name, action.message_id) == ("saga", "sagas", "trip", saga_id)
    assert action.cause == "RUNNING"
    out = StringIO()
    call_command("cqrs_dead", "log", stdout=out)
    assert f"ada  pause: saga sagas trip key='' message {saga_id}: a strike" in out.getvalue()


def test_what_was_refused_is_not_recorded(project: Project) -> None:
    """It has not happened."""
    trips = Trips(project)
    saga_id = trips.start()

    with pytest.raises(Exception, match="none of its steps was given up") as refused:
        call_command("cqrs_sagas", "skip", str(saga_id), who="ada", why="impatience", stdout=StringIO())

    assert isinstance(refused.value.__cause__, InvalidSaga)
    assert Action.objects.count() == 0
