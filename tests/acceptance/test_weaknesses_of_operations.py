"""The weaknesses of the predecessors in operation, each shown absent; named as in 5-sync-equivalents.md, part b."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from attrs import frozen
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_cqrs.errors import NotPermitted
from django_cqrs.models import Inbox, Outbox
from django_cqrs.permissions import acting_as
from simplecqrs import Command, DomainEvent, NotificationEvent, Publish, Query
from simplecqrs.errors import InvalidMessage
from tests.desk.models import AuditEntry, Note
from tests.desk.project import Project

pytestmark = pytest.mark.usefixtures("committed")


@frozen
class Write(Command[int], name="desk.Write"):
    """Write a note; answers its number."""

    text: str


@frozen
class Refund(Command[None], name="desk.Refund", permission="desk.change_note"):
    """Needs a permission."""


@frozen
class Audit(Command[None], name="desk.AuditWrite"):
    """Runs on the other database."""


@frozen
class Both(Command[None], name="desk.Both"):
    """Writes on both databases, and defers."""


@frozen
class Look(Query[int], name="desk.Look"):
    """Changes nothing."""


@frozen
class Written(NotificationEvent, name="desk.written", topic="written"):
    """A note was written."""

    text: str


@frozen
class Noticed(DomainEvent, name="desk.noticed"):
    """For after the commit."""


@pytest.fixture
def desk(project: Project) -> Project:
    """Return a project in which notes are written."""

    def write(command: Write, publish: Publish) -> int:
        if command.text == "bad":
            raise ValueError("bad")
        publish(Noticed())
        publish(Written(command.text))
        return Note.objects.count() + 1 if command.text == "count" else Note.objects.create(text=command.text).pk

    def both(command: Both, publish: Publish) -> None:
        project.bus.send(Audit())
        project.bus.send(Write("nested"))
        project.bus.defer(Write("later"))

    add = project.registry.add
    add(Write, write)
    add(Refund, lambda command: None)
    add(Audit, lambda command: AuditEntry.objects.using("audit").create(text="audit") and None)
    add(Both, both)
    add(Look, lambda query: 1)
    add(Noticed, lambda event: project.seen.append("noticed"), after_commit=True)
    return project


def stored() -> tuple[int, ...]:
    """Count what is in the tables."""
    return (*tuple(kind.objects.count() for kind in (Note, Outbox, Inbox)), AuditEntry.objects.using("audit").count())


def test_weakness_b35_a_command_says_which_permission_it_needs(desk: Project) -> None:
    """One class keyword, asked for before the handler, whatever view, task or script sends it."""
    allowed, other = (SimpleNamespace(pk=7, has_perm=name.__eq__) for name in ("desk.change_note", "desk.add_note"))
    with acting_as(allowed):
        desk.bus.send(Refund())
    with acting_as(other), pytest.raises(NotPermitted):
        desk.bus.send(Refund())


def test_weakness_b35_a_dry_run_answers_and_stores_nothing(desk: Project) -> None:
    """Neither rows nor events; no after-commit handler runs."""
    dry = desk.bus.dry_run(Write("count"))

    assert (dry.answer, dry.events) == (1, (Noticed(), Written("count")))
    assert (stored(), desk.seen) == ((0, 0, 0, 0), [])


def test_weakness_b35_a_dry_run_undoes_nested_and_deferred_commands_on_all_databases(desk: Project) -> None:
    """For they commit by themselves otherwise."""
    dry = desk.bus.dry_run(Both())

    assert dry.events == (Noticed(), Written("nested"))
    assert stored() == (0, 0, 0, 0)


def test_weakness_b35_a_dry_run_fails_as_the_command_would(desk: Project) -> None:
    """And what is sent afterwards is for real."""
    with pytest.raises(ValueError, match="bad"):
        desk.bus.dry_run(Write("bad"))
    with pytest.raises(InvalidMessage, match="only commands have dry runs"):
        desk.bus.dry_run(Look())  # type: ignore[arg-type]
    desk.bus.send(Write("real"))

    assert (stored(), desk.seen) == ((1, 1, 0, 0), ["noticed"])


def test_weakness_b35_commands_are_sent_together_or_not_at_all(desk: Project) -> None:
    """In one transaction, whose events are one INSERT, in order."""
    with CaptureQueriesContext(connection) as captured:
        answers = desk.bus.send_all([Write("a"), Write("b"), Write("c")])
    said = [query["sql"] for query in captured]
    with pytest.raises(ValueError, match="bad"):
        desk.bus.send_all([Write("d"), Write("bad")])

    assert answers == list(Note.objects.order_by("pk").values_list("pk", flat=True))
    assert len([sql for sql in said if sql.startswith(f"INSERT INTO {Outbox._meta.db_table}")]) == 1
    assert (stored(), desk.seen) == ((3, 3, 0, 0), ["noticed"] * 3)


@pytest.mark.parametrize(
    ("batch", "complaint"),
    [([Write("a"), Audit()], "on several databases"), ([Write("a"), Look()], "Look changes nothing")],
    ids=["two databases", "a query"],
)
def test_weakness_b35_what_cannot_be_together_is_refused(desk: Project, batch: list[Any], complaint: str) -> None:
    """Before anything is done."""
    with pytest.raises(InvalidMessage, match=complaint):
        desk.bus.send_all(batch)

    assert stored() == (0, 0, 0, 0)
    assert desk.bus.send_all([]) == []
