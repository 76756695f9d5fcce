"""Sagas in Django's admin: read-only, each with its log and picture, and actions for those who may."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_cqrs.models import Saga as Row
from tests.desk.bookings import Trip, Trips
from tests.desk.project import Project
from tests.desk.staff import staff

pytestmark = pytest.mark.usefixtures("committed")

SAGAS = "/admin/django_cqrs/saga/"


@pytest.fixture
def trips(project: Project) -> Trips:
    """Return a project with a saga."""
    return Trips(project)


@pytest.fixture
def root() -> Client:
    """Log a superuser in."""
    return staff(is_superuser=True)


def act(client: Client, action: str, *ids: Any, reason: str = "") -> str:
    """Do something to sagas that are ticked, and return the page that comes then."""
    posted = {"action": action, "_selected_action": ids, "reason": reason}
    response = client.post(SAGAS, posted, follow=True)
    assert response.status_code == 200
    return str(response.content.decode())


def test_sagas_are_listed_and_chosen_by_status_and_name(trips: Trips, root: Client) -> None:
    """And searched by id."""
    done = trips.run()
    trips.broken["flight"] = OSError("no wings")
    undone = trips.run()

    def listed(**query: str) -> list[Any]:
        return [row.pk for row in root.get(SAGAS, query).context["cl"].result_list]

    assert listed() == [undone, done]
    assert listed(status="COMPLETED") == [done]
    assert listed(saga="other") == []
    assert listed(q=str(done)) == [done]
    assert listed(q="trip") == []
    assert "flight: OSError: no wings" in root.get(SAGAS).content.decode()


def test_one_is_shown_with_its_log_and_its_picture_and_no_script(trips: Trips, root: Client) -> None:
    """What comes from outside is escaped, in the picture as well."""
    trips.broken["flight"] = OSError("<script>alert('wings')</script>")
    saga_id = trips.saga.run(trips.bus, Trip("<script>alert('Oslo')</script>")).saga_id

    page = root.get(f"{SAGAS}{saga_id}/change/").content.decode()

    field = page.partition("field-picture")[2]
    picture = field[field.index("<svg") : field.index("</svg>")]
    assert "hotel" in picture
    assert "style=" not in picture
    assert "COMPENSATED" in page
    assert "undo act" in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(&#x27;wings&#x27;)" in page
    assert 'name="_save"' not in page


def test_one_whose_definition_is_gone_is_shown_without_a_picture(trips: Trips, root: Client) -> None:
    """And said to wait for it."""
    saga_id = trips.abandon()
    Project()

    page = root.get(f"{SAGAS}{saga_id}/change/").content.decode()

    assert "no definition of this name is here" in page
    assert "<svg" not in page.partition("field-picture")[2].partition("field-log")[0]


def test_what_is_done_needs_a_reason_and_is_in_the_log_with_who(trips: Trips, root: Client) -> None:
    """And without one, nothing happens."""
    saga_id = trips.start()

    assert "Nothing was done: say why" in act(root, "cancel", saga_id)
    assert "is cancelled" in act(root, "cancel", saga_id, reason="too far")
    trips.project.work("sagas")

    assert trips.status(saga_id) == "CANCELLED"
    [asked] = [entry for entry in trips.bus.sagas.history(saga_id) if entry.event == "asked"]
    assert (asked.who, asked.error) == ("ada", "too far")


def test_each_of_those_that_are_ticked_is_told_of(trips: Trips, root: Client) -> None:
    """What cannot be done, and what need not be."""
    done, running = trips.run(), trips.start()

    page = act(root, "retry", done, running, reason="impatience")

    assert f"{done} is COMPLETED already" in page
    assert "was given up: it is RUNNING" in page


def test_one_rests_goes_on_is_retried_and_skipped(trips: Trips, root: Client) -> None:
    """All five actions are there."""
    saga_id = trips.start()

    act(root, "pause", saga_id, reason="a strike")
    assert Row.objects.get(pk=saga_id).paused
    act(root, "resume", saga_id, reason="it is over")
    trips.broken["postcard"] = OSError("no stamps")
    trips.project.work("sagas")
    act(root, "retry", saga_id, reason="are there any?")
    trips.project.work("sagas")
    assert trips.status(saga_id) == "FAILED"
    act(root, "skip", saga_id, reason="nobody writes any more")

    assert trips.status(saga_id) == "COMPLETED"


def test_no_list_counts_a_whole_table(trips: Trips, root: Client) -> None:
    """Every count has a limit inside, no query reads all values of a column, and no list reads states."""
    trips.run()
    with CaptureQueriesContext(connection) as queries:
        root.get(SAGAS)

    ours = [query["sql"] for query in queries if "cqrs_" in query["sql"]]
    assert ours
    assert [sql for sql in ours if "DISTINCT" in sql or ("COUNT(" in sql and "LIMIT" not in sql)] == []
    assert [sql for sql in ours if '"state"' in sql] == []


@pytest.mark.parametrize(("permissions", "may"), [(["view_saga"], False), (["view_saga", "pause_saga"], True)])
def test_who_may_look_may_not_act(trips: Trips, permissions: list[str], may: bool) -> None:
    """A permission of its own."""
    saga_id = trips.start()
    client = staff(*permissions)

    act(client, "pause", saga_id, reason="because")

    assert Row.objects.get(pk=saga_id).paused is may
    assert client.get(f"{SAGAS}add/").status_code == 403
    assert client.post(f"{SAGAS}{saga_id}/delete/", {"post": "yes"}).status_code == 403
    assert client.post(f"{SAGAS}{saga_id}/change/", {"status": "COMPLETED"}).status_code == 403
    assert staff().get(SAGAS).status_code == 403


@pytest.mark.parametrize("act_", ["cancel", "pause", "resume", "retry", "skip"])
def test_each_act_has_a_permission(trips: Trips, act_: str) -> None:
    """Pausing and resuming are one."""
    client = staff("view_saga", f"{'pause' if act_ == 'resume' else act_}_saga")

    page = client.get(SAGAS).content.decode()

    trips.start()
    offered = {found for found in ("cancel", "pause", "resume", "retry", "skip") if f'value="{found}"' in page}
    assert offered == ({"pause", "resume"} if act_ in {"pause", "resume"} else {act_})


def test_what_a_saga_works_on_is_for_those_with_a_permission(trips: Trips) -> None:
    """All else can be seen without it."""
    saga_id = trips.run("Oslo")
    page = f"{SAGAS}{saga_id}/change/"

    assert "Oslo" not in staff("view_saga").get(page).content.decode()
    assert "Oslo" in staff("view_saga", "view_payload").get(page).content.decode()
