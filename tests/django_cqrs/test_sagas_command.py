"""``manage.py cqrs_sagas``, and what ``cqrs_status`` says of sagas."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from django_cqrs.models import Saga as Row
from django_cqrs.status import read_status
from tests.desk.bookings import Trip, Trips
from tests.desk.project import Project

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture
def trips(project: Project) -> Trips:
    """Return a project with a saga."""
    return Trips(project)


def sagas(*arguments: object, **options: Any) -> str:
    """Run the command and return what it said."""
    out = StringIO()
    call_command("cqrs_sagas", *map(str, arguments), stdout=out, **options)
    return out.getvalue()


# Looking


def test_the_newest_are_listed_first_with_what_went_wrong(trips: Trips) -> None:
    """A line for each; filters narrow the list."""
    done = trips.run()
    trips.broken["flight"] = ConnectionError("no wings")
    undone = trips.run()

    everything = sagas("list").splitlines()
    assert [str(saga_id) in line for saga_id, line in zip((undone, done), everything[1:], strict=True)] == [True, True]
    assert everything[1].endswith("flight: ConnectionError: no wings")
    assert str(done) not in sagas("list", "--status", "compensated")
    assert sagas("list", "--saga", "other") == "no sagas\n"
    assert [row["status"] for row in json.loads(sagas("list", "--json"))] == ["COMPENSATED", "COMPLETED"]


def test_what_a_step_raised_leaves_the_terminal_alone(trips: Trips) -> None:
    """Nor does it begin a line of the list; what is shown keeps its lines."""
    trips.broken["flight"] = ConnectionError("no\x1b[2J wings\rCOMPLETED\nand no wheels")
    saga_id = trips.run()

    assert r"no\x1b[2J wings\rCOMPLETED" in sagas("list")
    assert "\x1b" not in sagas("show", saga_id)
    assert "\nand no wheels" in sagas("show", saga_id)


def test_one_whose_definition_is_gone_is_listed_as_such_and_shown(trips: Trips) -> None:
    """Not lost; the status alarms, since it cannot go on."""
    saga_id = trips.abandon()
    Project()

    assert "no definition of this name is here" in sagas("list")
    assert "none of this name is here" in sagas("show", saga_id)
    with pytest.raises(CommandError, match="there is no saga 'trip'; known are: none"):
        sagas("diagram", saga_id)
    assert "could not be recovered" in sagas("recover", "--once")
    assert "1 sagas wait for the definition 'trip', which is not here any more" in read_status().alarms


def test_one_is_shown_with_its_steps_its_state_and_its_log(trips: Trips) -> None:
    """For people and for machines."""
    trips.broken["flight"] = ConnectionError("no wings")
    saga_id = trips.run("Bergen")

    text, [data] = sagas("show", saga_id), json.loads(sagas("show", saga_id, "--json"))

    assert "Bergen" in text
    assert "flight               act failed: ConnectionError: no wings" in text
    assert (data["status"], data["steps"]["hotel"]["phase"]) == ("COMPENSATED", "undone")
    assert [(entry["step"], entry["action"], entry["event"]) for entry in data["log"]][-1] == (
        "hotel", "undo act", "completed",
    )  # fmt: skip


@pytest.mark.parametrize("action", ["show", "cancel", "retry", "recover", "diagram"])
def test_an_unknown_id_is_an_error(trips: Trips, action: str) -> None:
    """So is what is no id, and none at all, except where all are meant."""
    unknown = uuid4()

    with pytest.raises(CommandError, match=f"there is no saga {unknown}"):
        sagas(action, unknown, "--why", "a mistake")
    with pytest.raises(CommandError, match="'seven' is no id of a saga; definitions are: trip"):
        sagas(action, "seven", "--why", "a mistake")
    if action != "recover":
        with pytest.raises(CommandError, match="needs"):
            sagas(action, "--why", "a mistake")


@pytest.mark.parametrize(
    ("kind", "head"), [("flow", "flowchart"), ("sequence", "sequenceDiagram"), ("classes", "class")]
)
def test_a_definition_and_a_stored_saga_are_drawn(trips: Trips, kind: str, head: str) -> None:
    """As Mermaid text."""
    saga_id = trips.run()

    for name in ("trip", saga_id):
        drawn = sagas("diagram", name, "--kind", kind)
        assert head in drawn
        assert "flight" in drawn


# Changing


def test_a_change_without_a_reason_is_refused(trips: Trips) -> None:
    """Nothing has happened."""
    saga_id = trips.start()

    with pytest.raises(CommandError, match="say why"):
        sagas("cancel", saga_id)
    assert trips.status(saga_id) == "RUNNING"


def test_who_and_why_are_in_the_log(trips: Trips) -> None:
    """The user of the system, unless it was somebody else."""
    saga_id = trips.start()

    assert "is cancelled" in sagas("cancel", saga_id, "--why", "too far", "--who", "ada")
    trips.project.work("sagas")

    assert trips.status(saga_id) == "CANCELLED"
    assert "cancel asked by ada: too far" in sagas("show", saga_id)


def test_one_rests_and_goes_on(trips: Trips) -> None:
    """Pause and resume."""
    saga_id = trips.start()

    sagas("pause", saga_id, "--why", "a strike")
    trips.project.work("sagas")
    assert (trips.status(saga_id), "paused" in sagas("list")) == ("RUNNING", True)
    sagas("resume", saga_id, "--why", "it is over")
    trips.project.work("sagas")

    assert trips.status(saga_id) == "COMPLETED"


def test_what_was_given_up_is_tried_again(trips: Trips) -> None:
    """And is done then."""
    trips.broken["postcard"] = OSError("no stamps")
    saga_id = trips.run()
    assert trips.status(saga_id) == "FAILED"

    trips.broken.clear()
    sagas("retry", saga_id, "--why", "here are some")
    trips.project.work("sagas")

    assert trips.status(saga_id) == "COMPLETED"


def test_a_step_of_unknown_outcome_is_settled_by_hand(project: Project) -> None:
    """Without naming it, if there is only one; the status alarms until then."""
    trips = Trips(project, idempotent=False)
    trips.broken["flight"] = TimeoutError("no answer")
    saga_id = trips.run()
    [alarm] = [alarm for alarm in read_status().alarms if "UNKNOWN" in alarm]
    assert f"trip {saga_id}: flight: TimeoutError: no answer" in alarm

    sagas("skip", saga_id, "--why", "they have called: it is booked")
    trips.project.work("sagas")

    assert trips.status(saga_id) == "COMPLETED"
    assert not [alarm for alarm in read_status().alarms if "UNKNOWN" in alarm]


def test_what_cannot_be_done_is_refused_with_the_reason(trips: Trips) -> None:
    """Nothing was given up."""
    saga_id = trips.start()

    with pytest.raises(CommandError, match=r"nothing of the saga .* was given up"):
        sagas("retry", saga_id, "--why", "impatience")
    with pytest.raises(CommandError, match="say which step"):
        sagas("skip", saga_id, "--why", "impatience")


@pytest.mark.parametrize("action", ["cancel", "pause", "resume", "retry", "skip"])
def test_one_that_has_completed_stays_so(trips: Trips, action: str) -> None:
    """Which is said."""
    saga_id = trips.run()

    assert "is COMPLETED already" in sagas(action, saga_id, "--why", "too late")
    assert trips.status(saga_id) == "COMPLETED"


# Recovering


def test_what_a_process_has_left_is_taken_over(trips: Trips) -> None:
    """All that is due, and those of a name only if one is given."""
    first, second = trips.abandon(), trips.abandon()

    assert "is" not in sagas("recover", "--once", "--saga", "other")
    said = sagas("recover", "--once", "--batch", 1, "--interval", 0.01)

    assert f"{first} is COMPLETED" in said
    assert f"{second} is COMPLETED" in said


def test_one_is_taken_over_by_its_id(trips: Trips) -> None:
    """The others stay."""
    first, second = trips.abandon(), trips.abandon()

    assert sagas("recover", first) == f"{first} is COMPLETED\n"
    assert trips.status(second) == "RUNNING"


def test_one_that_somebody_holds_is_left_to_them(trips: Trips) -> None:
    """It is not due."""
    steps = trips.saga.steps(trips.bus, Trip("Oslo"))
    saga_id = next(steps).saga_id

    assert "is held by somebody else" in sagas("recover", saga_id)
    assert [step.name for step in steps] == ["flight", "leave", "postcard"]


def test_the_daemon_ends_when_its_time_is_over(trips: Trips) -> None:
    """Between two sagas."""
    saga_id = trips.abandon()

    sagas("recover", "--max-seconds", 0.3, "--interval", 0.05)

    assert trips.status(saga_id) == "COMPLETED"


@pytest.mark.parametrize(("option", "value"), [("--batch", 0), ("--interval", 0), ("--max-attempts", 0)])
def test_numbers_that_cannot_be_are_refused(trips: Trips, option: str, value: int) -> None:
    """Which one, and what it may be."""
    with pytest.raises(CommandError):
        sagas("recover", "--once", option, value)


# The status


def test_the_status_counts_sagas_and_complains_of_those_that_are_stuck(trips: Trips) -> None:
    """``--check`` ends with an error."""
    trips.run()
    trips.broken |= {"flight": OSError("no wings"), "no hotel": OSError("no refund")}
    stuck = trips.run()

    out = StringIO()
    with pytest.raises(CommandError, match="1 sagas are FAILED"):
        call_command("cqrs_status", "--check", stdout=out)
    assert "sagas default: 1 COMPLETED, 1 FAILED" in out.getvalue()
    why = "flight: OSError: no wings; not undone: hotel: OSError: no refund"
    assert f"trip {stuck}: {why}; see cqrs_sagas list --status FAILED" in out.getvalue()


def test_one_that_nobody_recovers_is_an_alarm(trips: Trips) -> None:
    """When it has been due for too long."""
    saga_id = trips.abandon()
    assert read_status().alarms == []

    Row.objects.filter(pk=saga_id).update(due_at="2026-01-01T00:00:00Z")

    assert read_status().alarms == ["1 sagas have been due for 300 s; does cqrs_sagas recover run?"]
