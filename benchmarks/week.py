"""Whether storage stays flat: a week in which each quarter of a day brings and forgets as much as the others."""

from __future__ import annotations

import os
from datetime import timedelta

from benchmarks.report import Line, show
from benchmarks.servers import prepare, prepare_alias, settings_of, settings_of_servers

__all__ = ["run"]

#: Days, and looks at the clock in each; ids and keys are remembered for so long.
DAYS, QUARTERS, SEEN_DAYS, KEY_DAYS = 7, 4, 2, 1


def run(*, full: bool) -> list[Line]:
    """Measure and print."""
    prepare()
    daily = 400_000 if full else 80_000
    lines: list[Line] = []
    aliases = ["default", "sqlite", *(["mariadb"] if os.environ.get("CQRS_TEST_MARIADB") else [])]
    for alias in aliases:
        if alias != "default":
            prepare_alias(alias)
        lines += _lines(alias, _week(alias, daily), goal=1.1 if alias == "default" else None)
    what = (
        f"a day brings {daily:,} events through outbox and inbox, as many ids, kept {SEEN_DAYS} days, and a tenth of "
        f"keys, kept {KEY_DAYS}; each quarter is purged, and vacuumed as autovacuum would"
    )
    others = {name: value for alias in aliases[1:] for name, value in settings_of(alias).items()}
    show("week", lines, notes={"runs": what, **settings_of_servers(redis=False), **others})
    return lines


def _week(alias: str, daily: int) -> list[dict[str, int]]:
    """Live through a week, and return the sizes at the end of each day."""
    from django.utils import timezone

    from benchmarks.filling import append
    from benchmarks.retention_rows import remember, sweep
    from django_cqrs.models import Inbox, Outbox
    from django_cqrs.purging import KEYS, SEEN, purge

    sweep(alias)
    start, now = timezone.now() - timedelta(days=DAYS + 30), timezone.now()
    sizes_of_days, step = [], timedelta(days=1) / QUARTERS
    for quarter in range(DAYS * QUARTERS):
        clock = start + (quarter + 1) * step
        remember(alias, daily // QUARTERS, daily // QUARTERS // 10, since=clock - step, within=step)
        for table in (Outbox._meta.db_table, Inbox._meta.db_table):
            for _ in range(4):  # what comes is shipped, or handled, and deleted
                append(table, daily // QUARTERS // 4, alias=alias)
                _delete_all(alias, table)
        for of, days in ((SEEN, SEEN_DAYS), (KEYS, KEY_DAYS)):
            horizon = clock - timedelta(days=days)
            purge(alias, of=of, days=(now - horizon).total_seconds() / 86400, seconds=3600, rest=lambda _: None)
        _vacuum(alias)
        if (quarter + 1) % QUARTERS == 0:
            sizes_of_days.append(_sizes(alias))
    sweep(alias)
    return sizes_of_days


def _delete_all(alias: str, table: str) -> None:
    from django.db import connections

    with connections[alias].cursor() as cursor:
        cursor.execute(f"DELETE FROM {table}")


def _vacuum(alias: str) -> None:
    """Do what the server does by itself, in time that is not compressed."""
    from django.db import connections

    from benchmarks.retention_rows import TABLES

    statements = {"postgresql": "VACUUM {}", "mysql": "ANALYZE TABLE {}", "sqlite": "SELECT 1 FROM {} LIMIT 1"}
    with connections[alias].cursor() as cursor:
        for table in TABLES:
            cursor.execute(statements[connections[alias].vendor].format(table))
            if connections[alias].vendor != "postgresql":
                cursor.fetchall()


def _sizes(alias: str) -> dict[str, int]:
    from benchmarks.retention_rows import TABLES
    from django_cqrs.databases.sizes import sizes

    found = dict(sizes(alias, TABLES))
    if len(found) > 1:
        found[""] = sum(size for table, size in found.items() if table)
    return found


def _lines(alias: str, week: list[dict[str, int]], *, goal: float | None) -> list[Line]:
    """Compare the last day with the first one on which as much was forgotten as came."""
    name, full_day = "PostgreSQL" if alias == "default" else alias, SEEN_DAYS
    lines = []
    for table in sorted(week[-1]):
        days = [day[table] / 1e6 for day in week]
        detail = "MB by day: " + " ".join(f"{size:.1f}" for size in days)
        what = f"{name}: size of {table or 'all tables'}, day {DAYS} : day {full_day + 1}"
        lines.append(Line(what, days[-1] / days[full_day], goal if not table else None, detail=detail))
    return lines
