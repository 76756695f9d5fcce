"""A database that is on another server than before, which may lack the last commits: a promoted replica."""

from __future__ import annotations

import logging
import threading
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, connections

from django_cqrs.brokers import INBOXES, broker
from django_cqrs.databases import dialect
from django_cqrs.failover import Under
from django_cqrs.inbox import door
from django_cqrs.models import Position, Seen
from django_cqrs.positions import Positions, loss_alarms
from tests.desk.numbers import Counted, counting
from tests.desk.project import Project

ANOTHER = "7000000000000000001/00000001"


@pytest.fixture
def numbers(project: Project, settings: Any) -> Project:
    """Return a project with a consumer of a broker in memory, which has handled two events."""
    counting(project, settings)
    project.publish(Counted("ann", 1), Counted("ann", 2))
    project.ship()
    project.work("one")
    return project


def lose_the_last_commit() -> None:
    """Be a replica without what was stored and handled last; it was acknowledged to the broker."""
    Position.objects.update(server=ANOTHER)
    Seen.objects.filter(message_id=Seen.objects.order_by("message_id").values_list("message_id").last()[0]).delete()


def handled(numbers: Project) -> list[int]:
    """Return the steps of the events that were handled, in their order."""
    return [int(seen[-1]) for seen in numbers.seen]


@pytest.mark.needs("postgresql")
@pytest.mark.usefixtures("committed")
class TestFailover:
    """Another server is known by its number and timeline."""

    postgresql = connection.vendor == "postgresql"

    def test_what_the_server_before_had_stored_is_read_once_more(
        self, numbers: Project, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The door drops what this one knows; it is said, and done once."""
        lose_the_last_commit()

        with caplog.at_level(logging.INFO, "django_cqrs"):
            numbers.work("one")
            numbers.work("one")

        (said,) = [record.getMessage() for record in caplog.records if "another server" in record.getMessage()]
        assert handled(numbers) == [1, 2, 2]
        assert f"before, {ANOTHER}; numbers is read once more from its beginning" in said
        assert Position.objects.get().server == Under(INBOXES).server

    def test_on_the_same_server_or_one_that_nobody_has_written_down_nothing_is_read_again(
        self, numbers: Project
    ) -> None:
        """As by a release that did not know of servers."""
        Seen.objects.all().delete()
        numbers.work("one")
        Position.objects.update(server="")

        numbers.work("one")

        assert handled(numbers) == [1, 2]
        assert Position.objects.get().server == Under(INBOXES).server

    def test_a_broker_that_keeps_nothing_is_an_alarm_until_producers_send_once_more(
        self, numbers: Project, settings: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Nobody knows whether something is missing."""
        settings.DJANGO_CQRS = {
            **settings.DJANGO_CQRS,
            "BROKERS": {"events": {"BACKEND": "tests.desk.numbers.Forgetful"}},
        }
        lose_the_last_commit()

        numbers.work("one")
        alarms = list(loss_alarms(INBOXES))
        call_command("cqrs_resend", "--route", "events", "--since", "1h", "--yes", stdout=StringIO())
        numbers.ship()
        numbers.work("one")

        assert len(alarms) == 1
        assert "its database is on another server, which may lack what had come last of numbers (events)" in alarms[0]
        assert "numbers keeps nothing that was acknowledged: let those who publish send it once more" in caplog.text
        assert list(loss_alarms(INBOXES)) == []
        assert handled(numbers) == [1, 2, 2]

    def test_nothing_is_fetched_while_another_process_goes_back(self, numbers: Project) -> None:
        """It would be stored ahead of what is read once more."""
        lose_the_last_commit()
        positions = Positions(consumer="one", broker="events", feeds=broker("events").feeds("one", ["numbers"]))
        fetching, enough = threading.Event(), threading.Event()

        def fetch() -> None:
            with door(INBOXES).fetching("one", "numbers"):
                fetching.set()
                enough.wait(20)
            connections.close_all()

        other = threading.Thread(target=fetch)
        other.start()
        fetching.wait(20)
        meanwhile = positions.compare()
        enough.set()
        other.join()

        assert not meanwhile
        assert positions.compare()

    def test_a_pooler_may_put_another_server_under_a_connection(self, numbers: Project) -> None:
        """It is noticed when the place is to be written down, which is not done then."""
        positions = Positions(consumer="one", broker="events", feeds=broker("events").feeds("one", ["numbers"]))
        positions.compare()
        assert positions._under is not None
        positions._under.server = ANOTHER
        lose_the_last_commit()

        positions.keep(now=True)
        positions.compare()
        numbers.work("one")

        assert handled(numbers) == [1, 2, 2]

    def test_a_server_that_does_not_tell_goes_unnoticed(
        self, numbers: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """As where the functions may not be called; consumers work as without."""
        monkeypatch.setattr(type(dialect(INBOXES)), "server", "no_such_function()")
        numbers.publish(Counted("ann", 3))
        numbers.ship()

        with caplog.at_level(logging.INFO, "django_cqrs"):
            numbers.work("one")

        assert handled(numbers) == [1, 2, 3]
        assert "does not tell which server it is" in caplog.text
