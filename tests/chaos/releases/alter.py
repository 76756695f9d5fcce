"""A process that migrates forward and back while others work: a column, then an index, as CONTRIBUTING.md has it."""

from __future__ import annotations

import sys
from typing import Any

import django
from django.db import OperationalError, connection, transaction
from django.db.migrations.loader import MigrationLoader

#: How often it is tried to get a lock, for at most a second each.
TRIES = 60


def operations() -> list[tuple[Any, bool]]:
    """Return what is done to each hot table, and whether in a transaction."""
    from django.contrib.postgres.operations import AddIndexConcurrently
    from django.db import migrations, models

    return [
        pair
        for table in ("outbox", "inbox")
        for pair in (
            (migrations.AddField(table, "added_later", models.CharField(max_length=9, db_default="new")), True),
            (AddIndexConcurrently(table, models.Index(fields=["added_later"], name=f"{table}_later")), False),
        )
    ]


def apply(operation: Any, before: Any, after: Any, *, atomic: bool, back: bool) -> None:
    """Migrate one step; a lock that does not come within a second is asked for anew, after others."""
    for _ in range(TRIES):
        try:
            with connection.schema_editor(atomic=atomic) as editor:
                if atomic:
                    editor.execute("SET LOCAL lock_timeout = '1s'")
                move = operation.database_backwards if back else operation.database_forwards
                move("django_cqrs", editor, *((after, before) if back else (before, after)))
            return
        except OperationalError as error:
            if "lock timeout" not in str(error):
                raise
    raise AssertionError(f"{operation} got no lock")


def main(times: int) -> None:
    """Migrate forward and back so many times."""
    django.setup()
    state = MigrationLoader(None).project_state()
    steps = []
    for operation, atomic in operations():
        after = state.clone()
        operation.state_forwards("django_cqrs", after)
        steps.append((operation, state, after, atomic))
        state = after
    for _ in range(times):
        for operation, before, after, atomic in steps:
            apply(operation, before, after, atomic=atomic, back=False)
        for operation, before, after, atomic in reversed(steps):
            apply(operation, before, after, atomic=atomic, back=True)
    assert not transaction.get_connection().in_atomic_block


if __name__ == "__main__":
    main(int(sys.argv[1]))
