"""Tenants in what goes to brokers and comes from them: in whose schema a message belongs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, cast

from attrs import define, evolve, frozen
from django.utils.module_loading import import_string

from django_cqrs.conf import settings
from django_cqrs.inbox import door
from django_cqrs.models import Dead
from django_cqrs.rows import envelope_of
from django_cqrs.schemas import TENANT, TENANTS, in_schema, schemas_of, with_tables
from simplecqrs.envelope import Envelope
from simplecqrs.log_fields import printable
from simplecqrs.queue import Stored
from simplecqrs.transport import Destination, Garbage, Receipt

__all__ = ["NO_SCHEMA", "SchemasDoor", "by_schema", "let_in", "stamping"]

log = logging.getLogger("django_cqrs")

#: How the reason begins for which a message is dead that belongs to no schema.
NO_SCHEMA = "there is no schema for its tenant"


def stamping(publisher: Destination, schema: str | None) -> Destination:
    """Say to a broker of each message whose it is, unless the message says so itself."""
    return publisher if schema is None else cast("Destination", _Stamping(publisher, schema))


@define(eq=False)
class _Stamping:
    publisher: Destination
    schema: str

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
        stamped = [
            e if TENANT in e.headers else evolve(e, headers={**e.headers, TENANT: self.schema}) for e in envelopes
        ]
        return self.publisher.publish(stamped, deadline=deadline)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.publisher, name)


def by_schema(envelopes: Sequence[Envelope]) -> dict[str | None, list[Envelope]]:
    """Sort messages by the schemas in whose inboxes they belong; None: there is none for them."""
    path = settings().schema_of
    schema_of: Any = import_string(path) if path is not None else lambda envelope: envelope.headers.get(TENANT)
    known = with_tables(TENANTS, schemas_of(TENANTS))
    found: dict[str | None, list[Envelope]] = {}
    for envelope in envelopes:
        schema = schema_of(envelope)
        found.setdefault(schema if schema in known else None, []).append(envelope)
    return found


@frozen
class SchemasDoor:
    """
    The door of the inboxes in all schemas, for what comes from a broker.

    Nobody who could write to that broker is kept from writing any tenant into a message; signatures do that.  What
    belongs to no schema is a dead letter in the one that new connections are in.
    """

    alias: str
    replay: bool = False  # what is older than the memory of ids is let in as well

    def fetching(self, consumer: str, feed: str, /) -> AbstractContextManager[bool]:
        """Take the lock by which one fetcher at a time reads a feed for a consumer."""
        return door(self.alias).fetching(consumer, feed)

    def store(self, consumer: str, envelopes: Sequence[Envelope], /) -> Stored:
        """Store what was not seen before, each where it belongs."""
        new = seen = 0
        for schema, some in by_schema(envelopes).items():
            if schema is None:
                self.bury(consumer, [_homeless(envelope) for envelope in some])
                continue
            with in_schema(schema, self.alias):
                stored = door(self.alias).store(consumer, some, once=self.replay)
            new, seen = new + stored.new, seen + stored.seen
        return Stored(new, seen)

    def bury(self, consumer: str, garbage: Sequence[Garbage], /) -> None:
        """Keep what could not be read, for people to look at."""
        door(self.alias).bury(consumer, garbage)


def let_in(dead: Dead) -> bool:
    """Let a message in that belonged to no schema, if there is one for it now."""
    [(schema, [envelope])] = by_schema([envelope_of(dead)]).items()
    if schema is None:
        return False
    with in_schema(schema, TENANTS):
        door(TENANTS).store(dead.queue, [envelope])
    dead.delete()
    return True


def _homeless(envelope: Envelope) -> Garbage:
    tenant = envelope.headers.get(TENANT)
    log.error("%s %s: %s %r", printable(envelope.name), envelope.id, NO_SCHEMA, tenant)
    return Garbage(f"{NO_SCHEMA} {tenant!r}", envelope.payload, envelope.headers, envelope)
