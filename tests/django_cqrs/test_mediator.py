"""The project's mediator."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from django.db import transaction

import django_cqrs
from django_cqrs import DjangoMediator, bus
from django_cqrs.consumers import consumers
from django_cqrs.errors import WroteElsewhere
from django_cqrs.loops import run
from django_cqrs.mediator import project_mediator
from django_cqrs.models import Inbox
from simplecqrs import Command, Message, NotificationEvent, Registry, handles
from simplecqrs.errors import HandlerNotFound, InvalidMessage, NotConfigured
from simplecqrs.pipeline import Call
from simplecqrs.queue import DEFERRED
from tests.desk.messages import OpenTicket, Remind, TicketClosed, TicketOpened
from tests.desk.models import Note
from tests.desk.project import Project

ROOT = Path(__file__).parents[2]
committing = pytest.mark.usefixtures("committed")


@frozen
class Homeless(Command[None]):
    """Belongs to no app, and has no handler."""


@frozen
class Write(Command[None], name="desk.AuditWrite", key="who"):
    """Runs on the other alias."""

    who: str = ""


def timed(message: Message, call_next: Call) -> Any:
    """Note what passes."""
    passed.append(type(message).__name__)
    return call_next(message)


passed: list[str] = []


# names


def test_a_message_is_named_after_its_app_and_class() -> None:
    """Unless it says another name; outside of any app, by its class alone."""
    assert bus.vocabulary.name(OpenTicket) == "desk.OpenTicket"
    assert bus.vocabulary.name(Homeless) == "Homeless"
    assert bus.vocabulary.name(Write) == "desk.AuditWrite"


def test_a_topic_is_the_name_unless_the_message_says_another() -> None:
    """And it picks the route."""

    @frozen
    class Placed(NotificationEvent, name="shop.placed"):
        pass

    assert bus.vocabulary.topic(Placed) == "shop.placed"
    assert bus.vocabulary.topic(TicketOpened) == bus.vocabulary.topic(TicketClosed) == "tickets"


# start-up


@pytest.mark.django_db
def test_handlers_of_apps_are_found() -> None:
    """Nobody has to import handlers.py."""
    assert bus.send(OpenTicket("printer")) > 0
    assert "tests.desk.handlers" in sys.modules


@pytest.mark.processes
def test_the_bus_may_be_imported_before_django_is_set_up() -> None:
    """And without settings: it reads them at its first message."""
    code = "from django_cqrs import bus; import django.apps; assert not django.apps.apps.ready; print(bus)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_few_names_are_public() -> None:
    """The mediator's class, and the project's mediator."""
    assert django_cqrs.__all__ == ["DjangoMediator", "bus"]


@committing
def test_a_handler_that_comes_too_late_is_refused(project: Project) -> None:
    """After the first message everything is compiled."""
    project.registry.add(Homeless, lambda command: None)
    project.bus.send(Homeless())

    with pytest.raises(NotConfigured, match="after"):
        project.registry.add(TicketOpened, lambda event: None)


@committing
def test_middlewares_of_the_settings_surround_every_call(project: Project, settings: Any) -> None:
    """The first one outermost, all of them outside of the transaction."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "MIDDLEWARES": [f"{__name__}.timed"]}
    passed.clear()
    project.registry.add(Homeless, lambda command: None)

    project.bus.send(Homeless())

    assert passed == ["Homeless"]


def test_the_setting_names_the_mediator_that_relay_and_consumers_use(project: Project) -> None:
    """By default it is the one that everybody imports."""
    assert project_mediator() is project.bus


def test_wrong_settings_are_told_at_the_first_message(settings: Any) -> None:
    """With all that is wrong."""
    registry = Registry()
    registry.add(Homeless, lambda command: None)
    settings.DJANGO_CQRS = {"SAUCE": "x"}

    with pytest.raises(NotConfigured, match="SAUCE"):
        DjangoMediator(registry).send(Homeless())


def test_a_command_without_a_handler_names_itself_and_the_cure() -> None:
    """As everywhere."""
    with pytest.raises(HandlerNotFound, match=r"Homeless.*@handles\(Homeless\)"):
        bus.send(Homeless())


# defer


def deferred(alias: str = "default") -> list[str]:
    """Return the payloads of what is deferred, in their order."""
    return [bytes(p).decode() for p in Inbox.objects.using(alias).order_by("id").values_list("payload", flat=True)]


def run_deferred() -> None:
    """Handle what is deferred."""
    run(consumers(DEFERRED), drain=True)


@committing
def test_a_deferred_command_shares_the_fate_of_the_transaction_and_of_its_savepoint() -> None:
    """It is a row like any other."""
    with suppress(ValueError), transaction.atomic():
        bus.defer(Remind(1, "never"))
        raise ValueError
    with transaction.atomic():
        bus.defer(Remind(1, "always"))
        with suppress(ValueError), transaction.atomic():
            bus.defer(Remind(1, "not that"))
            raise ValueError

    assert deferred() == ['{"ticket_id":1,"text":"always"}']


@committing
def test_deferred_commands_of_a_key_are_handled_in_their_order() -> None:
    """The key of the class, unless another is said."""
    for number in range(5):
        bus.defer(Remind(7, str(number)))
        bus.defer(Remind(number, f"other {number}"), key="other")
    assert set(Inbox.objects.values_list("key", flat=True)) == {"7", "other"}

    run_deferred()

    texts = [note.text for note in Note.objects.order_by("id")]
    assert [text for text in texts if "other" not in text] == [f"remind 7 {number}" for number in range(5)]
    assert [text for text in texts if "other" in text] == [f"remind {number} other {number}" for number in range(5)]


@committing
def test_a_deferred_command_is_stored_on_its_alias_and_handled_there(project: Project) -> None:
    """So that its effect and its row are one transaction."""
    done: list[str] = []
    project.registry.add(Write, lambda command: done.append(command.who))
    project.bus.defer(Write("ada"))
    assert (len(deferred("audit")), len(deferred())) == (1, 0)

    run_deferred()

    assert done == ["ada"]
    assert deferred("audit") == []


@committing
def test_a_deferred_command_that_was_deferred_by_a_handler_knows_its_cause(project: Project) -> None:
    """And belongs to the same correlation."""
    project.registry.add(Homeless, lambda command: project.bus.defer(Remind(7)))
    project.registry.add(Remind, lambda command: None)
    project.bus.send(Homeless())

    row = Inbox.objects.get()
    assert row.causation_id is not None
    assert row.correlation_id == row.causation_id


@committing
def test_deferring_to_another_alias_inside_of_a_command_is_refused(project: Project) -> None:
    """The row would not share the fate of the command."""
    project.registry.add(Homeless, lambda command: project.bus.defer(Write("ada")))
    project.registry.add(Write, lambda command: None)

    with pytest.raises(WroteElsewhere, match=r"Homeless runs .* on 'default'"):
        project.bus.send(Homeless())
    assert deferred("audit") == []


def test_only_commands_with_a_handler_can_be_deferred() -> None:
    """It is told at once, not when a worker finds it."""
    with pytest.raises(HandlerNotFound, match="Homeless"):
        bus.defer(Homeless())
    with pytest.raises(InvalidMessage, match="TicketClosed is no command"):
        bus.defer(TicketClosed(1))  # type: ignore[arg-type]


def test_the_decorator_of_the_core_registers_for_the_bus() -> None:
    """There is one default registry."""
    assert handles.__self__ is bus.registry  # type: ignore[attr-defined]
