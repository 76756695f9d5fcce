"""The setting MASK: what operators do not see of letters, sagas and errors."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen
from django.contrib.admin import site
from django.core.management import call_command

from django_cqrs.admin import DeadAdmin
from django_cqrs.inbox import door
from django_cqrs.masking import shown_message
from django_cqrs.middlewares import logged
from django_cqrs.models import Blocked, Dead, Saga, SagaEntry
from simplecqrs import NotificationEvent, Publish, Retry, context
from simplecqrs.saga import Saga as Definition
from simplecqrs.saga import Step
from simplecqrs.transport import Garbage
from tests.desk.project import Project

pytestmark = pytest.mark.usefixtures("committed")


@frozen
class SignedUp(NotificationEvent, topic="people", key="who"):
    """For everybody, though not every field is for operators."""

    who: str
    password: str
    phone: str = field(default="", repr=False)


@frozen
class Account:
    """The state of a saga."""

    who: str
    api_token: str


def said(*arguments: str) -> str:
    """Run a command and return what it said."""
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def fail(event: SignedUp, publish: Publish) -> None:
    """Raise an error that shows what it should not."""
    raise ValueError(f"cannot sign up {event!r}")


def letter(project: Project) -> Dead:
    """Return the letter of an event whose handler failed."""
    project.consume(SignedUp, consumer="one", work=fail, retry=Retry(1))
    with context(access_token="t0ken", user="7"):
        project.publish(SignedUp("ada", "s3cret", "0123"))
    project.ship()
    project.work("one")
    return Dead.objects.get()


def test_a_letter_shows_no_sensitive_value(project: Project) -> None:
    """Of its payload, its headers and its reason; and why it died is stored without."""
    dead = letter(project)

    shown = said("cqrs_dead", "show", str(dead.pk))

    page = (Path(__file__).parents[2] / "docs" / "logging.md").read_text()
    for line in (
        'payload     {"who": "ada", "password": "***", "phone": "***"}',
        'headers     {"access_token": "***", "user": "7"}',
    ):
        assert line in shown
        assert f"    {line}\n" in page
    assert "ValueError: cannot sign up SignedUp(who='ada', password=***)" in shown
    for text in (dead.reason, Blocked.objects.get().error, said("cqrs_dead", "list"), said("cqrs_status")):
        assert "s3cret" not in text


def test_unmasked_a_letter_shows_everything_that_is_stored(project: Project) -> None:
    """For who has to see it, and says so."""
    shown = said("cqrs_dead", "show", str(letter(project).pk), "--unmasked")

    assert 'b\'{"who":"ada","password":"s3cret","phone":"0123"}\'' in shown
    assert "t0ken" in shown


def test_the_names_are_the_projects_own_to_say(project: Project, settings: Any) -> None:
    """In one setting."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "MASK": ["who"]}

    assert shown_message(letter(project)) == '{"who": "***", "password": "s3cret", "phone": "***"}'


def test_what_was_never_a_message_is_not_shown_unless_it_is_json(project: Project) -> None:
    """Nobody knows what is in it."""
    door("default").bury("one", [Garbage("no envelope: token=x", b"token=x")])
    dead = Dead.objects.get()

    assert dead.reason == "no envelope: token=***"
    assert shown_message(dead).startswith("not decoded: 7 bytes of no known format, SHA-256 ")


def test_a_saga_shows_no_sensitive_value(project: Project) -> None:
    """Of its state; and what its steps failed of is stored without."""

    def act(state: Account) -> Account:
        raise ValueError(f"{state!r}")

    saga = Definition("account", Account, [Step("open", act, retry=Retry(1))], registry=project.registry)
    saga.start(project.bus, Account("ada", "t0ken"))
    project.work("sagas")
    row = Saga.objects.get()

    shown = said("cqrs_sagas", "show", str(row.id))

    assert 'state           {"who": "ada", "api_token": "***"}' in shown
    assert "Account(who='ada', api_token=***)" in shown
    assert "t0ken" not in shown + row.error + row.progress + "".join(SagaEntry.objects.values_list("error", flat=True))


def test_the_line_of_a_message_masks_what_the_setting_names(project: Project, settings: Any, caplog: Any) -> None:
    """Whenever the middleware was made."""
    log = logged(fields=True)
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "MASK": ["who"]}

    with caplog.at_level("INFO", "simplecqrs"):
        log(SignedUp("ada", "s3cret", "0123"), lambda _: None)

    assert [record.message.partition(" ended")[0] for record in caplog.records] == ["SignedUp(password='s3cret')"]


def test_the_admin_shows_no_sensitive_value(project: Project) -> None:
    """Not even to who may do everything."""
    dead, page = letter(project), DeadAdmin(Dead, site)

    shown = [page.shown_payload(dead), page.shown_headers(dead), page.shown_reason(dead)]

    assert ["***" in text for text in shown] == [True, True, True]
    assert not {"payload", "headers", "reason"} & set(page.fields)
