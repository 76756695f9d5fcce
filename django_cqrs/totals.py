"""Totals over the schemas of an alias, for who wants to know of tenants together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from attrs import evolve

from django_cqrs.inspection import DjangoInspection
from django_cqrs.places import places_of
from django_cqrs.probes import of_anything
from django_cqrs.saga_status import saga_counts
from simplecqrs.queue import Backlog

__all__ = ["backlogs_of", "sagas_of_all", "together"]


def backlogs_of(alias: str) -> list[Backlog]:
    """Return how much waits in each queue that has anything."""
    found: list[Backlog] = []
    for place in places_of([alias], of_anything()):
        with place.entered():
            found += DjangoInspection(alias).backlogs()
    return together(found)


def sagas_of_all(alias: str) -> Mapping[str, int]:
    """Count sagas by status."""
    counts: Counter[str] = Counter()
    for place in places_of([alias], of_anything()):
        with place.entered():
            counts.update({count.status: count.count for count in saga_counts(alias)})
    return counts


def together(backlogs: Iterable[Backlog]) -> list[Backlog]:
    """Put together what waits in the queues of one name in several schemas, of which the same workers take it."""
    found: dict[tuple[str, str], Backlog] = {}
    for one in backlogs:
        known = found.get((one.box, one.queue))
        found[one.box, one.queue] = one if known is None else _sum(known, one)
    return list(found.values())


def _sum(one: Backlog, other: Backlog) -> Backlog:
    ages = [age for age in (one.oldest, other.oldest) if age is not None]
    dues = [due for due in (one.next_due, other.next_due) if due is not None]
    return evolve(
        one,
        pending=one.pending + other.pending,
        parked=one.parked + other.parked,
        blocked=one.blocked + other.blocked,
        dead=one.dead + other.dead,
        scheduled=one.scheduled + other.scheduled,
        oldest=max(ages, default=None),
        next_due=min(dues, default=None),
        lanes=max(one.lanes, other.lanes),
    )
