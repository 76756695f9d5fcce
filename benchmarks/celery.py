"""From the commit to the handler under Celery: a deferred command against a bare ``delay_on_commit``."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

from benchmarks.arrivals import send_at_random
from benchmarks.report import Line, show
from benchmarks.servers import prepare, settings_of_servers

__all__ = ["run"]

#: Messages per second, at random times.
RATE = 50.0
WORKERS = 2


def run(*, full: bool) -> list[Line]:
    """Measure and print."""
    server = urlsplit(os.environ["CQRS_TEST_REDIS"])
    os.environ["CQRS_BENCH_CELERY"] = server._replace(path="/9").geturl()
    prepare()
    rounds, number = (10, 500) if full else (5, 200)
    found = _race(rounds, number)
    lines = [
        _line("commit to start, median: deferred : delay_on_commit", found, 50),
        _line("commit to start, 99 %: deferred : delay_on_commit", found, 99),
    ]
    what = (
        f"{rounds} interleaved rounds of {number} messages at {RATE:.0f} per second, {WORKERS} workers of one process"
    )
    how = "from just before the COMMIT to the first line of the handler, or of the task; both wake by Redis"
    show("celery", lines, notes={"runs": what, "measured": how, **settings_of_servers()})
    return lines


def _line(what: str, found: dict[str, list[float]], percent: int) -> Line:
    ours, bare = (1000 * _percentile(found[subject], percent) for subject in ("deferred", "bare"))
    return Line(what, ours / bare, None, detail=f"{ours:.2f} ms : {bare:.2f} ms")


def _percentile(times: list[float], percent: int) -> float:
    return statistics.quantiles(times, n=100)[percent - 1]


def _race(rounds: int, number: int) -> dict[str, list[float]]:
    from django.test import override_settings

    from benchmarks.celery_app import client
    from benchmarks.settings import DJANGO_CQRS

    consumers = {**DJANGO_CQRS["CONSUMERS"], "deferred": {"engine": "celery"}}  # type: ignore[dict-item]
    subjects = {"bare": _delay, "deferred": _defer}
    times: dict[str, list[float]] = {name: [] for name in subjects}
    client().flushdb()
    with ExitStack() as stack:
        stack.enter_context(override_settings(DJANGO_CQRS={**DJANGO_CQRS, "CONSUMERS": consumers}))
        for worker in range(WORKERS):
            stack.enter_context(_worker(worker))
        for round_number in range(rounds + 1):
            for name, send in subjects.items():
                committed = send_at_random(send, number, rate=RATE)
                begun = _begun(number)
                if round_number:  # the first warms up
                    times[name] += [begun[n] - at for n, at in committed.items()]
    client().flushdb()
    return times


@contextmanager
def _worker(number: int) -> Generator[None, None, None]:
    """Start a worker, and return when it works."""
    from benchmarks.celery_app import note

    options = ["-Q", "bare,cqrs", "-c", "1", "-n", f"bench{number}@%h", "-l", "error", "--without-gossip"]
    command = [sys.executable, "-m", "celery", "-A", "benchmarks.celery_app", "worker", *options]
    env = {**os.environ, "CQRS_BENCH_ENGINE": "celery"}
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        note.delay(0)
        _begun(1)
        yield
        process.terminate()


def _begun(number: int) -> dict[int, float]:
    """Return when each message was begun, once all of them were."""
    from benchmarks.celery_app import BEGUN, client

    while client().llen(BEGUN) < number:
        time.sleep(0.01)
    found: list[Any] = client().lpop(BEGUN, number)
    return {int(n): float(at) for n, at in (entry.split() for entry in found)}


def _defer(number: int) -> None:
    from benchmarks.handlers import Begun
    from django_cqrs import bus

    bus.defer(Begun(number))


def _delay(number: int) -> None:
    from benchmarks.celery_app import note

    note.delay_on_commit(number)
