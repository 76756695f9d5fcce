"""Migrations of tables that are worked while they run: neither waits for the other for long."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import migrations, models

from tests.migration_lint import complaints, later_migrations

AddField, AddIndex, AlterField = migrations.AddField, migrations.AddIndex, migrations.AlterField
INDEX = models.Index(fields=["name"], name="by_name")
# lock_timeout: what is planted below would set it.


class AddIndexConcurrently(migrations.AddIndex):
    """Like that of ``django.contrib.postgres``, which needs psycopg to be imported."""


def migration(*operations: Any, atomic: bool = True) -> migrations.Migration:
    """Return a migration of this module."""
    body = {"operations": operations, "atomic": atomic, "__module__": __name__}
    kind = type("Migration", (migrations.Migration,), body)
    return kind("0002_planted", "django_cqrs")  # type: ignore[no-any-return]


def test_our_migrations_lock_no_table_for_long() -> None:
    """And old releases survive them."""
    assert [complaint for found in later_migrations() for complaint in complaints(found)] == []


@pytest.mark.parametrize(
    ("planted", "complaint"),
    [
        (AddField("outbox", "more", models.TextField(default="")), "null=True or db_default="),
        (AddField("outbox", "more", models.TextField(null=True, db_index=True)), "add the index by itself"),
        (AddField("outbox", "more", models.ForeignKey("dead", models.CASCADE, null=True)), "add the index by itself"),
        (AlterField("inbox", "name", models.TextField()), "write the whole table anew"),
        (AddIndex("inbox", INDEX), "AddIndexConcurrently"),
        (AddIndexConcurrently("inbox", INDEX), "no atomic = False"),
        (migrations.AddConstraint("inbox", models.UniqueConstraint(fields=["name"], name="one")), "NotValid"),
        (migrations.RemoveField("seen", "crc"), "one release after its last use"),
        (migrations.RenameField("seen", "crc", "sum"), "one release after its last use"),
    ],
)
def test_what_locks_a_table_is_found(planted: Any, complaint: str) -> None:
    """Each of these, planted."""
    [found] = complaints(migration(planted))

    assert complaint in found


def test_a_wait_for_a_lock_without_an_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes behind it waits as well."""
    planted = migration(AddField("outbox", "more", models.TextField(null=True)))
    monkeypatch.setattr(type(planted), "__module__", "tests.django_cqrs.test_conf")
    import tests.django_cqrs.test_conf as _  # noqa: F401

    [found] = complaints(planted)
    assert "sets no lock_timeout" in found


def test_what_locks_nothing_for_long_is_no_complaint() -> None:
    """New tables, columns with a default of the database's, indexes that are made concurrently."""
    new = migrations.CreateModel("later", [("id", models.BigAutoField(primary_key=True)), ("name", models.TextField())])

    column = AddField("outbox", "more", models.TextField(db_default=""))
    assert complaints(migration(new, AddIndex("later", INDEX), column)) == []
    assert complaints(migration(AddIndexConcurrently("inbox", INDEX), atomic=False)) == []
