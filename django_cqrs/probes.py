"""Probes: asking many schemas at a time whether there is work, at the cost of a look into an index of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen
from django.db import connections

from django_cqrs.conf import table
from django_cqrs.schemas import quoted
from simplecqrs.queue import Box

__all__ = ["Probe", "busy", "of_anything", "of_log", "of_queue", "of_sagas", "of_schedule", "of_waits"]

#: Schemas that one statement asks about.
PORTION = 50


@frozen
class Probe:
    """
    A condition on one schema.

    Args:
        condition: SQL in which ``{s}`` stands for the schema and its dot.
        parameters: of it.
    """

    condition: str
    parameters: Sequence[Any] = ()


def of_queue(box: Box, queues: Sequence[str]) -> Probe:
    """Ask whether something waits in one of these queues, or is to be tried again."""
    hot, blocked = table(box), table("blocked")
    return Probe(
        f"EXISTS (SELECT 1 FROM {{s}}{hot} WHERE queue = ANY(%s)) OR EXISTS (SELECT 1 FROM {{s}}{blocked}"
        " WHERE box = %s AND queue = ANY(%s) AND next_at <= statement_timestamp())",
        [list(queues), box, list(queues)],
    )


def of_schedule(seconds: float = 0.0) -> Probe:
    """Ask whether something is due, or will be in so many seconds."""
    return Probe(
        f"EXISTS (SELECT 1 FROM {{s}}{table('scheduled')}"
        " WHERE due <= statement_timestamp() + %s * interval '1 second')",
        [seconds],
    )


def of_sagas() -> Probe:
    """Ask whether a saga is due."""
    return Probe(f"EXISTS (SELECT 1 FROM {{s}}{table('saga')} WHERE due_at <= statement_timestamp())")


def of_waits() -> Probe:
    """Ask whether something waits for another release."""
    return Probe(f"EXISTS (SELECT 1 FROM {{s}}{table('blocked')} WHERE waits_since IS NOT NULL)")


def of_log() -> Probe:
    """Ask whether an operator has done anything."""
    return Probe(f"EXISTS (SELECT 1 FROM {{s}}{table('action')})")


def of_anything() -> Probe:
    """Ask whether there is anything to tell of."""
    names = ("outbox", "inbox", "outbox_parked", "inbox_parked", "blocked", "dead", "scheduled", "saga")
    return Probe(" OR ".join(f"EXISTS (SELECT 1 FROM {{s}}{table(name)})" for name in names))


def busy(alias: str, schemas: Sequence[str], probe: Probe) -> list[str]:
    """Return those of these schemas of which a probe holds, in their order."""
    found: list[str] = []
    for start in range(0, len(schemas), PORTION):
        some = list(schemas[start : start + PORTION])
        asked = " UNION ALL ".join(f"SELECT {place} WHERE {_in(schema, probe)}" for place, schema in enumerate(some))
        with connections[alias].cursor() as cursor:
            cursor.execute(asked, [*probe.parameters] * len(some))
            found += [some[place] for place in sorted(place for (place,) in cursor.fetchall())]
    return found


def _in(schema: str, probe: Probe) -> str:
    return f"({probe.condition.replace('{s}', quoted(schema).replace('%', '%%') + '.')})"
