"""Django's admin: dead letters, blocked keys and the record, read-only, with actions for those who may."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from attrs import frozen
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_cqrs.models import Action, Blocked, Dead, Inbox, Outbox, ParkedInbox, ParkedOutbox, Seen
from simplecqrs import NotificationEvent, Publish, Retry
from tests.desk.project import Project
from tests.desk.staff import staff

pytestmark = pytest.mark.usefixtures("committed")

DEAD, BLOCKED, ACTIONS = "/admin/django_cqrs/dead/", "/admin/django_cqrs/blocked/", "/admin/django_cqrs/action/"


@frozen
class Sent(NotificationEvent, topic="mails", key="who"):
    """For everybody."""

    who: str
    text: str = ""


def failing(event: Sent, publish: Publish) -> None:
    """Fail always."""
    raise ConnectionError(f"no mail for {event.who}")


@pytest.fixture
def mails(project: Project) -> Project:
    """Return a project that has two dead letters, one of them with a follower."""
    project.consume(Sent, consumer="mailing", work=failing, retry=Retry(1))
    for event in (Sent("ada", "<script>alert('hello')</script>"), Sent("bob", "x" * 5000)):
        project.publish(event, Sent(event.who, "follower"))
        project.ship()
        project.work("mailing")
    return project


@pytest.fixture
def root() -> Client:
    """Log a superuser in."""
    return staff(is_superuser=True)


def letter(key: str) -> Dead:
    """Return a dead letter."""
    return Dead.objects.get(key=key)


def act(client: Client, page: str, action: str, *rows: Any, reason: str = "") -> str:
    """Do something to what is ticked, and return the page that comes then."""
    posted = {"action": action, "_selected_action": [row.pk for row in rows], "reason": reason}
    response = client.post(page, posted, follow=True)
    assert response.status_code == 200
    return str(response.content.decode())


def test_dead_letters_are_listed_and_chosen_by_cause_queue_and_box(mails: Project, root: Client) -> None:
    """And searched by a whole key, or a message id."""
    everything = root.get(DEAD).content.decode()
    assert "ConnectionError: no mail for ada" in everything
    assert "ConnectionError: no mail for bob" in everything

    def listed(**query: str) -> list[str]:
        response = root.get(DEAD, query)
        return sorted(dead.key for dead in response.context["cl"].result_list)

    assert listed(cause="ConnectionError: no mail for bob") == ["bob"]
    assert listed(box="outbox") == []
    assert listed(box="inbox", queue="mailing") == ["ada", "bob"]
    assert listed(q="ada") == ["ada"]
    assert listed(q="mailing") == ["ada", "bob"]
    assert listed(q=str(letter("bob").message_id)) == ["bob"]
    assert listed(q="ad") == []


def test_a_dead_letter_is_shown_escaped_and_cut(mails: Project, root: Client) -> None:
    """Nobody's payload becomes part of the page, or as long as it likes."""
    ada = root.get(f"{DEAD}{letter('ada').pk}/change/").content.decode()
    bob = root.get(f"{DEAD}{letter('bob').pk}/change/").content.decode()

    assert "<script>alert" not in ada
    assert "&lt;script&gt;alert" in ada
    assert 3900 < bob.count("x") < 4500
    assert "characters in all" in bob


def test_everything_is_read_only(mails: Project, root: Client) -> None:
    """Even for a superuser: what is done is done by actions, which are recorded."""
    for page, row in ((DEAD, letter("ada")), (BLOCKED, Blocked.objects.get(key="ada"))):
        assert root.get(f"{page}add/").status_code == 403
        assert root.post(f"{page}{row.pk}/delete/", {"post": "yes"}).status_code == 403
        assert root.post(f"{page}{row.pk}/change/", {"queue": "other"}).status_code == 403
    assert "delete_selected" not in root.get(DEAD).content.decode()


def test_hot_tables_are_not_in_the_admin() -> None:
    """To count them is a burden on those who work them."""
    assert not [kind for kind in (Outbox, Inbox, ParkedOutbox, ParkedInbox, Seen) if admin.site.is_registered(kind)]


def test_a_retry_is_recorded_with_user_and_reason(mails: Project, root: Client) -> None:
    """The letter is tried again, before its follower."""
    page = act(root, DEAD, "retry", letter("ada"), reason="the server is back")

    assert "1 are tried again now" in page
    assert list(Dead.objects.values_list("key", flat=True)) == ["bob"]
    action = Action.objects.get()
    assert (action.who, action.act, action.key, action.reason) == ("ada", "retry", "ada", "the server is back")


def test_a_skip_needs_a_reason(mails: Project, root: Client) -> None:
    """What is dropped is gone: somebody will ask why."""
    assert "say why" in act(root, DEAD, "skip", letter("ada"), letter("bob"))
    assert Dead.objects.count() == 2

    assert "2 are dropped" in act(root, DEAD, "skip", letter("ada"), letter("bob"), reason="nobody wants them")

    assert Dead.objects.count() == 0
    assert {action.reason for action in Action.objects.all()} == {"nobody wants them"}


def test_what_cannot_be_retried_is_told(mails: Project, root: Client) -> None:
    """And stays."""
    Dead.objects.filter(key="ada").update(row=None)

    assert "1 left as they were" in act(root, DEAD, "retry", letter("ada"))
    assert Dead.objects.count() == 2


def test_a_blocked_key_is_shown_with_its_followers_and_brought_forward(mails: Project, root: Client) -> None:
    """Unless a dead letter holds it."""
    held = Blocked.objects.get(key="ada")
    Dead.objects.filter(key="bob").delete()
    free = Blocked.objects.get(key="bob")
    assert "ConnectionError: no mail for ada" in root.get(BLOCKED, {"q": "ada"}).content.decode()
    assert "parked messages" in root.get(f"{BLOCKED}{held.pk}/change/").content.decode().lower()

    page = act(root, BLOCKED, "retry_now", held, free, reason="now")

    assert "1 are tried again now" in page
    assert "1 left as they were" in page
    free.refresh_from_db()
    assert free.next_at is not None
    assert Action.objects.get().act == "hasten"


def test_the_record_is_shown(mails: Project, root: Client) -> None:
    """Who, what and why; and it can be chosen by what was done."""
    act(root, DEAD, "skip", letter("ada"), reason="a duplicate")

    assert "a duplicate" in root.get(ACTIONS).content.decode()
    assert "a duplicate" not in root.get(ACTIONS, {"act": "retry"}).content.decode()
    assert root.get(f"{ACTIONS}{Action.objects.get().pk}/change/").status_code == 200


def test_staff_without_permission_sees_nothing(mails: Project) -> None:
    """No page, no action."""
    nobody = staff()

    assert [nobody.get(page).status_code for page in (DEAD, BLOCKED, ACTIONS)] == [403, 403, 403]
    assert nobody.post(DEAD, {"action": "skip", "_selected_action": [letter("ada").pk]}).status_code == 403


def test_who_may_look_may_not_act(mails: Project) -> None:
    """The actions are not offered, and not done if they are posted all the same."""
    viewer = staff("view_dead", "view_blocked")

    assert 'value="retry"' not in viewer.get(DEAD).content.decode()
    for page, action, row in (
        (DEAD, "retry", letter("ada")),
        (DEAD, "skip", letter("ada")),
        (BLOCKED, "retry_now", Blocked.objects.get(key="ada")),
    ):
        act(viewer, page, action, row, reason="let me")
    assert (Dead.objects.count(), Action.objects.count()) == (2, 0)


def test_retry_and_skip_are_permissions_of_their_own(mails: Project) -> None:
    """Who may retry need not be trusted to drop."""
    mechanic = staff("view_dead", "retry_dead")

    page = mechanic.get(DEAD).content.decode()
    assert 'value="retry"' in page
    assert 'value="skip"' not in page
    act(mechanic, DEAD, "skip", letter("ada"), reason="let me")
    act(mechanic, DEAD, "retry", letter("bob"))

    assert [action.act for action in Action.objects.all()] == ["retry"]


def test_to_hurry_a_key_is_a_permission_of_its_own(mails: Project) -> None:
    """Who may retry letters need not be asked about keys."""
    Dead.objects.filter(key="ada").delete()
    free = Blocked.objects.get(key="ada")

    act(staff("view_blocked", "retry_dead"), BLOCKED, "retry_now", free)
    assert Action.objects.count() == 0
    act(staff("view_blocked", "hasten_blocked"), BLOCKED, "retry_now", free)

    assert [action.act for action in Action.objects.all()] == ["hasten"]


def test_what_a_letter_holds_is_for_those_with_a_permission(mails: Project) -> None:
    """All else can be seen without it."""
    page = f"{DEAD}{letter('ada').pk}/change/"

    without = staff("view_dead").get(page).content.decode()
    assert "no mail for ada" in without
    assert "&lt;script&gt;" not in without

    assert "&lt;script&gt;" in staff("view_dead", "view_payload").get(page).content.decode()


def test_a_list_is_of_the_alias_that_it_is_narrowed_to(mails: Project, root: Client) -> None:
    """Letters, keys and the record of another alias are shown, and acted on there."""
    Dead.objects.using("audit").bulk_create(
        [Dead(**{field.attname: getattr(letter("ada"), field.attname) for field in Dead._meta.concrete_fields})]
    )
    there = Dead.objects.using("audit").get()
    Dead.objects.using("audit").update(queue="elsewhere", holds=False)

    assert "elsewhere" in root.get(DEAD, {"database": "audit"}).content.decode()
    assert "elsewhere" not in root.get(DEAD).content.decode()
    kept = {"_changelist_filters": "database=audit"}
    assert "elsewhere" in root.get(f"{DEAD}{there.pk}/change/", kept).content.decode()
    act(root, f"{DEAD}?database=audit", "skip", there, reason="a duplicate")

    assert Dead.objects.using("audit").count() == 0
    assert Dead.objects.count() == 2
    assert "a duplicate" in root.get(ACTIONS, {"database": "audit"}).content.decode()
    assert Action.objects.count() == 0


def test_no_list_counts_a_whole_table(mails: Project, root: Client) -> None:
    """Every count has a limit inside, and no query reads all values of a column."""
    for page in (DEAD, BLOCKED, ACTIONS):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            root.get(page)

        ours = [query["sql"] for query in queries if "cqrs_" in query["sql"]]
        assert ours
        assert [sql for sql in ours if "DISTINCT" in sql or ("COUNT(" in sql and "LIMIT" not in sql)] == []
        assert [sql for sql in ours if '"payload"' in sql] == []


def test_a_project_without_the_admin_never_imports_ours() -> None:
    """Its apps need not be installed."""
    code = """
import sys, django
from django.conf import settings
settings.configure(INSTALLED_APPS=["django.contrib.contenttypes", "django_cqrs"], USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
call_command("check")
assert "django_cqrs.admin" not in sys.modules and "django.contrib.admin" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
