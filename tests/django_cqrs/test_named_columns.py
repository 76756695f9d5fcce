"""No 35 as well: all our statements name their columns, so that releases with more and with fewer work on one table."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from django.apps import apps
from django.db import connection, transaction

import django_cqrs
from django_cqrs.inspection import DjangoInspection
from django_cqrs.loops import run
from django_cqrs.models import Dead, Inbox, Outbox, ParkedInbox, Scheduled
from django_cqrs.promotion import promoters
from simplecqrs import Command, NotificationEvent, Retry
from simplecqrs.queue import DEFERRED, SAGAS
from tests.desk.project import Project
from tests.desk.trips import Trip, noted, trip_saga

SOURCES = sorted(Path(django_cqrs.__file__).parent.rglob("*.py"))
#: What takes whatever columns there are, in their order; not those of a query that names them.
UNNAMED = re.compile(
    r"\b(SELECT|RETURNING)\s+(\w+\.)?\*(?! FROM \(SELECT \w)|\bINSERT\s+(OR \w+ )?INTO\s+\S+\s+(?!\()", re.IGNORECASE
)


def statements(source: str) -> Iterator[str]:
    """Go through the strings of a module, with ``x`` for what is put into them."""
    tree = ast.parse(source)
    parts = {id(value) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for value in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(v.value) if isinstance(v, ast.Constant) else "x" for v in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.value


def unnamed(source: str) -> list[str]:
    """Return the statements that do not name their columns."""
    if not any(word in source for word in ("SELECT", "INSERT", "RETURNING")):
        return []
    return [text for text in statements(source) if UNNAMED.search(text)]


@pytest.mark.parametrize(
    "source",
    [
        'f"SELECT * FROM {table}"',
        'f"SELECT o.* FROM {table} o"',
        'f"INSERT INTO {table} VALUES (%s)"',
        'f"INSERT INTO {table}" f" SELECT id, name FROM {other}"',
        'f"DELETE FROM {table} RETURNING *"',
    ],
)
def test_statements_without_columns_are_found(source: str) -> None:
    """Else the next test would say nothing."""
    assert len(unnamed(source)) == 1


def test_no_statement_leaves_out_its_columns() -> None:
    """Reading or writing."""
    found = {path.name: unnamed(path.read_text()) for path in SOURCES}

    assert {name: texts for name, texts in found.items() if texts} == {}


# on the tables of a later release


@frozen
class Moved(NotificationEvent, topic="moves", key="who"):
    """For a consumer."""

    who: str


@frozen
class Rest(Command[None]):
    """For later."""

    who: str


def _alter(how: str) -> None:
    models = apps.get_app_config("django_cqrs").get_models()
    with connection.cursor() as cursor:
        for table in sorted({model._meta.db_table for model in models if model._meta.managed}):
            cursor.execute(f"ALTER TABLE {table} {how}")


@contextmanager
def a_column_more() -> Iterator[None]:
    """Add one to each of our tables, while this release is at work: NOT NULL, with a default of the database's."""
    _alter("ADD COLUMN added_later VARCHAR(10) NOT NULL DEFAULT 'new'")
    try:
        yield
    finally:
        _alter("DROP COLUMN added_later")


@pytest.mark.usefixtures("committed")
def test_35_both_loops_work_while_a_column_with_a_default_is_there(project: Project) -> None:
    """Publishing, deferring, scheduling, shipping, handling, retrying, giving up, and sagas."""
    broken = {"bob"}

    def fail(event: Any, publish: Any) -> None:
        if event.who in broken:
            raise ValueError("no")

    project.consume(Moved, consumer="walkers", work=fail, retry=Retry(2, first=0, jitter=0))
    project.registry.add(Rest, lambda command: project.seen.append(f"rest {command.who}"))
    saga = trip_saga(project.registry, "flight", "hotel")
    project.publish(Moved("before"))
    with a_column_more():
        project.publish(Moved("ada"), Moved("bob"))
        with transaction.atomic():
            project.bus.defer(Rest("now"))
            project.bus.defer(Rest("then"), due=timedelta(0))
            saga.start(project.bus, Trip())
        run(promoters(), drain=True)
        project.ship()
        project.work("walkers", DEFERRED, SAGAS)
        [letter] = project.letters()
        broken.clear()
        retried = DjangoInspection("default").retry(letter.id)
        project.work("walkers")

    left = [model.objects.count() for model in (Outbox, Inbox, ParkedInbox, Scheduled, Dead)]  # type: ignore[attr-defined]
    assert (retried, left) == (True, [0, 0, 0, 0, 0])
    walked = [f"walkers {who}" for who in ("before", "ada", "bob", "bob", "bob")]
    assert sorted(project.seen) == sorted([*walked, "rest now", "rest then"])
    assert noted() == ["flight ann", "hotel ann"]
