"""
Statements that PostgreSQL plans once for many messages: to plan them takes longer than to execute them.

They are prepared in SQL, which all drivers can do, under names that no other session uses.  Where a pooler lends the
server's connections for single transactions they are gone in the next one: that costs one transaction in which nothing
was done yet, and from then on statements are planned each time.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Sequence
from itertools import count
from typing import Any

from attrs import define, field
from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper

from django_cqrs.conf import settings

__all__ = ["execute"]

log = logging.getLogger("django_cqrs")

#: Seconds within which a statement has to come again to be prepared: an idle loop looks once a second.
OFTEN = 0.25
#: Seconds for which a plan is kept.  One for a table of a few rows reads all of it, and the server would keep it,
#: however many there are by now, until somebody analyzes the table.
FRESH = 1.0
#: SQLSTATE: there is no prepared statement of this name.
GONE = "26000"
#: What differs from one time to the next.
Number = int | list[int]


@define
class _Prepared:
    """
    One statement on one connection.

    Args:
        name: by which the server knows it.
        used: when it was asked for last.

    Attributes:
        since: when it was prepared; 0: it is not.
    """

    name: str
    used: float
    since: float = field(default=0.0, init=False)


@define
class _Session:
    """
    What is kept of one connection of the driver.

    Args:
        raw: the connection.
        cursor: one of Django's, since to make one takes as long as to begin a transaction.

    Attributes:
        known: what is prepared, by the statement and its texts.
    """

    raw: Any
    cursor: Any
    token: str = field(factory=lambda: secrets.token_hex(4), init=False)
    known: dict[tuple[str, ...], _Prepared] = field(factory=dict[tuple[str, ...], _Prepared], init=False)


#: Where Django's connection keeps it.
SESSION = "_cqrs_session"
#: Aliases on which what was prepared was gone.
_forgetful: set[str] = set()


def execute(connection: BaseDatabaseWrapper, sql: str, parameters: Sequence[str | Number]) -> Any:
    """
    Execute a statement that is made again and again; prepare it, if that is often.

    Args:
        parameters: numbers differ from one time to the next, texts are part of what is prepared.

    Returns:
        A cursor, which the next statement uses as well.

    Raises:
        Error: what the database says; also, once, where a pooler takes the connection away between transactions.
    """
    session = _session(connection)
    # One that notes what it executes is made as long as somebody wants to know.
    cursor = connection.cursor() if connection.queries_logged else session.cursor
    try:
        name = _prepare(session, cursor, sql, parameters) if _keeps_sessions(connection) else None
        if name is None:
            cursor.execute(sql, parameters)
        else:
            numbers = ", ".join([_written(value) for value in parameters if not isinstance(value, str)])
            cursor.execute(f"EXECUTE {name}({numbers})")
    except Error as error:
        if _state(error) == GONE and connection.alias not in _forgetful:
            _forgetful.add(connection.alias)
            log.warning(
                "%r: what was prepared is gone, as behind pgbouncer's transaction pooling; statements are planned each "
                "time from now on.  Say so in its settings, DISABLE_SERVER_SIDE_CURSORS, and nobody tries",
                connection.alias,
            )
        raise
    return cursor


def _session(connection: BaseDatabaseWrapper) -> _Session:
    connection.ensure_connection()
    found: _Session | None = getattr(connection, SESSION, None)
    if found is None or found.raw is not connection.connection:
        found = _Session(connection.connection, connection.cursor())
        setattr(connection, SESSION, found)
    return found


def _keeps_sessions(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether nothing says that a pooler lends connections for single transactions."""
    alias = connection.alias
    return not (
        alias in _forgetful
        or connection.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS")
        or settings().listen_alias.get(alias, alias) != alias
    )


def _prepare(session: _Session, cursor: Any, sql: str, parameters: Sequence[str | Number]) -> str | None:
    """Return the name of a statement that was prepared, and not too long ago; None: it is not made often."""
    key, now = (sql, *(value for value in parameters if isinstance(value, str))), time.monotonic()
    found = session.known.get(key)
    if found is None:
        session.known[key] = _Prepared(f"cqrs_{session.token}_{len(session.known)}", now)
        return None
    used, found.used = found.used, now
    if now - used > OFTEN:
        return None
    if not found.since or now - found.since >= FRESH:
        forget = f"DEALLOCATE {found.name}; " if found.since else ""
        cursor.execute(f"{forget}PREPARE {found.name}{_definition(cursor.db, sql, parameters)}")
        found.since = now
    return found.name


def _definition(connection: Any, sql: str, parameters: Sequence[str | Number]) -> str:
    """Return types and text of a statement: its texts as literals, its numbers as parameters."""
    texts = [value for value in parameters if isinstance(value, str)]
    types = ["bigint[]" if isinstance(value, list) else "bigint" for value in parameters if not isinstance(value, str)]
    number = count(1)
    marks = ["%s" if isinstance(value, str) else f"${next(number)}" for value in parameters]
    marked = "".join(piece + mark for piece, mark in zip(sql.split("%s"), [*marks, ""], strict=True))
    return f"({', '.join(types)}) AS {connection.ops.compose_sql(marked, texts)}"


def _written(value: Number) -> str:
    return str(value) if isinstance(value, int) else f"'{{{','.join(map(str, value))}}}'"


def _state(error: Error) -> str | None:
    """Return the SQLSTATE, as psycopg 3 or 2 tells it."""
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
