"""No 35: old and new releases work on the same tables, and lanes need no rows that somebody has to make."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, models, transaction

from django_cqrs.inspection import DjangoInspection
from django_cqrs.models import Dead, Inbox, Lane, LaneMark, Outbox, ParkedInbox, ParkedOutbox
from django_cqrs.queue import DjangoStorage
from simplecqrs.queue import Box, Failure, lane_of
from tests.contracts.queue import make, texts

pytestmark = pytest.mark.usefixtures("committed")
MiB = 1024 * 1024
TABLES: list[Any] = [Outbox, Inbox, ParkedOutbox, ParkedInbox, Dead]


@contextmanager
def a_later_release_has_a_new_column() -> Generator[None, None, None]:
    """Add one to every table of messages, as its migration would: nullable, and at the end."""
    column: Any = models.TextField(null=True)
    column.set_attributes_from_name("added_later")
    with connection.schema_editor() as editor:
        for table in TABLES:
            editor.add_field(table, column)
    try:
        yield
    finally:
        with connection.schema_editor() as editor:
            for table in TABLES:
                editor.remove_field(table, column)


def work(box: Box) -> list[str]:
    """Append, read, park, retry, bury and revive; return what was drained in the end."""
    storage, inspection = DjangoStorage(box, "default"), DjangoInspection("default")
    first, second = make("1", key="a"), make("2", key="a")
    lane = lane_of(first)
    with transaction.atomic():
        storage.append([("shop", lane, first), ("shop", lane, second)])
    for pause in (0.0, None):
        with storage.hold("shop", lanes=[lane], limit=1, local=True, idle=60) as held:
            assert held is not None
            held.park(held.read(1, MiB)[0], Failure("no", 1, pause))
    [letter] = inspection.letters()
    assert inspection.retry(letter.id)
    drained: list[str] = []
    while storage.look("shop", [lane]):
        with storage.hold("shop", lanes=[lane], limit=1, local=True, idle=60) as held:
            assert held is not None
            rows = held.read(10, MiB)
            held.done(rows)
            drained += texts(rows)
    return drained


@pytest.mark.parametrize("box", ["outbox", "inbox"])
def test_35_this_release_works_on_the_tables_of_a_later_one(box: Box) -> None:
    """All columns are named in all statements: relays may be restarted before or after the migration."""
    if connection.vendor == "sqlite":  # Django copies a table to add a column; the model's own columns must be all
        with connection.cursor() as cursor:
            for table in TABLES:
                cursor.execute(f"ALTER TABLE {table._meta.db_table} ADD COLUMN added_later TEXT NULL")
        try:
            assert work(box) == ["1", "2"]
        finally:
            with connection.cursor() as cursor:
                for table in TABLES:
                    cursor.execute(f"ALTER TABLE {table._meta.db_table} DROP COLUMN added_later")
        return
    with a_later_release_has_a_new_column():
        assert work(box) == ["1", "2"]


@pytest.mark.parametrize("box", ["outbox", "inbox"])
def test_35_rows_of_lanes_are_made_when_they_are_missing(box: Box) -> None:
    """Whatever was deleted there: no lane is without a lock, and no work is lost."""
    work(box)
    Lane.objects.all().delete()
    LaneMark.objects.all().delete()

    assert work(box) == ["1", "2"]
