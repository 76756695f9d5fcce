"""``cqrs_describe``: what a project does, where its events go, and why a handler does not get one."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from attrs import frozen
from django.core.management import CommandError, call_command
from django.test import override_settings

from simplecqrs import Command, DomainEvent, NotificationEvent, Publish
from tests.desk.project import BUS, Project

MEMORY = {"BACKEND": "simplecqrs.memory.MemoryBroker"}


@frozen
class Knock(Command[None], name="audit.Knock"):
    """Publishes."""

    who: str


@frozen
class Knocked(NotificationEvent, topic="doors", key="who"):
    """Goes out."""

    who: str


@frozen
class Opened(DomainEvent):
    """Stays here."""

    who: str


@frozen
class Unheard(Command[None]):
    """Nobody handles it."""


def knock(command: Knock, publish: Publish) -> None:
    """Publish."""
    publish(Knocked(command.who))


def answer(event: Knocked) -> None:
    """Say nothing of a consumer: its app does."""


def told(*arguments: str) -> str:
    """Run cqrs_describe and return what it said."""
    out = StringIO()
    call_command("cqrs_describe", *arguments, stdout=out)
    return out.getvalue()


def described(*arguments: str) -> dict[str, Any]:
    """Return the only message that cqrs_describe says something about."""
    [found] = json.loads(told(*arguments, "--json"))["messages"]
    return found  # type: ignore[no-any-return]


def configured(**settings: Any) -> Any:
    """Configure a project of the test's own."""
    return override_settings(DJANGO_CQRS={"MEDIATOR": BUS, **settings})


def test_a_command_says_on_which_database_it_runs_and_why(project: Project) -> None:
    """By the pattern of DATABASES that fits, or by default."""
    project.registry.add(Knock, knock)

    with configured(DATABASES={"audit.*": "audit"}):
        assert described("Knock")["unit"] == "a transaction on the database 'audit' (DATABASES['audit.*'])"
    with configured():
        assert described("audit.Knock")["unit"] == "a transaction on the database 'default' (the default)"


def test_an_event_says_where_it_goes_and_why(project: Project) -> None:
    """By the pattern of ROUTES that fits best, to all brokers of it."""
    project.consume(Knocked, consumer="hall")
    routes = {"*": ["database"], "door*": ["far", "database"]}

    with configured(BROKERS={"far": MEMORY}, ROUTES=routes):
        ways = described("Knocked")["destinations"]

    assert ways == [
        {"broker": "far", "why": "ROUTES['door*']", "reaches": []},
        {"broker": "database", "why": "ROUTES['door*']", "reaches": ["hall"]},
    ]


def test_a_domain_event_stays_in_the_project(project: Project) -> None:
    """Whatever ROUTES says."""
    project.consume(Opened, consumer="hall")

    with configured(BROKERS={"far": MEMORY}, ROUTES={"*": ["far"]}):
        [way] = described("Opened")["destinations"]

    assert way == {"broker": "database", "why": "domain events stay in this project", "reaches": ["hall"]}


def test_a_handler_that_belongs_to_a_consumer_by_its_app_says_so(project: Project) -> None:
    """Since nothing of it is written where it was registered."""
    answer.__module__ = "tests.desk.handlers"
    project.registry.add(Knocked, answer)

    with configured(CONSUMERS={"hall": {"apps": ["desk"]}}):
        [handler] = described("Knocked")["handlers"]

    assert (handler["consumer"], handler["why"]) == ("hall", "CONSUMERS['hall']['apps'] names its app")


@pytest.mark.parametrize(
    ("consumer", "note"),
    [
        ({"broker": "far"}, "it reads from 'far', and 'doors' goes to 'database'"),
        ({"topics": ["windows"]}, "CONSUMERS['hall']['topics'] is ['windows'], without 'doors'"),
    ],
    ids=["broker", "topics"],
)
def test_why_a_consumer_does_not_get_an_event_is_said(project: Project, consumer: Any, note: str) -> None:
    """And that nobody gets it, if nobody does."""
    project.consume(Knocked, consumer="hall")

    with configured(BROKERS={"far": MEMORY}, CONSUMERS={"hall": consumer}):
        found = described("Knocked")

    assert found["notes"] == [
        f"the consumer 'hall' does not get it: {note}",
        "no consumer of this project has subscribed to 'doors': the relay counts it as unclaimed",
    ]
    assert found["destinations"][0]["reaches"] == []


def test_a_message_that_nobody_handles_is_explained(project: Project) -> None:
    """Though no registry knows of it."""
    with configured():
        text = told("Unheard")

    assert "Unheard()" in text
    assert "! it cannot be sent: nobody handles it; write a handler with @handles(Unheard)" in text


def test_a_name_that_nobody_knows_is_refused(project: Project) -> None:
    """With the one that was meant, perhaps."""
    project.registry.add(Knock, knock)

    with (
        configured(),
        pytest.raises(CommandError, match="no message, consumer or saga 'Knok' here; did you mean Knock"),
    ):
        told("Knok")


def test_consumers_say_where_they_read_and_who_starts_them(project: Project) -> None:
    """Those of the settings, those of handlers, and our own."""
    project.registry.add(Knock, knock)
    project.consume(Knocked, consumer="hall")

    with configured(CONSUMERS={"hall": {"engine": "celery"}}):
        text = told()

    assert "consumer 'hall'\n    handles " in text
    assert "    reads from 'database', its workers are started by 'celery'\n    topics 'doors': the topics of" in text
    assert "consumer 'deferred'\n    handles all commands that are deferred\n" in text
    assert told("--mermaid").startswith("flowchart LR\n")
