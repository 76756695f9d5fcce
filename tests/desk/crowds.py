"""Crowds of rows, quickly: one row is copied over and over by the database."""

from __future__ import annotations

from typing import Any

from django.db import connections

__all__ = ["multiply"]


def multiply(kind: type[Any], times: int, *, alias: str = "default") -> None:
    """Double the rows of a table whose ids are given by the database, so many times."""
    columns = ", ".join(field.column for field in kind._meta.concrete_fields if not field.primary_key)
    table = kind._meta.db_table
    with connections[alias].cursor() as cursor:
        for _ in range(times):
            cursor.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {table}")
