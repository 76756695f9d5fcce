"""How large the database is, how fast it grows, and when its disk will be full."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import reduce
from operator import or_

from attrs import frozen
from django.apps import apps
from django.db.models import Min, Q
from django.utils import timezone

from django_cqrs.conf import settings
from django_cqrs.databases.sizes import capacity, sizes
from django_cqrs.models import Size

__all__ = ["TableStatus", "note_sizes", "read_storage", "storage_alarms", "written_bytes"]

#: What is noted no more often than that, and for how long it is kept.
SELDOM, KEPT = timedelta(minutes=10), timedelta(days=8)
#: Growth is told by what was noted a day ago, or later if there is nothing so old, but not less than this ago.
DAY, LEAST = timedelta(days=1), timedelta(minutes=30)
#: Sizes that are read.
MOST = 1000
UNITS = ("B", "KB", "MB", "GB", "TB")


@frozen
class TableStatus:
    """
    How large a table is, with its indexes.

    Args:
        table: empty: the whole database, with tables that are not ours.
        growth: bytes an hour, over the last day; None: not known yet.
        hours: until the disk is full, at that pace; None: it does not grow, or nobody knows how large the disk is.
    """

    database: str
    table: str
    bytes: int
    growth: float | None = None
    hours: float | None = None


def read_storage(alias: str) -> list[TableStatus]:
    """Read the size of the database and of each of our tables, the largest first."""
    now, most = timezone.now(), _most(alias)
    found, before = [], _before(alias, now)
    for name, size in sizes(alias, _tables()).items():
        growth = _growth(size, before.get(name), now)
        hours = None
        if not name and most is not None and growth is not None and growth > 0:
            hours = max(most - size, 0) / growth
        found.append(TableStatus(alias, name, size, growth, hours))
    return sorted(found, key=lambda table: (table.table != "", -table.bytes))


def note_sizes(alias: str) -> bool:
    """Note how large everything is, so that growth is known later; False if that was done just now."""
    now, noted = timezone.now(), Size.objects.using(alias)
    if noted.filter(name="", at__gt=now - SELDOM).exists():
        return False
    noted.bulk_create([Size(at=now, name=name, bytes=size) for name, size in sizes(alias, _tables()).items()])
    noted.filter(at__lt=now - KEPT).delete()
    return True


def storage_alarms(storage: Iterator[TableStatus] | list[TableStatus], hours: float) -> Iterator[str]:
    """Tell of disks that will be full in so many hours, and of databases that are larger than they may be."""
    for table in storage:
        if table.hours is not None and table.hours <= hours:
            yield (
                f"the disk of the database {table.database!r} will be full in {table.hours:,.0f} h: it has "
                f"{written_bytes(table.bytes)} and grows by {written_bytes(table.growth or 0)} an hour"
            )


def written_bytes(number: float) -> str:
    """Write a number of bytes for people."""
    size, unit = float(number), UNITS[0]
    for unit in UNITS:
        if abs(size) < 1000 or unit == UNITS[-1]:
            break
        size /= 1000
    return f"{size:,.0f} {unit}" if unit == UNITS[0] else f"{size:,.1f} {unit}"


def _most(alias: str) -> int | None:
    """Return how large a database may become: as DISK_BYTES says, else as its disk does."""
    said: Mapping[str, int] = settings().disk_bytes
    return said[alias] if alias in said else capacity(alias)


def _before(alias: str, now: datetime) -> dict[str, tuple[datetime, int]]:
    """Return when each size was noted first within a day, and what it was; all of them by two statements."""
    noted = Size.objects.using(alias).filter(at__gte=now - DAY - SELDOM, at__lte=now - LEAST)
    firsts = noted.order_by("name").values_list("name").annotate(Min("at"))[:MOST]
    places = [Q(name=name, at=at) for name, at in firsts]
    if not places:
        return {}
    rows = noted.filter(reduce(or_, places)).values_list("name", "at", "bytes")[:MOST]
    return {name: (at, size) for name, at, size in rows}


def _growth(size: int, before: tuple[datetime, int] | None, now: datetime) -> float | None:
    return None if before is None else (size - before[1]) / ((now - before[0]).total_seconds() / 3600)


def _tables() -> list[str]:
    return sorted({model._meta.db_table for model in apps.get_app_config("django_cqrs").get_models()})
