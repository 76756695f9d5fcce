"""Rows that are inserted, or change the ones that are there: the one statement that each database has for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["GREATEST", "NEW", "SUM", "upsert"]

#: What a column becomes: the new value, both added up, or the greater one.
NEW, SUM, GREATEST = "{new}", "{old} + {new}", "{greatest}({old}, {new})"


def upsert(
    connection: BaseDatabaseWrapper,
    table: str,
    key: Sequence[str],
    merged: Mapping[str, str],
    rows: Sequence[Sequence[Any]],
    *,
    values: Mapping[str, str] | None = None,
) -> None:
    """
    Insert rows, or merge each into the one that has its key; one statement, outside of a transaction if there is none.

    Args:
        key: the columns of the primary key.
        merged: the other columns, and what becomes of each.
        rows: values of all columns in this order, parameters only; sorted by key, so that nobody waits in a circle.
        values: expressions of columns that are not just a parameter.
    """
    columns = [*key, *merged]
    row = f"({', '.join((values or {}).get(column, '%s') for column in columns)})"
    is_mysql = connection.vendor == "mysql"
    found = "ON DUPLICATE KEY UPDATE" if is_mysql else f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET"
    greatest = "MAX" if connection.vendor == "sqlite" else "GREATEST"
    changes = [
        f"{column} = "
        + how.format(
            old=f"{table}.{column}",
            new=f"VALUES({column})" if is_mysql else f"excluded.{column}",
            greatest=greatest,
        )
        for column, how in merged.items()
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * len(rows))} {found} "
            + ", ".join(changes),
            [value for each in rows for value in each],
        )
