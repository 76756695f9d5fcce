"""What writers notice of a purge: the latency of 300 writes a second beside it against the same without."""

from __future__ import annotations

import multiprocessing
import os
import statistics
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from benchmarks.report import Line, show
from benchmarks.servers import prepare, prepare_alias, settings_of, settings_of_servers

__all__ = ["run"]

#: Writes a second, and the processes that share them.
PACE, WRITERS = 300, 4
#: SQLite syncs the disk for each write, and has one writer at a time.
SLOWER = {"sqlite": 50}


def run(*, full: bool) -> list[Line]:
    """Measure and print."""
    prepare()
    lines: list[Line] = []
    aliases = ["default", "sqlite", *(["mariadb"] if os.environ.get("CQRS_TEST_MARIADB") else [])]
    for alias in aliases:
        if alias != "default":
            prepare_alias(alias)
        rounds, seconds = (5, 20.0) if full else (3, 6.0)
        ids = int(seconds * (70_000 if alias == "default" else 20_000))  # more than can be purged
        lines += _lines(alias, _race(alias, rounds, seconds, ids), goal=1.5 if alias == "default" else None)
    what = f"rounds in turns of {seconds:.0f} s each; {WRITERS} processes; a write is an UPDATE, an event, an inbox"
    where = "writers, purge and servers share the machine's processors"
    others = {name: value for alias in aliases[1:] for name, value in settings_of(alias).items()}
    show("purge", lines, notes={"runs": what, "note": where, **settings_of_servers(redis=False), **others})
    return lines


def _race(alias: str, rounds: int, seconds: float, ids: int) -> dict[str, list[list[float]]]:
    """Return the latencies of each round, with and without a purge."""
    from django.utils import timezone

    from benchmarks.models import Account
    from benchmarks.retention_rows import remember, sweep

    accounts = [Account.objects.using(alias).create().pk for _ in range(WRITERS)]
    times: dict[str, list[list[float]]] = {"alone": [], "beside": []}
    for number in range(rounds):
        for name in ("alone", "beside") if number % 2 else ("beside", "alone"):
            sweep(alias)
            since = timezone.now() - timedelta(days=40)
            remember(alias, ids, ids // 10, since=since, within=timedelta(days=20))
            times[name].append(_write(alias, accounts, seconds, purging=name == "beside"))
    sweep(alias)
    return times


def _write(alias: str, accounts: Sequence[int], seconds: float, *, purging: bool) -> list[float]:
    """Let all writers write, and return the seconds that their writes took."""
    from django.db import connections

    from benchmarks.retention_rows import writes

    connections.close_all()  # a connection is not to be shared with those that are forked
    fork = multiprocessing.get_context("fork")
    told, pace = fork.Queue(), SLOWER.get(alias, PACE) / len(accounts)
    start = fork.Barrier(len(accounts) + (1 if purging else 0))
    due = [number / pace for number in range(int(pace * seconds))]
    processes = [fork.Process(target=writes, args=(alias, account, due, start, told)) for account in accounts]
    if purging:
        processes.append(fork.Process(target=_purge, args=(alias, seconds, start)))
    for process in processes:
        process.start()
    took = [one for _ in accounts for one in told.get()]
    for process in processes:
        process.join()
    return took


def _purge(alias: str, seconds: float, start: Any) -> None:
    from django_cqrs.purging import KEYS, SEEN, purge

    start.wait()
    forgotten = [purge(alias, of=of, seconds=seconds * share)[0] for of, share in ((SEEN, 0.8), (KEYS, 0.2))]
    print(f"  purged on {alias}: {forgotten[0]:,} ids and {forgotten[1]:,} keys in {seconds:.0f} s", flush=True)


def _lines(alias: str, times: dict[str, list[list[float]]], *, goal: float | None) -> list[Line]:
    name = "PostgreSQL" if alias == "default" else alias
    lines = []
    for of, share in (("p99", 0.99), ("median", 0.5)):
        each = {subject: [_quantile(took, share) for took in rounds] for subject, rounds in times.items()}
        ratio = statistics.median(a / b for a, b in zip(each["beside"], each["alone"], strict=True))
        detail = " : ".join(f"{statistics.median(each[s]) * 1000:.1f} ms" for s in ("beside", "alone"))
        pace = SLOWER.get(alias, PACE)
        what = f"{name}: {of} of {pace} writes a second, beside a purge : alone"
        lines.append(Line(what, ratio, goal if of == "p99" else None, detail=detail))
    return lines


def _quantile(took: Sequence[float], share: float) -> float:
    return sorted(took)[min(int(len(took) * share), len(took) - 1)]
