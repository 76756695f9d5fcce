"""Engines: who is rung for, who rings again when work is overdue, and what a task does that answers."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import django
import pytest
from attrs import define, field, frozen
from django.core.management import call_command
from django.db.models import F

import django_cqrs
from django_cqrs import doorbells, engines, ticks
from django_cqrs.checks import check_settings
from django_cqrs.models import Blocked, Inbox
from django_cqrs.overdue import Overdue, errands
from simplecqrs import Command, NotificationEvent, Retry
from simplecqrs.errors import MissingExtra
from tests.desk.project import Project

committing = pytest.mark.usefixtures("committed")
RING = f"{__name__}.ring"


@frozen
class Called(NotificationEvent, topic="calls", key="who"):
    """For everybody."""

    who: str


@frozen
class Call(Command[None]):
    """Is deferred."""

    who: str


@define
class Rung:
    """Who was rung for, by an engine of somebody's own."""

    names: list[str] = field(factory=list)

    def heard(self) -> list[str]:
        """Return who was rung for since the last time."""
        assert doorbells.doorbells.flush(20)
        names, self.names = self.names, []
        return names


current: Rung


def ring(consumer: str) -> None:
    """Ask the workers of another task queue."""
    current.names.append(consumer)


@pytest.fixture
def rung(settings: Any) -> Iterator[Rung]:
    """Let an engine of somebody's own work for the deferred commands and for one consumer."""
    global current  # noqa: PLW0603 - the engine is found by its path
    entries = {"deferred": {"engine": RING}, "one": {"engine": RING}, "two": {}}
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "CONSUMERS": entries}
    assert doorbells.doorbells.flush()
    current = Rung()
    yield current
    assert doorbells.doorbells.flush()


@pytest.fixture
def called(rung: Rung, project: Project) -> Project:
    """Return a project with a message in the inbox of the consumer who is rung for."""
    project.consume(Called, consumer="one")
    project.registry.add(Call, lambda command: None)
    project.publish(Called("ada"))
    project.ship()
    assert rung.heard() == ["one"]
    return project


def overdue(*consumers: str) -> Overdue:
    """Return what looks for work that nobody does."""
    return Overdue(alias="default", consumers=consumers)


def wait_long_ago() -> None:
    """Let what waits have waited for a minute."""
    Inbox.objects.update(created_at=F("created_at") - timedelta(minutes=1))


# overdue work


@committing
def test_a_message_that_waits_for_a_second_is_rung_for_again(rung: Rung, called: Project) -> None:
    """Its doorbell was lost, or its worker has died; a new one is somebody's already."""
    overdue("one").step()
    assert rung.heard() == []

    wait_long_ago()
    assert overdue("one").step() == 0  # nobody drains for it

    assert rung.heard() == ["one"]


@committing
def test_a_retry_that_is_due_is_rung_for(rung: Rung, project: Project) -> None:
    """Not before."""

    def fail(event: Called, publish: Any) -> None:
        raise ValueError(event.who)

    project.consume(Called, consumer="one", work=fail, retry=Retry(2, first=60.0))
    project.publish(Called("ada"))
    project.ship()
    project.work("one")
    rung.heard()
    overdue("one").step()
    assert rung.heard() == []

    Blocked.objects.update(next_at=F("next_at") - timedelta(minutes=2))
    overdue("one").step()

    assert rung.heard() == ["one"]


@committing
def test_who_does_not_answer_is_rung_for_less_and_less_often(rung: Rung, called: Project) -> None:
    """After 1, 2, 4 ... 15 seconds; as soon as something moves, after one again."""
    now = 1000.0
    looks = Overdue(alias="default", consumers=["one"], clock=lambda: now)

    def pauses(seconds: int) -> list[int]:
        nonlocal now
        rings = list[float]()
        for _ in range(seconds):
            looks.step()
            if rung.heard():
                rings.append(now)
            now += 1
        return [round(later - at) for at, later in pairwise(rings)]

    wait_long_ago()
    assert pauses(50) == [1, 2, 4, 8, 15, 15]

    Inbox.objects.all().delete()
    called.publish(Called("bob"))
    called.ship()
    rung.heard()
    wait_long_ago()
    assert pauses(30)[:3] == [1, 2, 4]


@committing
def test_the_relay_rings_for_what_is_overdue(rung: Rung, called: Project) -> None:
    """As a daemon, and as a tick; one that has to ship to some brokers only does not."""
    wait_long_ago()
    ticks.relay()
    assert rung.heard() == ["one"]

    call_command("cqrs_relay", "--once", stdout=StringIO())
    assert rung.heard() == ["one"]

    call_command("cqrs_relay", "--once", "--route", "database", stdout=StringIO())
    call_command("cqrs_relay", "--once", "--database", "audit", stdout=StringIO())
    assert rung.heard() == []


@committing
def test_nobody_looks_where_the_daemon_works(project: Project) -> None:
    """It looks by itself."""
    project.consume(Called, consumer="one")

    assert errands() == []


# what answers


@committing
def test_a_task_works_until_nothing_waits(rung: Rung, called: Project) -> None:
    """And rings for nobody."""
    for n in range(20):
        called.publish(Called(f"bob {n}"))
    called.ship()
    rung.heard()

    ticks.consume("one")

    assert len(called.seen) == 21
    assert rung.heard() == []


@committing
def test_a_task_whose_time_is_up_rings_for_what_is_left(rung: Rung, project: Project, settings: Any) -> None:
    """Another one goes on; so no task lasts for long."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "RELAY_TICK_SECONDS": 0.05}
    project.consume(Called, consumer="one", work=lambda event, publish: time.sleep(0.03))
    for _ in range(5):
        project.publish(Called("ada"))
    project.ship()
    rung.heard()

    ticks.consume("one")
    first = len(project.seen)
    assert rung.heard() == ["one"]
    while rung.heard() or len(project.seen) < 5:
        ticks.consume("one")

    assert 0 < first < 5
    assert len(project.seen) == 5
    assert Inbox.objects.count() == 0


@committing
def test_who_is_rung_for_has_what_it_reads_fetched_by_the_relay(rung: Rung, project: Project, settings: Any) -> None:
    """And is rung for when it is in the inbox; the task that answers does not go to the broker."""
    settings.DJANGO_CQRS = {
        **settings.DJANGO_CQRS,
        "BROKERS": {"memory": {"BACKEND": "simplecqrs.memory.MemoryBroker"}},
        "ROUTES": {"*": "memory"},
        "CONSUMERS": {"one": {"engine": RING, "broker": "memory"}},
    }
    project.consume(Called, consumer="one")
    project.publish(Called("ada"))
    project.ship()
    ticks.consume("one")
    assert (project.seen, rung.heard()) == ([], [])

    ticks.relay()

    assert rung.heard() == ["one"]
    ticks.consume("one")
    assert project.seen == ["one ada"]


# engines


def test_an_engine_is_rung_for_by_its_name_or_by_the_path_of_a_function(rung: Rung) -> None:
    """The daemon looks by itself."""
    engines.ring(RING, "one")
    engines.ring("daemon", "two")

    assert rung.heard() == ["one"]


def test_an_engine_that_cannot_ring_is_told_at_start_up(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its cure."""
    monkeypatch.delitem(sys.modules, "django_cqrs.tasks", raising=False)
    monkeypatch.setitem(sys.modules, "celery", None)
    entries = {
        "one": {"engine": "celery"},
        "two": {"engine": "tests.nothing.ring"},
        "three": {"engine": f"{__name__}.RING"},
        "four": {"engine": RING},
    }
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "CONSUMERS": entries}

    one, two, three = (str(message.msg) for message in check_settings(None))

    assert "CONSUMERS['one']" in one
    assert "pip install 'simplecqrs[celery]'" in one
    assert "CONSUMERS['two']" in two
    assert "no function that takes a consumer's name" in three


def test_a_process_without_a_celery_app_is_told_at_start_up(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a web server that does not import it: Celery would ring at localhost."""
    from celery import _state

    monkeypatch.setattr(_state, "_apps", set())
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "CONSUMERS": {"deferred": {"engine": "celery"}}}

    [told] = check_settings(None)

    assert "has no Celery app; let the project's __init__.py import it" in str(told.msg)


def test_no_task_is_ever_sent_for_later() -> None:
    """Celery keeps those in its workers' memory, and some brokers give them to all: the schedule is the database's."""
    code = "\n".join(path.read_text() for path in Path(django_cqrs.__file__).parent.rglob("*.py"))

    assert re.findall(r"\b(?:countdown|eta|run_after)\b\s*=", code) == []


# Django's tasks


@pytest.fixture
def tasks(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Django's tasks work for one consumer: at once, in the thread of the doorbells."""
    package = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"
    settings.TASKS = {"default": {"BACKEND": f"{package}.backends.immediate.ImmediateBackend", "QUEUES": ["cqrs"]}}
    entries = {"one": {"engine": "django-tasks"}}
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "CONSUMERS": entries, "TASKS_QUEUE": "cqrs"}
    framework = pytest.importorskip(package, reason="django-tasks is not installed: pip install 'simplecqrs[tasks]'")
    monkeypatch.setattr(framework, "task_backends", framework.TaskBackendHandler())
    monkeypatch.delitem(sys.modules, "django_cqrs.django_tasks", raising=False)


@committing
@pytest.mark.usefixtures("tasks")
def test_djangos_tasks_are_an_engine(project: Project) -> None:
    """A commit enqueues a task that bears the consumer's name alone, and works its inbox."""
    project.consume(Called, consumer="one")
    project.publish(Called("ada"))
    project.ship()

    assert doorbells.doorbells.flush(20)
    assert project.seen == ["one ada"]


@pytest.mark.usefixtures("tasks")
@pytest.mark.parametrize("wrong", [{"TASKS_QUEUE": "mails"}, {"TASKS_BACKEND": "mails"}], ids=str)
def test_a_backend_or_a_queue_that_is_not_in_tasks_is_told_at_start_up(settings: Any, wrong: dict[str, str]) -> None:
    """And not at the first commit, where nobody would hear it."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, **wrong}

    [told] = check_settings(None)

    assert f"{next(iter(wrong))}='mails'" in str(told.msg)
    assert "setting TASKS" in str(told.msg)


def test_a_django_without_tasks_asks_for_their_backport(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name of the extra."""
    for name in ("django_cqrs.django_tasks", "django.tasks", "django_tasks"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        if name != "django_cqrs.django_tasks":
            monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(MissingExtra, match=r"pip install 'simplecqrs\[tasks\]'"):
        import_module("django_cqrs.django_tasks")
