"""The option ``--schema`` of commands: whose tables they look at."""

from __future__ import annotations

from collections.abc import Sequence

from django.core.management.base import CommandError, CommandParser

from django_cqrs.places import SchemaPlace, places_of
from django_cqrs.probes import Probe, of_anything

__all__ = ["add_schema", "add_schemas", "looked_at", "the_one"]

HELP = "of PostgreSQL, a tenant's"


def add_schemas(parser: CommandParser) -> None:
    """Declare that it may be said several times."""
    parser.add_argument("--schema", action="append", default=[], help=f"only this schema {HELP}; may be repeated")


def add_schema(parser: CommandParser) -> None:
    """Declare that it is said once."""
    parser.add_argument("--schema", help=f"the schema {HELP}")


def looked_at(alias: str, schema: str | None, probe: Probe | None = None) -> list[SchemaPlace]:
    """Return what is looked at: the one that was asked for, or all that have anything to tell."""
    chosen = [schema] if schema else []
    found = places_of([alias], None if chosen else probe or of_anything(), chosen)
    if schema and not found:
        raise CommandError(f"{alias!r} has no schema {schema!r} with our tables")
    return found


def the_one(alias: str, schema: str | None, what: Sequence[str]) -> SchemaPlace:
    """Return the place that something is about which has a number of its own in each schema."""
    if schema is None and places_of([alias]) != [SchemaPlace(alias)]:
        raise CommandError(f"{' '.join(what)} needs --schema: each tenant has numbers of its own")
    [place] = looked_at(alias, schema)
    return place
