"""MAX_PENDING: who publishes to a broker that is away for long is warned, and refused, before the disk is full."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_cqrs import pressure
from django_cqrs.alarms import Limits, alarms_of
from django_cqrs.conf import read_settings
from django_cqrs.consumers import consumers
from django_cqrs.errors import OutboxFull
from django_cqrs.inspection import DjangoInspection
from django_cqrs.loops import run
from django_cqrs.models import Blocked, Dead, Inbox, Outbox
from django_cqrs.pending_limits import PendingLimit
from django_cqrs.relay import relays
from simplecqrs import Command, NotificationEvent, Publish
from simplecqrs.timing import Timed
from tests.desk.project import Project

pytestmark = pytest.mark.usefixtures("committed")


@frozen
class Ticked(NotificationEvent, topic="ticks", key="who"):
    """Goes to a broker."""

    who: str = "ada"


@frozen
class Rung(NotificationEvent, topic="rings", key="who"):
    """Stays in the project."""

    who: str = "ada"


@frozen
class Tick(Command[list[str]]):
    """Publish, and say what was done."""


@pytest.fixture
def away(project: Project, settings: Any, tmp_path: Path) -> Any:
    """Give a project whose broker nobody ships to, and what sets its limits."""

    def limit(**limits: int) -> None:
        settings.DJANGO_CQRS = {
            **settings.DJANGO_CQRS,
            "BROKERS": {
                "away": {"BACKEND": "tests.desk.brokers.FileBroker", "OPTIONS": {"path": str(tmp_path / "shipped")}}
            },
            "ROUTES": {"ticks": "away"},
            "MAX_PENDING": {"a*": limits},
        }

    return limit


def publish(project: Project, number: int) -> None:
    """Publish in as many transactions."""
    for _ in range(number):
        project.publish(Ticked())


def test_publishing_is_refused_when_too_much_waits_for_its_broker(project: Project, away: Any) -> None:
    """At the publish, before the command does more in vain; other brokers' events go on."""
    away(refuse=3)
    done: list[str] = []

    def tick(command: Tick, publish: Publish) -> None:
        publish(Rung())
        done.append("begun")
        publish(Ticked())
        done.append("ended")

    project.registry.add(Tick, tick)
    publish(project, 4)
    pressure._gauges.clear()  # a second later

    with pytest.raises(OutboxFull, match=r"more than 3 events wait for 'away' in the outbox of 'default', so nothing"):
        project.bus.send(Tick())

    project.publish(Rung())
    assert done == ["begun"]
    assert sorted(Outbox.objects.values_list("queue", flat=True)) == ["away"] * 4 + ["database"]


def test_it_goes_on_when_the_relay_has_shipped_some(project: Project, away: Any) -> None:
    """Without a restart; what is due later is not refused, for it waits elsewhere."""
    away(refuse=3)
    publish(project, 4)
    pressure._gauges.clear()
    with pytest.raises(OutboxFull):
        publish(project, 1)
    project.publish(Timed(Ticked(), due=timedelta(days=1)))

    project.ship()
    pressure._gauges.clear()
    publish(project, 1)

    assert Outbox.objects.count() == 1


def test_a_look_is_taken_once_a_second_at_the_most(
    project: Project, away: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every other event costs no statement."""
    monkeypatch.setattr(pressure, "LATEST", 100.0)
    monkeypatch.setattr(pressure, "SOONEST", 100.0)  # this machine may be slow
    away(warn=1000, refuse=2000)
    publish(project, 1)

    with CaptureQueriesContext(
        connection,
    ) as asked:
        publish(project, 5)
    with CaptureQueriesContext(connection) as looking:
        pressure._gauges.clear()
        publish(project, 1)

    assert [q for q in asked.captured_queries if "MAX(id)" in q["sql"] or "COUNT" in q["sql"]] == []
    assert len([q for q in looking.captured_queries if "MAX(id)" in q["sql"]]) == 1


def test_what_others_have_pending_is_not_counted(project: Project, away: Any) -> None:
    """Numbers may lie far apart, and in between is what goes elsewhere."""
    away(warn=2, refuse=4)
    publish(project, 1)
    for _ in range(9):
        project.publish(Rung())
    publish(project, 1)

    limit = PendingLimit(warn=2, refuse=4)
    assert pressure.pending("default", "away", limit) == 2
    assert pressure.pending("default", "database", limit) == 5  # as many as one has to know of
    assert pressure.pending("default", "away", evolve(limit, warn=None, refuse=1000)) == 11


def test_a_warning_is_logged_now_and_then_and_is_an_alarm(
    project: Project, away: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Once a minute, while everything goes on."""
    away(warn=2)
    publish(project, 3)
    pressure._gauges.clear()

    with caplog.at_level(logging.WARNING):
        publish(project, 3)

    assert [r.getMessage() for r in caplog.records] == [
        "more than 2 events wait for 'away' in the outbox of 'default'; see cqrs_status"
    ]
    assert alarms() == ["outbox away: more than 2 events wait (MAX_PENDING)"]
    away(refuse=5)
    assert alarms() == ["outbox away: more than 5 events wait, and publishing is refused (MAX_PENDING)"]


def alarms() -> list[str]:
    """Return the alarms that are about too much."""
    inspection = DjangoInspection("default")
    return [alarm for alarm in alarms_of(inspection, inspection.backlogs(), Limits()) if "MAX_PENDING" in alarm]


def test_a_consumer_whose_events_are_refused_pauses_and_gives_nothing_up(project: Project, away: Any) -> None:
    """However long the broker is away, no message of its inbox is dead for it."""
    away(refuse=1)
    project.consume(Rung, consumer="one", work=lambda event, publish: publish(Ticked()))
    consumers()
    publish(project, 2)
    project.publish(Rung())
    pressure._gauges.clear()

    run(relays(routes=["database"]), drain=True)
    project.work()

    assert (Inbox.objects.count(), Dead.objects.count()) == (1, 0)
    assert Blocked.objects.get().error.startswith("OutboxFull: more than 1 events wait")


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        ({"events": {"warn": 5, "refuse": 3}}, "'events': refuse=3 is less than warn=5"),
        ({"events": {}}, "'events': it needs warn=, refuse= or both"),
        ({"events": {"warning": 3}}, "'events' needs a dict with warn and refuse, not {'warning': 3}"),
        ({"events": {"warn": 0}}, "'warn' must be >= 1: 0"),
        ({"others": {"warn": 3}}, "MAX_PENDING['others']: there is no broker of that name"),
        ([], "it is a dict of brokers' names"),
    ],
)
def test_limits_that_mean_nothing_are_told(limits: Any, problem: str) -> None:
    """By the system checks, at start-up."""
    broker = {"BACKEND": "tests.desk.brokers.FileBroker", "OPTIONS": {"path": "x"}}

    _, problems = read_settings({"BROKERS": {"events": broker}, "MAX_PENDING": limits})

    assert len(problems) == 1
    assert problem in problems[0]


def test_limits_may_be_given_for_all_brokers_at_once() -> None:
    """The most specific pattern counts."""
    found, problems = read_settings({"MAX_PENDING": {"*": {"warn": 10}, "database": PendingLimit(refuse=20)}})

    assert problems == []
    assert found.max_pending == {"*": PendingLimit(warn=10), "database": PendingLimit(refuse=20)}
