"""What waits in the tables, by name and version, with samples: counted in chunks, so that no statement is long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen
from django.db.models import Count, Min, QuerySet

from django_cqrs.letter_models import Dead
from django_cqrs.message_models import Inbox, MessageRow, Outbox, ParkedInbox, ParkedOutbox, Scheduled
from django_cqrs.rows import envelope_of
from simplecqrs.envelope import Envelope
from simplecqrs.queue import Box

__all__ = ["Look", "Pending", "pending_in"]

#: Rows that one statement goes through.
CHUNK = 20_000
#: By what messages are alike.
ALIKE = ("queue", "topic", "kind", "name", "version")
#: Tables of one box, and those that hold rows of both.
OF_BOX: Mapping[Box, Sequence[type[MessageRow]]] = {"outbox": (Outbox, ParkedOutbox), "inbox": (Inbox, ParkedInbox)}


@define(eq=False)
class Pending:
    """Messages that wait in one place and are alike in name and version, and the first ones of them."""

    database: str
    box: Box
    queue: str
    topic: str
    kind: str
    name: str
    version: int
    count: int = 0
    samples: list[Envelope] = field(factory=list[Envelope])


@frozen
class Look:
    """What was looked at: a table, and whether that was all of it."""

    database: str
    table: str
    rows: int
    whole: bool


def pending_in(alias: str, *, most: int, samples: int, dead: bool) -> tuple[list[Pending], list[Look]]:
    """
    Return what waits on an alias, and what was looked at.

    Args:
        most: rows that are looked at in each table, the oldest first.
        samples: messages of each name and version that are read whole.
        dead: dead letters, too.
    """
    found, looks = dict[tuple[Any, ...], Pending](), list[Look]()
    for box, kind, rows in _tables(alias, dead=dead):
        seen = 0
        for part, size in _chunks(rows, most):
            seen += size
            _count(found, alias, box, part, samples)
        whole = seen < most or rows.order_by("id")[most : most + 1].first() is None
        looks.append(Look(alias, f"{kind._meta.db_table} ({box})", seen, whole))
    return list(found.values()), looks


def _tables(alias: str, *, dead: bool) -> Iterator[tuple[Box, type[MessageRow], QuerySet[Any]]]:
    """Go through the tables of both boxes; those that both share are two."""
    shared: list[Any] = [Scheduled, *([Dead] if dead else [])]
    for box, kinds in OF_BOX.items():
        for kind in kinds:
            rows: Any = kind
            yield box, kind, rows.objects.using(alias)
        for kind in shared:
            rows = kind
            # Garbage, which was no message, has no name.
            yield box, kind, rows.objects.using(alias).filter(box=box).exclude(name="")


def _chunks(rows: QuerySet[Any], most: int) -> Iterator[tuple[QuerySet[Any], int]]:
    """Cut rows into pieces by their ids, and return each with its size."""
    after, left = 0, most
    while left > 0:
        ids = list(rows.filter(id__gt=after).order_by("id").values_list("id", flat=True)[: min(CHUNK, left)])
        if not ids:
            return
        yield rows.filter(id__gt=after, id__lte=ids[-1]), len(ids)
        after, left = ids[-1], left - len(ids)


def _count(found: dict[tuple[Any, ...], Pending], alias: str, box: Box, part: QuerySet[Any], samples: int) -> None:
    for group in part.order_by().values(*ALIKE).annotate(count=Count("id"), first=Min("id")):
        alike = {name: group[name] for name in ALIKE}
        known = found.setdefault((box, *alike.values()), Pending(alias, box, **alike))
        known.count += group["count"]
        missing = samples - len(known.samples)
        if missing > 0:
            wanted = part.filter(id__gte=group["first"], **alike).order_by("id")[:missing]
            known.samples += [envelope_of(row) for row in wanted]
