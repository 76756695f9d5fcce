"""Sagas at night: what could not be undone, what nobody knows, and messages that became dead letters."""

from __future__ import annotations

from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command

from django_cqrs.models import Dead, Inbox
from django_cqrs.status import read_status
from simplecqrs import Retry
from tests.desk.bookings import Trips
from tests.desk.project import Project

pytestmark = pytest.mark.usefixtures("committed")


def said(command: str, *arguments: object) -> str:
    """Run a command and return what it said."""
    out = StringIO()
    call_command(command, *map(str, arguments), stdout=out)
    return out.getvalue()


def sagas(*arguments: object) -> str:
    """Run cqrs_sagas and return what it said."""
    return said("cqrs_sagas", *arguments)


@pytest.fixture
def trips(project: Project) -> Trips:
    """Return a project with a saga."""
    return Trips(project)


@pytest.fixture
def dead(trips: Trips, settings: Any) -> UUID:
    """Return a saga whose message is a dead letter, for its definition was not there."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "CONSUMERS": {"sagas": {"retry": Retry(1)}}, "DEPLOY_GRACE": 0}
    saga_id = trips.start()
    Project().work("sagas")
    Project.current = trips.project
    return saga_id


def test_what_could_not_be_undone_is_settled_by_hand(trips: Trips) -> None:
    """Without naming it: the step whose failure has turned the saga round is no question any more."""
    trips.broken |= {"flight": OSError("no wings"), "no hotel": OSError("no refund")}
    saga_id = trips.run()

    sagas("skip", saga_id, "--why", "the hotel has paid it back")
    trips.project.work("sagas")

    assert trips.status(saga_id) == "COMPENSATED"


def test_a_step_whose_process_was_gone_is_named(project: Project) -> None:
    """Nothing was raised, so nothing else would say why the saga waits for a person."""
    trips = Trips(project, idempotent=False)
    trips.broken["flight"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        trips.run()

    sagas("recover", "--once")

    assert sagas("list").rstrip().endswith("flight: its worker did not come back")


def test_a_message_that_is_a_dead_letter_is_told_of(trips: Trips, dead: UUID) -> None:
    """What is said to the saga waits behind it, and it goes on when that is tried again."""
    held = "its next message is a dead letter; see cqrs_dead list: NotHandledHere: there is no saga 'trip'"
    assert held in sagas("show", dead)
    assert held in sagas("pause", dead, "--why", "to look at it")
    assert held in sagas("resume", dead, "--why", "it is back")

    said("cqrs_dead", "retry", Dead.objects.get().pk, "--now")
    trips.project.work("sagas")

    assert (trips.status(dead), "held up" in sagas("show", dead)) == ("COMPLETED", False)


def test_a_saga_whose_message_is_skipped_is_not_forgotten(trips: Trips, dead: UUID) -> None:
    """Nobody would go on with it, and nothing would tell: so it is taken over."""
    said("cqrs_dead", "skip", Dead.objects.get().pk, "--reason", "a mistake")
    assert (Inbox.objects.count(), trips.status(dead)) == (0, "RUNNING")

    trips.project.work("sagas")

    assert trips.status(dead) == "COMPLETED"
    assert read_status().alarms == []
