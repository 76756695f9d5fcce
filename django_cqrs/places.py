"""Places: an alias, or a schema of one; what looks at everything goes from one to the next."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager, nullcontext

from attrs import frozen

from django_cqrs.conf import settings
from django_cqrs.probes import Probe, busy
from django_cqrs.schemas import TENANTS, in_schema, known_here, schemas_of, with_tables

__all__ = ["SchemaPlace", "places_of"]


@frozen
class SchemaPlace:
    """An alias, and the schema there; None: there are no tenants."""

    alias: str
    schema: str | None = None

    @contextmanager
    def entered(self) -> Generator[None, None, None]:
        """Let what is asked inside be asked there."""
        with nullcontext() if self.schema is None else in_schema(self.schema, self.alias):
            yield

    def __str__(self) -> str:
        return self.alias if self.schema is None else f"{self.alias}/{self.schema}"


def places_of(aliases: Sequence[str], probe: Probe | None = None, schemas: Sequence[str] = ()) -> list[SchemaPlace]:
    """
    Return the places of these aliases.

    Args:
        probe: only schemas of which it holds.
        schemas: only these, of the alias that has them; see ``schemas_of``.
    """
    found: list[SchemaPlace] = []
    for alias in [TENANTS] if schemas else aliases:
        if not schemas and known_here(alias) is None and (alias != TENANTS or settings().schemas is None):
            found.append(SchemaPlace(alias))
            continue
        names = list(with_tables(alias, schemas_of(alias, schemas)))
        found += [SchemaPlace(alias, name) for name in (names if probe is None else busy(alias, names, probe))]
    return found
