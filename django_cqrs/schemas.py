"""PostgreSQL's schemas, one for each tenant: being in one, and which there are."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from attrs import evolve
from django.db import Error, connections
from django.db.backends.signals import connection_created
from django.utils.module_loading import import_string

from django_cqrs.conf import settings, table
from django_cqrs.locks import is_given_up
from simplecqrs.ambient import context
from simplecqrs.envelope import Envelope
from simplecqrs.errors import NotConfigured

__all__ = [
    "TENANT",
    "TENANTS",
    "CarriedSchemas",
    "ask_in",
    "carry",
    "has_tables",
    "in_schema",
    "known_here",
    "known_schema",
    "literal",
    "quoted",
    "schemas_of",
    "with_tables",
    "with_tenant",
]

log = logging.getLogger("django_cqrs")

#: The alias whose schemas the setting SCHEMAS names; that of the consumers' inboxes.
TENANTS = "default"
#: Set on a connection as long as it is in a schema: a new connection to the server is put there as well.
SCHEMA = "_cqrs_schema"
#: The header with the tenant, and the schema that is nobody's: where django-tenants is while no tenant was chosen.
TENANT, SHARED = "tenant", "public"
#: The longest name of a schema, in bytes.
LONGEST = 63
#: What ``search_path`` was on connections to the server before we changed it.
_before: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


@contextmanager
def in_schema(schema: str, using: str = TENANTS) -> Generator[None, None, None]:
    """
    Work in a schema of PostgreSQL: it comes first in ``search_path``, and messages have it as their ``tenant``.

    Raises:
        NotConfigured: if there is no such schema, or if the database is another one.
    """
    with ask_in(schema, using), context(tenant=schema):
        yield


@contextmanager
def ask_in(schema: str, using: str = TENANTS) -> Generator[None, None, None]:
    """Do what ``in_schema`` does with this thread's connection, and say nothing to messages."""
    connection: Any = connections[using]
    if connection.vendor != "postgresql":
        raise NotConfigured(f"{using!r} is {connection.vendor}; only PostgreSQL has schemas")
    before = getattr(connection, SCHEMA, None)
    if hasattr(connection, "set_schema"):  # django-tenants' own, which does all the rest
        tenant = connection.tenant
        connection.set_schema(schema)
        setattr(connection, SCHEMA, schema)
        try:
            yield
        finally:
            setattr(connection, SCHEMA, before)
            _back_to(connection, tenant)
        return
    _move(connection, schema)
    try:
        yield
    finally:
        _leave(connection, before)


def _back_to(connection: Any, tenant: Any) -> None:
    if tenant is None:
        connection.set_schema_to_public()
    else:
        connection.set_tenant(tenant)


def _move(connection: Any, schema: str) -> None:
    if not schema or len(schema.encode()) > LONGEST or "\0" in schema:
        raise NotConfigured(f"{schema!r} is no name of a schema: it has 1 to {LONGEST} bytes")
    before = getattr(connection, SCHEMA, None)
    setattr(connection, SCHEMA, schema)
    try:
        if connection.connection is None:
            connection.ensure_connection()  # which moves it, see below
        else:
            _set_path(connection, schema)
    except BaseException:
        _leave(connection, before)
        raise


def _leave(connection: Any, before: str | None) -> None:
    """Go back; a connection that will not must not be used again."""
    setattr(connection, SCHEMA, before)
    if connection.connection is None or is_given_up(connection):  # what is rolled back takes the path along
        return
    try:
        _set_path(connection, before)
    except Error:
        connection.close()


def _set_path(connection: Any, schema: str | None) -> None:
    with connection.cursor() as cursor:
        if connection.connection not in _before:
            cursor.execute("SELECT current_setting('search_path')")
            _before[connection.connection] = cursor.fetchone()[0]
        path = _before[connection.connection]
        if schema is None:
            cursor.execute("SELECT set_config('search_path', %s, false)", [path])
            return
        name = quoted(schema)
        cursor.execute(
            "SELECT to_regnamespace(%s)::text, set_config('search_path', %s, false)", [name, f"{name}, {path}"]
        )
        if cursor.fetchone()[0] is None:
            raise NotConfigured(f"{connection.alias!r} has no schema {schema!r}: create it and migrate there")


def _on_connect(*, connection: Any, **_: object) -> None:
    """Put a new connection where its wrapper is: one of a pool may be somewhere else, and a handler may close its."""
    if hasattr(connection, "set_schema") or connection.vendor != "postgresql":
        return
    schema = getattr(connection, SCHEMA, None)
    if schema is not None or connection.connection in _before:
        _set_path(connection, schema)


connection_created.connect(_on_connect)


def quoted(schema: str) -> str:
    """Return a schema's name as SQL has it."""
    return '"' + schema.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"


def known_schema(connection: Any) -> str | None:
    """Return the schema in which a connection is, as far as its wrapper knows without asking the server."""
    found: str | None = getattr(connection, SCHEMA, None) or getattr(connection, "schema_name", None)
    return found


def known_here(alias: str) -> str | None:
    """Return the tenant's schema in which this thread is, if it, or django-tenants, was told one; None: in none."""
    found = known_schema(connections[alias])
    return None if found == SHARED and known_by_us(connections[alias]) is None else found


def known_by_us(connection: Any) -> str | None:
    """Return the schema in which ``in_schema`` has put a connection."""
    found: str | None = getattr(connection, SCHEMA, None)
    return found


def with_tenant(alias: str, envelope: Envelope) -> Envelope:
    """Say in an envelope in which schema it was stored, unless it says whose it is; of SCHEMAS only."""
    if settings().schemas is None or TENANT in envelope.headers:
        return envelope
    schema = known_schema(connections[alias])
    if schema is None or schema == SHARED:
        return envelope
    return evolve(envelope, headers={**envelope.headers, TENANT: schema})


def carry(connection: Any, beside: Any) -> None:
    """Let a copy of a connection's wrapper, which has not connected yet, work in the same schema."""
    if hasattr(connection, "set_schema"):
        _back_to(beside, connection.tenant)
    else:
        setattr(beside, SCHEMA, getattr(connection, SCHEMA, None))


class CarriedSchemas:
    """
    Surround what another thread does for this one: in the schemas where this thread is, on connections of its own.

    It may be entered again and again, and by several threads.
    """

    def __init__(self) -> None:
        found = {c.alias: known_schema(c) for c in connections.all(initialized_only=True)}
        self._schemas = {alias: schema for alias, schema in found.items() if schema is not None}
        self._here = threading.local()

    def __enter__(self) -> None:
        with ExitStack() as stack:
            for alias, schema in self._schemas.items():
                stack.enter_context(ask_in(schema, alias))
            self._here.stack = stack.pop_all()

    def __exit__(self, *_: object) -> None:
        try:
            self._here.stack.close()
        finally:
            connections.close_all()


def schemas_of(alias: str, wanted: Sequence[str] = ()) -> list[str]:
    """
    Return the schemas of an alias that are worked one after the other; none: there is but one place.

    Args:
        wanted: only these; else, in the middle of ``in_schema``, only that one; else those of the setting SCHEMAS.

    Raises:
        NotConfigured: if what SCHEMAS names does not return names.
    """
    here, said = known_here(alias), settings().schemas
    if wanted or here is not None:
        return list(dict.fromkeys(wanted)) or [here or ""]
    if alias != TENANTS or said is None:
        return []
    names = list(import_string(said)()) if isinstance(said, str) else said
    if not all(isinstance(name, str) for name in names):
        raise NotConfigured(f"SCHEMAS: {said} returned {names!r}, and not the names of schemas")
    return list(dict.fromkeys(names))


def has_tables(alias: str) -> bool:
    """Tell whether our tables are there where a new connection is; where there are tenants, they need not be."""
    if settings().schemas is None or connections[alias].vendor != "postgresql":
        return True
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [table("outbox")])
        return bool(cursor.fetchone()[0])


def with_tables(alias: str, schemas: Sequence[str]) -> dict[str, int]:
    """Return those of these schemas that have our tables, each with a number that no other one has."""
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT n.nspname, c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relname = %s AND n.nspname = ANY(%s)",
            [table("outbox"), list(schemas)],
        )
        found = {name: int(number) for name, number in cursor.fetchall()}
    return {name: found[name] for name in schemas if name in found}
