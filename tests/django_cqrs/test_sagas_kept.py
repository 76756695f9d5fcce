"""Sagas that have ended are forgotten in time; a TestCase sees a saga to its end."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db.models import F

from django_cqrs.models import Inbox, Saga, SagaEntry, SagaMail, SagaWait
from django_cqrs.testing import run_all
from simplecqrs.saga import Step, hand_in
from tests.desk.project import Project
from tests.desk.trips import PaymentCame, Trip, doing, noted, paid, trip_saga, undoing


def fails(_: Trip) -> None:
    """Fail."""
    raise ValueError("no seats")


def age(days: float) -> None:
    """Let all that is stored of sagas be older."""
    ago = timedelta(days=days)
    Saga.objects.update(created_at=F("created_at") - ago, updated_at=F("updated_at") - ago)
    SagaMail.objects.update(at=F("at") - ago)


@pytest.mark.usefixtures("committed")
def test_sagas_that_have_ended_are_forgotten(project: Project, settings: Any) -> None:
    """With their logs, after SAGA_DAYS; what is at work, or was given up, stays, and so does what is younger."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "SAGA_DAYS": 10}
    saga = trip_saga(project.registry, "hotel", "paid", "thanks", paid=paid())
    done, failed, waiting = (saga.start(project.bus, Trip(who)) for who in ("ann", "bob", "eve"))
    project.work()
    hand_in(project.bus, PaymentCame("ann"))
    hand_in(project.bus, PaymentCame("nobody"))
    project.work()
    Saga.objects.filter(id=failed).update(status="FAILED")
    age(11)
    young = saga.start(project.bus, Trip("zoe"))

    call_command("cqrs_purge", stdout=(said := StringIO()))

    assert set(Saga.objects.values_list("id", flat=True)) == {failed, waiting, young}
    assert not SagaEntry.objects.filter(saga_id=done).exists()
    assert SagaEntry.objects.filter(saga_id=waiting).exists()
    assert (SagaWait.objects.filter(saga_id=waiting).count(), SagaMail.objects.count()) == (1, 0)
    assert "default: 1 sagas that have ended forgotten" in said.getvalue()


@pytest.mark.django_db(databases=["default", "audit"])
def test_run_all_sees_a_saga_to_its_end(project: Project) -> None:
    """Inside a TestCase, steps that are called after a commit included."""
    hotel = Step("hotel", doing("hotel"), undoing("hotel"), idempotent=False)
    saga = trip_saga(project.registry, "hotel", "flight", "car", hotel=hotel, car=Step("car", doing("car", fails)))

    saga.start(project.bus, Trip())
    run_all()

    assert Saga.objects.get().status == "COMPENSATED"
    assert noted() == ["hotel ann", "flight ann", "no flight ann", "no hotel ann"]


@pytest.mark.django_db(databases=["default", "audit"])
def test_run_all_lets_time_pass_for_sagas(project: Project) -> None:
    """Pauses before attempts, and times to wait, end earlier."""
    saga = trip_saga(project.registry, "paid", "thanks", paid=paid(timeout=timedelta(hours=1)))

    saga.start(project.bus, Trip())
    run_all()
    assert Saga.objects.get().status == "WAITING"
    run_all(ahead=timedelta(hours=2))

    assert Saga.objects.get().status == "COMPENSATED"


@pytest.mark.django_db(databases=["default", "audit"])
def test_a_saga_runs_at_once_in_a_test(project: Project) -> None:
    """Though a test's transaction is open."""
    saga, saga_id = trip_saga(project.registry, "hotel", "thanks"), uuid4()

    result = saga.run(project.bus, Trip(), saga_id=saga_id)

    assert result.unwrap().done == ("hotel", "thanks")
    assert (Saga.objects.get().id, Inbox.objects.count()) == (saga_id, 0)
