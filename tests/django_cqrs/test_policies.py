"""What becomes of failed messages as a project's settings say, on its database: discarded, dead, repeated, a pause."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from attrs import frozen
from django.core.management import call_command
from django.db import connection
from django.db.models import F

from django_cqrs.checks import check_settings
from django_cqrs.conf import read_settings
from django_cqrs.models import Action, Blocked, Dead, Inbox
from simplecqrs import NotificationEvent, Publish, Retry
from simplecqrs.backoff import Pause
from simplecqrs.deadlines import remaining
from tests.desk.models import Note
from tests.desk.project import Project

committing = pytest.mark.usefixtures("committed")
PATH = f"{__name__}.BankClosed"


class BankClosed(ConnectionError):
    """Nothing can be paid."""


class Refused(ValueError):
    """This cannot be paid."""


@frozen
class Paid(NotificationEvent, topic="payments", key="who"):
    """For everybody."""

    who: str


def configure(settings: Any, **consumer: Any) -> None:
    """Set what the consumer's entry says."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "CONSUMERS": {"bank": consumer}}


def raising(*errors: Exception) -> Callable[[Any, Publish], None]:
    """Return a handler's work that writes and fails with these errors, one after the other, and then well."""
    left = list(errors)

    def work(event: Any, publish: Publish) -> None:
        Note.objects.create(text=event.who)
        if left:
            raise left.pop(0)

    return work


def pay(project: Project, *who: str) -> None:
    """Publish, ship and work."""
    project.publish(*(Paid(name) for name in who))
    project.ship()
    project.work("bank")


def notes() -> list[str]:
    """Return what handlers have written."""
    return [note.text for note in Note.objects.order_by("id")]


def manage(*arguments: str) -> str:
    """Run a command and return what it said."""
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


@committing
def test_the_consumers_settings_name_exceptions_by_class_or_by_path(project: Project, settings: Any) -> None:
    """A settings file may not be able to import them."""
    configure(settings, on_error={f"{__name__}.Refused": "discard", KeyError: "dead-letter"})
    project.consume(Paid, consumer="bank", work=raising(Refused("no"), KeyError("a")))

    pay(project, "ada", "ada", "ada")

    assert notes() == []
    assert Dead.objects.get().reason == "KeyError: 'a'"
    assert Inbox.objects.count() == 0


@committing
def test_what_the_handler_says_goes_before_what_its_consumer_says(project: Project, settings: Any) -> None:
    """Of the same class."""
    configure(settings, on_error={ValueError: "dead-letter", KeyError: "dead-letter"})
    work = raising(ValueError("no"), KeyError("no"))
    project.consume(Paid, consumer="bank", work=work, on_error={ValueError: "discard"})

    pay(project, "ada", "bob")

    assert Dead.objects.get().reason == "KeyError: 'no'"


@committing
def test_an_attempt_is_repeated_in_a_new_transaction(project: Project) -> None:
    """What it had written is gone; also of a statement that broke the transaction."""

    def work(event: Any, publish: Publish) -> None:
        Note.objects.create(text=f"{len(project.seen)}")
        if len(project.seen) == 1:
            with connection.cursor() as cursor:
                cursor.execute("SELECT nonsense FROM nowhere")

    project.consume(Paid, consumer="bank", work=work, retry=Retry(1, inline=2))

    pay(project, "ada")

    assert notes() == ["2"]
    assert (Inbox.objects.count(), Dead.objects.count(), Blocked.objects.count()) == (0, 0, 0)


@committing
def test_a_closed_bank_pauses_its_consumer_and_nobody_is_to_blame(project: Project, settings: Any) -> None:
    """On call it is seen, with its cause; and ended, which is recorded."""
    configure(settings, on_error={PATH: Pause(first=600)}, retry=Retry(1))
    project.consume(Paid, consumer="bank", work=raising(BankClosed("until nine"), BankClosed("until ten")))
    pay(project, "ada", "bob")
    assert (notes(), len(project.seen), Inbox.objects.count()) == ([], 1, 2)

    [alarm] = [line for line in manage("cqrs_status").splitlines() if "pauses" in line]
    assert "inbox bank pauses for " in alarm
    assert "s, 1 times in a row now: BankClosed: until nine" in alarm
    assert "the whole consumer pauses" in manage("cqrs_dead", "list", "--parked")
    assert "the pause (inbox bank) is over now" in manage("cqrs_dead", "retry", "--parked", "--queue", "bank")
    assert Action.objects.get().queue == "bank"

    project.work("bank")
    assert Blocked.objects.get().attempts == 2
    Blocked.objects.update(next_at=F("next_at") - timedelta(hours=1))
    project.work("bank")

    assert sorted(notes()) == ["ada", "bob"]
    assert "pauses" not in manage("cqrs_status")
    assert manage("cqrs_dead", "list", "--parked").startswith("no blocked keys")


@committing
def test_a_handler_is_told_how_much_of_its_consumers_timeout_is_left(project: Project, settings: Any) -> None:
    """For whatever it calls that may hang."""
    configure(settings, timeout=20)
    left: list[float | None] = []
    project.consume(Paid, consumer="bank", work=lambda event, publish: left.append(remaining()))

    pay(project, "ada")

    [seconds] = left
    assert seconds is not None
    assert 15 < seconds <= 20


@pytest.mark.parametrize(
    ("on_error", "culprit"),
    [
        ({"shop.nothing.Closed": "pause"}, "on_error: 'shop.nothing.Closed' cannot be imported"),
        ({"tests.desk.models.Note": "pause"}, "is no class of exceptions"),
    ],
    ids=str,
)
def test_exceptions_that_cannot_be_found_are_told_at_start_up(settings: Any, on_error: Any, culprit: str) -> None:
    """And not at the first failure."""
    configure(settings, on_error=on_error)

    [told] = check_settings(None)

    assert culprit in str(told.msg)


@pytest.mark.parametrize(
    ("setting", "culprit"),
    [
        ({"CONSUMERS": {"bank": {"on_error": {"a.B": "ignore"}}}}, "'ignore' is no Retry, no Pause"),
        ({"CONSUMERS": {"bank": {"on_error": ["discard"]}}}, "it is a dict of exceptions"),
        ({"RELAY_RETRY": Retry(inline=1)}, "RELAY_RETRY: inline= is for consumers"),
    ],
    ids=str,
)
def test_fates_that_cannot_be_are_told(setting: dict[str, Any], culprit: str) -> None:
    """With what they may be."""
    [told] = read_settings(setting)[1]

    assert culprit in told
