"""Sending events once more that their broker has acknowledged and lost: from the history back into the outbox."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from attrs import evolve, frozen
from django.db import connections
from django.db.models import Count, Max, Min, QuerySet

from django_cqrs import rows
from django_cqrs.databases import dialect
from django_cqrs.databases.statements import placeholders
from django_cqrs.history import CHUNK, clock
from django_cqrs.models import History, Outbox, ParkedOutbox
from django_cqrs.wakeup import wake_after_commit
from simplecqrs.errors import NotPublished

__all__ = ["Choice", "Counted", "alone", "begins", "counted", "resend"]

#: How often, and after how many seconds, it is tried to be the only one that sends again.
TRIES, PAUSE = 50, 0.1


@frozen(kw_only=True)
class Choice:
    """
    Which events of the history are meant; what is None is any.

    Args:
        route: the broker that acknowledged them.
        since: when it did, or later.
        until: when it did, or earlier.
    """

    route: str
    since: datetime
    until: datetime | None = None
    topic: str | None = None
    name: str | None = None
    key: str | None = None

    def of(self, alias: str) -> QuerySet[History]:
        """Return the rows that are meant."""
        found: QuerySet[History] = History.objects.using(alias).filter(queue=self.route, shipped_at__gte=self.since)
        if self.until is not None:
            found = found.filter(shipped_at__lte=self.until)
        for what in ("topic", "name", "key"):
            said = getattr(self, what)
            found = found if said is None else found.filter(**{what: said})
        return found


@frozen
class Counted:
    """How many events of a name there are in the history, and when the first and the last were acknowledged."""

    topic: str
    name: str
    count: int
    first: datetime
    last: datetime


def counted(alias: str, choice: Choice) -> list[Counted]:
    """Count what would be sent once more."""
    found = choice.of(alias).order_by().values_list("topic", "name")
    each = found.annotate(Count("row"), Min("shipped_at"), Max("shipped_at")).order_by("topic", "name")
    return [Counted(*one) for one in each]


def begins(alias: str) -> datetime | None:
    """Return when the first event that the history still has was acknowledged; None: it is empty."""
    first: datetime | None = (
        History.objects.using(alias).order_by("shipped_at").values_list("shipped_at", flat=True).first()
    )
    return first


def resend(alias: str, choice: Choice, *, chunk: int = CHUNK) -> Iterator[int]:
    """
    Move events back into the outbox, a chunk in each transaction, and yield how many so far.

    They keep their message ids, so that whoever has handled them drops them, and their places in the outbox: with no
    relay at work, each key's go out in the order in which they were published, and before what waits there by now.
    What is shipped while this goes on is not sent yet another time.

    Raises:
        NotPublished: if somebody else does the same and does not come to an end.
    """
    choice, total = evolve(choice, until=choice.until or _now(alias)), 0
    while moved := _move_alone(alias, choice, chunk):
        total += len(moved)
        yield total
        # The index is not to be searched again from where all is gone.
        choice = evolve(choice, since=moved[-1][0])


def _now(alias: str) -> datetime:
    """Return the time by the clock that writes the history."""
    now, parameters = clock(alias)
    with connections[alias].cursor() as cursor:
        cursor.execute(f"SELECT {now}", parameters)
        return dialect(alias).moment(cursor.fetchone()[0])


@contextmanager
def alone(alias: str) -> Generator[bool, None, None]:
    """Open a transaction in which nobody else sends again, or two could change places; yield False if somebody does."""
    has_locks = connections[alias].features.has_select_for_update
    with dialect(alias).fetching("resend") if has_locks else dialect(alias).writing() as ours:
        yield ours


def _move_alone(alias: str, choice: Choice, chunk: int) -> Sequence[tuple[datetime, int]]:
    clock = threading.Event()
    for _ in range(TRIES):
        with alone(alias) as ours:
            if ours:
                return _move(alias, choice, chunk)
        clock.wait(PAUSE)
    raise NotPublished("another cqrs_resend is at work here; let it come to its end")


def _move(alias: str, choice: Choice, chunk: int) -> Sequence[tuple[datetime, int]]:
    """Move the first rows; one whose place has been given to another since goes behind what waits."""
    first = choice.of(alias).order_by("shipped_at", "queue", "row").values_list("shipped_at", "row")
    found = _until_repeated(first[:chunk])
    if found:
        ids = [row for _, row in found]
        tables: tuple[Any, ...] = (Outbox, ParkedOutbox)
        there = [kind.objects.using(alias).filter(pk__in=ids).values_list("pk", flat=True) for kind in tables]
        taken = {row for rows_ in there for row in rows_}
        _copy(alias, choice, [row for row in found if row[1] not in taken], ("id, ", "row_id, "))
        _copy(alias, choice, [row for row in found if row[1] in taken], ("", ""))
        _execute(alias, f"DELETE FROM {History._meta.db_table}", choice, found)
        wake_after_commit(alias, {f"outbox:{choice.route}"})
    return found


def _until_repeated(found: Iterable[tuple[datetime, int]]) -> list[tuple[datetime, int]]:
    """Return rows up to one of a number that came before: somebody has set the outbox's counter back."""
    first: dict[int, datetime] = {}
    for at, row in found:
        if row in first:
            break
        first[row] = at
    return [(at, row) for row, at in first.items()]


def _copy(alias: str, choice: Choice, found: Sequence[tuple[datetime, int]], places: tuple[str, str]) -> None:
    """Copy rows inside of the database, with their places or without; their age counts from now on."""
    if found:
        into, of = (f"{place}{rows.COLUMNS}" for place in places)
        history, outbox = History._meta.db_table, Outbox._meta.db_table
        _execute(alias, f"INSERT INTO {outbox} ({into}) SELECT {of} FROM {history}", choice, found, "ORDER BY row_id")


def _execute(alias: str, sql: str, choice: Choice, found: Sequence[tuple[datetime, int]], end: str = "") -> None:
    """Do something to rows of the history."""
    connection = connections[alias]
    bounds = [connection.ops.adapt_datetimefield_value(at) for at in (found[0][0], found[-1][0])]
    ids = [row for _, row in found]
    where = f"WHERE queue = %s AND shipped_at BETWEEN %s AND %s AND row_id IN ({placeholders(ids)})"
    with connection.cursor() as cursor:
        cursor.execute(f"{sql} {where} {end}", [choice.route, *bounds, *ids])
