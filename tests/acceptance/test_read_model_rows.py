"""The acceptance row of read models, 98, and their weakness, B41: numbers that handlers add up, and add up anew."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from attrs import frozen
from django.core.management import call_command
from django.db import transaction
from django.db.models import F

from django_cqrs.inspection import DjangoInspection
from django_cqrs.models import Action
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


def manage(*arguments: str) -> str:
    """Run cqrs_consume, and return what it said."""
    out = StringIO()
    call_command("cqrs_consume", *arguments, stdout=out)
    return out.getvalue()


def test_b41_a_read_model_is_built_anew_from_the_events_themselves(project: Project, settings: Any) -> None:
    """By its own consumer, which forgets and begins again; no other one is concerned, and nothing counts twice."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "KEEP_HISTORY": "48h"}
    buggy = iter([True, False])

    def shaky(event: Ordered, publish: Publish) -> None:
        if not next(buggy, False):  # the first release forgot to count one
            count(event, publish)

    project.consume(Ordered, consumer="reports", work=shaky)
    project.consume(Ordered, consumer="mailing")
    project.publish(Ordered("ada", "monday"), Ordered("bob", "monday"), Ordered("ada", "tuesday"))
    project.ship()
    project.work("reports", "mailing")
    assert sum(counted().values()) == 2

    Tally.objects.all().delete()
    said = manage("reports", "--reset", "--reason", "it forgot one", "--yes")
    project.work("reports", "mailing")
    manage("reports", "--rewind", "1h", "--yes")  # once too often: what it has seen is dropped at the door
    project.work("reports")

    assert counted() == {"monday": 2, "tuesday": 1}
    assert "reports has forgotten the ids of 3 messages" in said
    assert sum(entry.startswith("mailing") for entry in project.seen) == 3
    assert Action.objects.filter(act="reset", queue="reports", reason="it forgot one").exists()
