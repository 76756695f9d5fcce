"""What outbox and inbox demand of a database: of its settings, and of the server when somebody connects to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core import checks
from django.db import connections

__all__ = ["check_schemas", "check_server", "check_settings_of"]


def check_settings_of(alias: str, configured: Any) -> Iterator[checks.CheckMessage]:
    """Complain of an entry of DATABASES."""
    engine, options = str(configured.get("ENGINE", "")), configured.get("OPTIONS", {})
    if engine.endswith("sqlite3") and options.get("transaction_mode") != "IMMEDIATE":
        yield checks.Warning(
            f"DATABASES[{alias!r}]: SQLite begins transactions as DEFERRED; one that reads first and then "
            "writes fails with 'database is locked' as soon as another process writes",
            hint=f"DATABASES[{alias!r}]['OPTIONS'] = {{'transaction_mode': 'IMMEDIATE', 'timeout': 20}}",
            id="cqrs.W008",
        )
    level = options.get("isolation_level", "read committed")
    if engine.endswith("mysql") and str(level).lower() != "read committed":
        yield checks.Error(
            f"DATABASES[{alias!r}]: the isolation level is {level or 'left to the server'}; what a relay or a consumer "
            "reads under a lane's lock would be as old as its transaction, and be done twice",
            hint=f"Take isolation_level out of DATABASES[{alias!r}]['OPTIONS']: Django's default is READ COMMITTED.",
            id="cqrs.E009",
        )


def check_schemas(configured: Any) -> Iterator[checks.CheckMessage]:
    """Complain of an entry of DATABASES that has no schemas, though the setting SCHEMAS names some."""
    engine = str(configured.get("ENGINE", ""))
    if engine.endswith(("sqlite3", "mysql", "oracle")):
        yield checks.Error(
            f"SCHEMAS names schemas of PostgreSQL, and DATABASES['default'] is {engine}",
            hint="Take SCHEMAS out, or use PostgreSQL.",
            id="cqrs.E021",
        )


def check_server(alias: str) -> Iterator[checks.CheckMessage]:
    """Complain of a server, to which it connects."""
    connection: Any = connections[alias]
    if connection.vendor == "mysql" and not connection.features.has_select_for_update_skip_locked:
        version = ".".join(map(str, connection.mysql_version))
        name = "MariaDB" if connection.mysql_is_mariadb else "MySQL"
        yield checks.Error(
            f"DATABASES[{alias!r}]: {name} {version} has no SKIP LOCKED, by which relays share work",
            hint="Use MariaDB 10.6 or MySQL 8.0.1, or later.",
            id="cqrs.E010",
        )
