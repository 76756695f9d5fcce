"""What a migration of ours must not do to a table that is worked while it runs; CONTRIBUTING.md has the rules."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import Any

from django.db import migrations
from django.db.migrations.loader import MigrationLoader

__all__ = ["complaints", "later_migrations"]

APP = "django_cqrs"
#: What old releases would not find any more.
TAKES_AWAY = (migrations.RemoveField, migrations.RenameField, migrations.DeleteModel, migrations.RenameModel,
              migrations.AlterModelTable)  # fmt: skip
#: What only tells Django something.
HARMLESS = (migrations.AlterModelOptions, migrations.AlterModelManagers, migrations.CreateModel)


def later_migrations() -> list[migrations.Migration]:
    """Return our migrations behind the first one."""
    loader = MigrationLoader(None)
    return [found for (app, name), found in sorted(loader.disk_migrations.items()) if app == APP and name[:4] != "0001"]


def complaints(migration: migrations.Migration) -> list[str]:
    """Return what a migration does that locks a table for long, or that an old release does not survive."""
    made = {operation.name_lower for operation in migration.operations if isinstance(operation, migrations.CreateModel)}
    found = [text for operation in migration.operations for text in _of(operation, made)]
    waits = (migrations.AddField, migrations.AlterField, migrations.RunSQL)
    locks = any(isinstance(operation, waits) for operation in migration.operations)
    if locks and "lock_timeout" not in inspect.getsource(sys.modules[type(migration).__module__]):
        found.append("it waits for locks, behind which all others wait, and sets no lock_timeout on PostgreSQL")
    concurrent = any(type(o).__name__.endswith("Concurrently") for o in migration.operations)
    if concurrent and migration.atomic:
        found.append("it has concurrent operations, and is no atomic = False")
    return [f"{migration.name}: {text}" for text in found]


def _of(operation: Any, made: set[str]) -> Iterator[str]:
    """Complain of one operation; tables that the migration makes itself nobody works yet."""
    model = str(getattr(operation, "model_name", "")).lower()
    if model in made or isinstance(operation, HARMLESS):
        return
    what = f"{type(operation).__name__} on {model}"
    if isinstance(operation, migrations.AddField):
        yield from _new_column(operation.field, f"{what}.{operation.name}")
    elif isinstance(operation, TAKES_AWAY):
        yield f"{what}: releases that are at work name it; take it out one release after its last use"
    elif isinstance(operation, migrations.AlterField):
        yield f"{what}.{operation.name}: it may write the whole table anew; add a column in its place"
    elif type(operation) is migrations.AddIndex:
        yield f"{what}: writers wait for it; AddIndexConcurrently on PostgreSQL, in a migration of its own"
    elif type(operation) is migrations.AddConstraint:
        yield f"{what}: writers wait while rows are checked; AddConstraintNotValid, and validate it later"


def _new_column(field: Any, what: str) -> Iterator[str]:
    if not field.null and not field.has_db_default():
        yield f"{what}: releases that do not know it could not write; null=True or db_default="
    if field.db_index or field.unique or field.is_relation:
        yield f"{what}: its index is made while writers wait; add the index by itself, concurrently"
