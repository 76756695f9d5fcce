"""Sagas as rows: what is written of one, and read again, on one alias."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from attrs import evolve
from django.db import connections

from django_cqrs.databases import Dialect, dialect
from django_cqrs.databases.statements import placeholders
from django_cqrs.masking import masked
from django_cqrs.models import Saga, SagaEntry
from simplecqrs.codec import Codec
from simplecqrs.saga.columns import entry_of, from_columns, to_columns, to_entry_columns
from simplecqrs.saga.records import Entry, Record

__all__ = ["NEVER", "SagaRows", "execute", "query"]

SAGAS, ENTRIES = Saga._meta.db_table, SagaEntry._meta.db_table
#: Named in every statement, so that releases with more columns and with fewer work on one table.
COLUMNS = (
    "id", "saga", "status", "state", "progress", "position", "version", "fingerprint", "paused", "cancelled", "error",
    "owner", "recoveries", "correlation_id", "headers",
)  # fmt: skip
#: What does not change.
FIXED = ("id", "saga", "correlation_id", "headers")
ENTRY = ("saga_id", *Entry._fields)
LISTED = ", ".join(COLUMNS)
CHANGED = ", ".join(f"{column} = %s" for column in COLUMNS if column not in FIXED)
#: When nobody need look after a saga: an expression, and its parameters.
NEVER: tuple[str, list[Any]] = ("NULL", [])


class SagaRows:
    """
    The rows of sagas on one alias.

    Args:
        alias: of the database.
        codec: makes bytes of states.
    """

    def __init__(self, alias: str, codec: Codec) -> None:
        self.alias = alias
        self._codec = codec

    @property
    def speech(self) -> Dialect:
        """Return how to speak to the database."""
        return dialect(self.alias)

    def insert(self, record: Record, due: tuple[str, list[Any]], *, owner: str) -> bool:
        """Add a saga; False if there is one of its id."""
        columns = {**self._columns(record), "version": 1, "owner": owner}
        verb, tail = "INSERT", " ON CONFLICT DO NOTHING"
        if connections[self.alias].vendor == "mysql":
            verb, tail = "INSERT IGNORE", ""
        sql = f"{verb} INTO {SAGAS} ({LISTED}, due_at) VALUES ({placeholders(COLUMNS)}, {due[0]}){tail}"
        return execute(self.alias, sql, [*(columns[name] for name in COLUMNS), *due[1]]) == 1

    def update(self, record: Record, due: tuple[str, list[Any]], *, owner: str) -> bool:
        """Change a saga; False if its version is another one by now."""
        columns = {**self._columns(record), "version": record.version + 1, "owner": owner}
        values = [columns[name] for name in COLUMNS if name not in FIXED]
        return (
            execute(
                self.alias,
                f"UPDATE {SAGAS} SET {CHANGED}, due_at = {due[0]}, updated_at = {self.speech.now}"
                " WHERE id = %s AND version = %s",
                [*values, *due[1], columns["id"], record.version],
            )
            == 1
        )

    def set_due(self, saga_id: UUID, due: tuple[str, list[Any]], where: str, values: Sequence[Any]) -> bool:
        """Change when a saga is due, and what else the expression sets, if a condition holds."""
        sql = f"UPDATE {SAGAS} SET due_at = {due[0]} WHERE id = %s AND {where}"
        return execute(self.alias, sql, [*due[1], self.uuid(saga_id), *values]) == 1

    def read(self, saga_id: UUID, *, lock: bool = False) -> Record | None:
        """Return a saga, or None; a lock is for the transaction that is open, if there is one."""
        found = self._select(f"WHERE id = %s{self.for_update() if lock else ''}", [self.uuid(saga_id)])
        return found[0][1] if found else None

    def newest(self, where: str, values: Sequence[Any], limit: int) -> list[tuple[Any, Record]]:
        """Return sagas, those that were begun last first, and when that was."""
        last = "rowid" if connections[self.alias].vendor == "sqlite" else "id"  # its times are milliseconds
        return self._select(f"{where} ORDER BY created_at DESC, {last} DESC LIMIT %s", [*values, limit])

    def _select(self, rest: str, values: Sequence[Any]) -> list[tuple[Any, Record]]:
        found = query(self.alias, f"SELECT {LISTED}, created_at FROM {SAGAS} {rest}", values)
        return [(self.speech.moment(row[-1]), from_columns(dict(zip(COLUMNS, row, strict=False)))) for row in found]

    def stale(self, limit: int, saga: str | None, ahead: float) -> list[tuple[Any, UUID]]:
        """Return when sagas were due, and their ids."""
        by = (self.speech.later, [ahead]) if ahead else (self.speech.now, [])
        named = ("", []) if saga is None else (" AND saga = %s", [saga])
        found = query(
            self.alias,
            f"SELECT due_at, id FROM {SAGAS} WHERE due_at <= {by[0]}{named[0]} ORDER BY due_at LIMIT %s",
            [*by[1], *named[1], limit],
        )
        return [(self.speech.moment(due), self.speech.uuid(saga_id)) for due, saga_id in found]

    def log(self, record: Record) -> None:
        """Add the new lines of a saga's log, by one statement."""
        if not record.entries:
            return
        rows = [
            {"saga_id": self.uuid(record.id), **to_entry_columns(entry._replace(error=masked(entry.error)))}
            for entry in record.entries
        ]
        values = ", ".join([f"({placeholders(ENTRY)})"] * len(rows))
        execute(
            self.alias,
            f"INSERT INTO {ENTRIES} ({', '.join(ENTRY)}) VALUES {values}",
            [row[name] for row in rows for name in ENTRY],
        )

    def history(self, saga_id: UUID) -> list[Entry]:
        """Return a saga's log, in its order."""
        names = Entry._fields
        sql = f"SELECT {', '.join(names)} FROM {ENTRIES} WHERE saga_id = %s ORDER BY id"
        return [entry_of(dict(zip(names, row, strict=True))) for row in query(self.alias, sql, [self.uuid(saga_id)])]

    def later(self, seconds: float) -> tuple[str, list[Any]]:
        """Return an expression for the time that is so many seconds from now, by the database's clock."""
        return self.speech.later, [seconds]

    def for_update(self) -> str:
        """Return what locks the rows that are read, where there are locks and a transaction."""
        connection = connections[self.alias]
        locks = connection.in_atomic_block and connection.features.has_select_for_update
        return " FOR UPDATE" if locks else ""

    def uuid(self, saga_id: UUID) -> Any:
        """Return an id as the database takes it."""
        return self.speech.uuid_parameter(saga_id)

    def _columns(self, record: Record) -> dict[str, Any]:
        columns = to_columns(_masked(record), self._codec)
        columns["id"] = self.uuid(record.id)
        return columns


def _masked(record: Record) -> Record:
    """Return a saga as it is stored: what its errors say is masked."""
    failed = {name: step for name, step in record.progress.items() if step.error}
    if not record.error and not failed:
        return record
    told = {name: step._replace(error=masked(step.error)) for name, step in failed.items()}
    return evolve(record, error=masked(record.error), progress={**record.progress, **told})


def execute(alias: str, sql: str, values: Sequence[Any]) -> int:
    """Return how many rows a statement has changed."""
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, values)
        return int(cursor.rowcount)


def query(alias: str, sql: str, values: Sequence[Any]) -> Sequence[Sequence[Any]]:
    """Return the rows that a statement finds."""
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, values)
        found: Sequence[Sequence[Any]] = cursor.fetchall()
        return found
