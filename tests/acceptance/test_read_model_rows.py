"""The acceptance row of read models, 98: numbers that handlers of events add up, and that can be added up anew."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import frozen
from django.db import transaction
from django.db.models import F

from django_cqrs.inspection import DjangoInspection
from simplecqrs import Mediator, NotificationEvent, Publish, Registry, Retry
from simplecqrs.memory import MemoryBroker
from tests.desk.models import Note, Tally
from tests.desk.project import Project

pytestmark = pytest.mark.usefixtures("committed")


@frozen
class Ordered(NotificationEvent, name="desk.Ordered", topic="orders", key="who"):
    """Something was ordered."""

    who: str
    day: str


def count(event: Ordered, publish: Publish) -> None:
    """Add one; it would be wrong if it were called twice."""
    Tally.objects.get_or_create(name=event.day)
    Tally.objects.filter(name=event.day).update(n=F("n") + 1)


def counted() -> dict[str, int]:
    """Return the read model."""
    return dict(Tally.objects.values_list("name", "n"))


def test_row_98_handlers_of_events_build_a_read_model_that_counts_each_event_once(project: Project) -> None:
    """Also those whose handler failed after it had added one: what it wrote was rolled back with it."""
    failures = iter([ConnectionError("the first attempt"), None, None, None])

    def shaky(event: Ordered, publish: Publish) -> None:
        count(event, publish)
        if failure := next(failures):
            raise failure

    project.consume(Ordered, consumer="reports", work=shaky, retry=Retry(3, first=0))
    project.publish(Ordered("ada", "monday"), Ordered("bob", "monday"), Ordered("ada", "tuesday"))
    project.ship()
    project.work("reports")

    assert counted() == {"monday": 2, "tuesday": 1}
    assert DjangoInspection("default").letters() == []


def test_row_98_what_a_broker_delivers_twice_is_counted_once(project: Project, settings: Any) -> None:
    """As after a crash of who published it."""
    memory = {"BACKEND": "simplecqrs.memory.MemoryBroker"}
    settings.DJANGO_CQRS = {
        **settings.DJANGO_CQRS,
        "BROKERS": {"events": memory}, "ROUTES": {"orders": ["events"]}, "CONSUMERS": {"reports": {"broker": "events"}},
    }  # fmt: skip
    from django_cqrs.brokers import broker

    project.consume(Ordered, consumer="reports", work=count)
    events = broker("events")
    assert isinstance(events, MemoryBroker)
    Mediator(Registry(), publisher=events, source="elsewhere").publish(Ordered("ada", "monday"))
    events.publish(events.published, deadline=1.0)

    project.work("reports")

    assert len(events.published) == 2
    assert counted() == {"monday": 1}


def test_row_98_a_read_model_is_built_anew_by_its_own_handlers(project: Project) -> None:
    """From the tables that the commands wrote, in one transaction: readers see the old numbers, or the new ones."""
    Tally.objects.create(name="monday", n=17)  # as a bug has left it
    Note.objects.bulk_create([Note(text="ada monday"), Note(text="bob monday"), Note(text="ada tuesday")])

    with transaction.atomic():
        Tally.objects.all().delete()
        for note in Note.objects.order_by("pk"):  # stands for an order
            count(Ordered(*note.text.split()), lambda event: None)

    assert counted() == {"monday": 2, "tuesday": 1}
