"""
Rows that one transaction at a time may claim: a second one waits until the first has ended, and sees what it left.

PostgreSQL asks for an advisory lock in the statement that inserts; who does not get it waits for the lock, and not for
the row.  MariaDB and MySQL wait for the row.  On SQLite whoever writes has waited for all others already.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from math import ceil
from typing import Any

from django.db import OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_cqrs.databases.statements import insert_new, placeholders

__all__ = ["claim_row"]

#: MariaDB and MySQL: the server has rolled the whole transaction back, or did not get the lock in time.
DEADLOCK, TOO_LATE = 1213, 1205
#: PostgreSQL: ``lock_not_available``.
LOCKED = "55P03"


def claim_row(alias: str, table: str, columns: Sequence[str], row: Sequence[Any], /, *, lock: int, wait: float) -> bool:
    """
    Insert a row in the transaction that is open; False if there is one with its key.

    Args:
        columns: the primary key is the first one.
        lock: a number for that key, of 64 bits with a sign.
        wait: seconds for another transaction that has inserted it and not ended yet.

    Raises:
        TimeoutError: if that has not ended then.
    """
    connection = connections[alias]
    if connection.vendor == "postgresql":
        return _under_lock(connection, table, columns, row, lock=lock, wait=wait)
    if connection.vendor == "mysql":
        return _under_row(connection, table, columns, row, wait=wait)
    return bool(insert_new(connection, table, columns[:1], columns, [row]))


def _under_lock(
    connection: BaseDatabaseWrapper, table: str, columns: Sequence[str], row: Sequence[Any], *, lock: int, wait: float
) -> bool:
    ends = time.monotonic() + wait
    insert = (
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {placeholders(columns)} WHERE"
        f" pg_try_advisory_xact_lock({_of_table(table)}) ON CONFLICT DO NOTHING"
    )
    there = f"SELECT 1 FROM {table} WHERE {columns[0]} = %s"
    with connection.cursor() as cursor:
        while True:
            cursor.execute(insert, [*row, lock])
            if cursor.rowcount == 1:
                return True
            cursor.execute(there, row[:1])
            if cursor.fetchone():
                return False
            _wait_for_lock(cursor, table, lock, ends - time.monotonic())


def _of_table(table: str) -> str:
    """Return a number for a key in one table: tenants in schemas do not wait for each other."""
    return f"%s # hashint8extended('{table}'::regclass::oid::bigint, 0)"


def _wait_for_lock(cursor: Any, table: str, lock: int, seconds: float) -> None:
    if seconds <= 0:
        raise TimeoutError
    cursor.execute(
        "SELECT current_setting('lock_timeout'), set_config('lock_timeout', %s, true)", [str(ceil(seconds * 1000))]
    )
    before = cursor.fetchone()[0]
    try:
        cursor.execute(f"SELECT pg_advisory_xact_lock({_of_table(table)})", [lock])
    except OperationalError as error:
        cause: Any = error.__cause__
        if LOCKED in (getattr(cause, "sqlstate", None), getattr(cause, "pgcode", None)):
            raise TimeoutError from error
        raise
    cursor.execute("SELECT set_config('lock_timeout', %s, true)", [before])


def _under_row(
    connection: BaseDatabaseWrapper, table: str, columns: Sequence[str], row: Sequence[Any], *, wait: float
) -> bool:
    """
    Insert with IGNORE.

    If the first one is rolled back, all who wait for it are in each other's way, and the server rolls back all but one.
    Where nothing was done yet in their transactions, they try again.
    """
    insert = f"INSERT IGNORE INTO {table} ({', '.join(columns)}) VALUES ({placeholders(columns)})"
    ends = time.monotonic() + wait
    with connection.cursor() as cursor:
        while True:
            limit = max(ceil(ends - time.monotonic()), 0)
            try:
                return _inserted(connection, cursor, insert, row, limit)
            except OperationalError as error:
                if error.args[:1] == (TOO_LATE,):
                    raise TimeoutError from error
                if error.args[:1] != (DEADLOCK,) or len(connection.atomic_blocks) > 1 or ends < time.monotonic():
                    raise
                connection.needs_rollback = False  # there was nothing to lose


def _inserted(connection: Any, cursor: Any, insert: str, row: Sequence[Any], limit: int) -> bool:
    if connection.mysql_is_mariadb:
        cursor.execute(f"SET STATEMENT innodb_lock_wait_timeout = {limit} FOR {insert}", row)
        return bool(cursor.rowcount == 1)
    cursor.execute("SET @cqrs_wait = @@SESSION.innodb_lock_wait_timeout, innodb_lock_wait_timeout = %s", [limit or 1])
    try:
        cursor.execute(insert, row)
        return bool(cursor.rowcount == 1)
    finally:
        with suppress(OperationalError):  # of a connection that is gone; the first error tells
            cursor.execute("SET innodb_lock_wait_timeout = @cqrs_wait")
