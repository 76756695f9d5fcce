"""Guards over statements: queries do not write, commands do not write through another alias."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any

from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.db import connections, transaction
from django.db.utils import InternalError, NotSupportedError, OperationalError

from django_cqrs.conf import settings
from django_cqrs.errors import QueryWrote, WroteElsewhere
from simplecqrs.dispatch import stack, top
from simplecqrs.log_context import current_fields
from simplecqrs.messages import Message, Query, Stream
from simplecqrs.pipeline import Call, Middleware
from simplecqrs.steps import each_step

__all__ = ["acting_on", "alias_guard", "query_guard", "writes_to"]

log = logging.getLogger("django_cqrs")

READS = re.compile(
    r"(?:[\s(]|--[^\n]*\n|/\*.*?\*/)*(?:SELECT|EXPLAIN|SHOW|BEGIN|SAVEPOINT|RELEASE|ROLLBACK|COMMIT|VALUES|PRAGMA|SET|DECLARE|FETCH|CLOSE)\b",
    re.I | re.S,
)
WRITE = re.compile(
    r"\b(?:INSERT\s+(?:IGNORE\s+|OR\s+\w+\s+)?INTO|UPDATE|DELETE\s+FROM|MERGE\s+INTO|REPLACE\s+INTO)\s+[\"`\[]?(\w+)",
    re.I,
)
_acting = threading.local()


def writes_to(sql: Any) -> str | None:
    """
    Return the table that a statement writes to, or what it is if no table is named; None if it reads.

    It reads the statement's text, so it is a net and not a wall: a function that writes is not seen.
    """
    text: str = sql if isinstance(sql, str) else sql.as_string(None)  # psycopg's composed statements
    if READS.match(text):
        return None
    found = WRITE.search(text)
    if found:
        return found[1]
    word = text.split(None, 1)[0].upper() if text.strip() else ""
    return None if word in ("", "WITH") else word


def query_guard(alias_of: Callable[[Message], str]) -> Middleware:
    """
    Make a middleware that refuses, as the setting QUERY_GUARD says, that the handler of a query writes.

    Args:
        alias_of: the database alias of a message.
    """

    def guard(message: Message, call_next: Call) -> Any:
        mode = settings().query_guard
        if mode == "off" or not isinstance(message, (Query, Stream)):
            return call_next(message)
        refusing = _Refusing(message, mode)
        if isinstance(message, Query):
            with _read_only_transaction(message, alias_of(message)) if mode == "database" else nullcontext(), refusing:
                return call_next(message)
        if top(stack.frames).query is message:  # else it is one that writes
            return each_step(lambda: refusing, lambda: call_next(message))
        return call_next(message)

    return guard


class _Refusing:
    """
    Refuses that the handler of a message writes, on all aliases; entered again for each item of a stream.

    Of a stream that has the mode ``"database"``, statements are looked at as well: a read-only transaction for each
    item would close the cursor that the next one is to come from.
    """

    def __init__(self, message: Message, mode: str) -> None:
        self._refuse = _refusing_writes(message, mode)
        self._thread = 0
        self._wrappers: list[list[Any]] = []

    def __enter__(self) -> None:
        thread = threading.get_ident()
        if thread != self._thread:  # a stream may go on in another one, which has connections of its own
            self._thread, self._wrappers = thread, [connections[alias].execute_wrappers for alias in connections]
        for wrappers in self._wrappers:
            wrappers.append(self._refuse)

    def __exit__(self, *_: object) -> None:
        for wrappers in self._wrappers:
            wrappers.remove(self._refuse)


def _refusing_writes(message: Message, mode: str) -> Callable[..., Any]:
    def guard(execute: Callable[..., Any], sql: Any, *args: Any) -> Any:
        table = writes_to(sql)
        if table is not None and table not in _exempt_tables():
            complaint = (
                f"{type(message).__qualname__} is a {_kind(message)}, and its handler wrote to {table}; "
                f"{_cure(message)}, or see the setting QUERY_GUARD"
            )
            if mode == "log":
                log.warning(complaint, extra=current_fields())
            else:
                raise QueryWrote(complaint)
        return execute(sql, *args)

    return guard


def _kind(message: Message) -> str:
    return "query" if isinstance(message, Query) else "stream that reads"


def _cure(message: Message) -> str:
    return "make it a command" if isinstance(message, Query) else 'say transaction="item" where it is registered'


@contextmanager
def _read_only_transaction(message: Message, alias: str) -> Generator[None, None, None]:
    """Let PostgreSQL itself refuse writes, where no transaction is open yet."""
    connection = connections[alias]
    if connection.vendor != "postgresql" or connection.in_atomic_block:
        yield
        return
    try:
        with transaction.atomic(using=connection.alias):
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION READ ONLY")
            yield
    except (InternalError, OperationalError, NotSupportedError) as error:
        if "read-only transaction" not in str(error):
            raise
        raise QueryWrote(f"{type(message).__qualname__} is a query, and its handler wrote: {error}") from error


@cache
def _exempt_tables() -> frozenset[str]:
    """Return the tables that reading may write to: sessions and database caches."""
    caches = {
        str(cache["LOCATION"])
        for cache in django_settings.CACHES.values()
        if str(cache.get("BACKEND", "")).endswith("DatabaseCache")
    }
    return frozenset({"django_session", *caches})


@contextmanager
def alias_guard(message: Message, alias: str) -> Generator[None, None, None]:
    """Refuse, as the setting ALIAS_GUARD says, that a command writes through another alias than its own."""
    mode = settings().alias_guard
    if mode == "off" or len(connections.settings) == 1:
        yield
        return
    guards = [
        (connections[other].execute_wrappers, _refusing_elsewhere(message, alias, other, mode))
        for other in connections.settings
        if other != alias
    ]
    before = getattr(_acting, "alias", None)
    _acting.alias = alias
    for wrappers, guard in guards:
        wrappers.append(guard)
    try:
        yield
    finally:
        for wrappers, guard in guards:
            wrappers.remove(guard)
        _acting.alias = before


@contextmanager
def acting_on(alias: str) -> Generator[None, None, None]:
    """Let what we ourselves store write through this alias, whatever command goes on here."""
    before = getattr(_acting, "alias", None)
    _acting.alias = alias
    try:
        yield
    finally:
        _acting.alias = before


def _refusing_elsewhere(message: Message, alias: str, other: str, mode: str) -> Callable[..., Any]:
    def guard(execute: Callable[..., Any], sql: Any, *args: Any) -> Any:
        # A nested command on the other alias is that alias's own: it commits by itself.
        table = writes_to(sql) if _acting.alias == alias else None
        if table is not None and table not in _exempt_tables():
            complaint = (
                f"{type(message).__qualname__} runs in a transaction on {alias!r}, and its handler wrote to {table} "
                f"through {other!r}, which is not part of it; name the alias in DATABASES of DJANGO_CQRS, send a "
                "command of its own, or see the setting ALIAS_GUARD"
            )
            if mode == "log":
                log.warning(complaint, extra=current_fields())
            else:
                raise WroteElsewhere(complaint)
        return execute(sql, *args)

    return guard


def _forget(*, setting: str, **_: object) -> None:
    if setting == "CACHES":
        _exempt_tables.cache_clear()


setting_changed.connect(_forget)
