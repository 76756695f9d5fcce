"""Tables that PostgreSQL keeps by day, so that what is old is dropped and not deleted; elsewhere they are plain."""

from __future__ import annotations

import logging
import re
import time
from datetime import date, datetime, timedelta, timezone
from typing import Any

from django.db import Error, connections, migrations, transaction

__all__ = ["CreatePartitioned", "drop_before", "make_ahead", "rest_of"]

log = logging.getLogger("django_cqrs")

#: Days that are made ahead: as long may purges fail to come.
AHEAD = 3
#: How long others may have to wait for the lock that is needed to make or drop a day.
PATIENCE = "2s"
#: Seconds until it is tried again to drop what somebody has locked: each try makes those who write wait behind it.
AGAIN = 60.0
_busy_until: dict[tuple[str, str], float] = {}


class CreatePartitioned(migrations.CreateModel):
    """
    Make a table; on PostgreSQL in days, with a partition for all that is in no day, so that no INSERT ever fails.

    Args:
        by: the column that says which day; it is part of the primary key.
    """

    def __init__(self, name: str, fields: Any, options: Any = None, *, by: str) -> None:
        super().__init__(name, fields, options)
        self.by = by

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Make the table and the partition of the rest."""
        model = to_state.apps.get_model(app_label, self.name)
        if schema_editor.connection.vendor != "postgresql":
            super().database_forwards(app_label, schema_editor, from_state, to_state)
        elif self.allow_migrate_model(schema_editor.connection.alias, model):
            sql, parameters = schema_editor.table_sql(model)
            name, rest = map(schema_editor.quote_name, (model._meta.db_table, rest_of(model._meta.db_table)))
            schema_editor.execute(f"{sql} PARTITION BY RANGE ({self.by})", parameters or None)
            schema_editor.execute(f"CREATE TABLE {rest} PARTITION OF {name} DEFAULT")


def rest_of(table: str) -> str:
    """Return the partition of all that is in no day."""
    return f"{table}_rest"


def make_ahead(alias: str, table: str) -> None:
    """Make the partitions of the next days.  What cannot be made is not needed: its rows go to the rest."""
    today, known = datetime.now(timezone.utc).date(), _days(alias, table)
    for day in (today + timedelta(days=number) for number in range(1, AHEAD + 1)):
        if day in known:
            continue
        try:
            bounds = f"FROM ('{day}T00:00:00Z') TO ('{day + timedelta(days=1)}T00:00:00Z')"
            _execute(alias, f"CREATE TABLE IF NOT EXISTS {table}_{day:%Y%m%d} PARTITION OF {table} FOR VALUES {bounds}")
        except Error as error:
            log.warning("%s: no partition for %s can be made, %s takes its rows: %s", alias, day, rest_of(table), error)
            return


def drop_before(alias: str, table: str, since: datetime) -> int:
    """
    Drop the partitions of all days that ended before, and return about how many rows they had.

    What somebody reads for a long time, as a dump does, is left to the next time.
    """
    rows = 0
    if time.monotonic() < _busy_until.get((alias, table), 0.0):
        return rows
    for day, name in sorted(_days(alias, table).items()):
        if datetime(day.year, day.month, day.day, tzinfo=timezone.utc) + timedelta(days=1) > since:
            break
        estimate = _estimate(alias, name)
        try:
            _execute(alias, f"DROP TABLE IF EXISTS {name}")
        except Error as error:
            _busy_until[alias, table] = time.monotonic() + AGAIN
            log.warning("%s: %s cannot be dropped now, the next purge tries again: %s", alias, name, error)
            break
        rows += estimate
        log.info("%s: %s is dropped", alias, name)
    return rows


def _days(alias: str, table: str) -> dict[date, str]:
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
            " WHERE i.inhparent = to_regclass(%s)",
            [table],
        )
        names = [name for (name,) in cursor.fetchall()]
    found = {name: re.fullmatch(rf"{re.escape(table)}_(\d{{4}})(\d\d)(\d\d)", name) for name in names}
    return {date(*map(int, day.groups())): name for name, day in found.items() if day is not None}


def _estimate(alias: str, name: str) -> int:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT reltuples FROM pg_class WHERE oid = to_regclass(%s)", [name])
        found = cursor.fetchone()
        if found is not None and found[0] < 0:  # nobody has counted it yet
            cursor.execute(f"SELECT COUNT(*) FROM {name}")
            found = cursor.fetchone()
    return int(found[0]) if found is not None else 0


def _execute(alias: str, sql: str) -> None:
    """Change the tables, unless somebody is in the way for longer than others may be made to wait."""
    with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = '{PATIENCE}'")
        cursor.execute(sql)
