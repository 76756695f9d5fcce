"""The databases that outbox and inbox work on: one file for each, and the port that they share."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from django.db import connections
from django.db.models import DateTimeField
from django.db.models.expressions import RawSQL

from django_cqrs.databases.mariadb import MariaDB
from django_cqrs.databases.port import Dialect, Place
from django_cqrs.databases.postgresql import PostgreSQL
from django_cqrs.databases.sqlite import SQLite
from simplecqrs.errors import NotConfigured

__all__ = ["Dialect", "MariaDB", "Place", "PostgreSQL", "SQLite", "dialect", "now"]

#: By what Django calls the vendor; MariaDB is MySQL there.
_dialects: dict[str, Callable[[str], Dialect]] = {"postgresql": PostgreSQL, "mysql": MariaDB, "sqlite": SQLite}


@cache
def dialect(alias: str) -> Dialect:
    """
    Return how to speak to the database of an alias.

    Raises:
        NotConfigured: if it is one that the queue does not know.
    """
    vendor = connections[alias].vendor
    try:
        return _dialects[vendor](alias)
    except KeyError:
        raise NotConfigured(
            f"the database {alias!r} is {vendor}; outbox and inbox work on {', '.join(_dialects)} (and MariaDB)"
        ) from None


def now(alias: str) -> RawSQL:
    """Return the database's time for Django's own queries, where its ``Now`` may be in the time zone of a session."""
    return RawSQL(dialect(alias).now, [], output_field=DateTimeField())
