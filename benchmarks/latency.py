"""From the commit to the handler: a consumer woken by NOTIFY against a hand-written LISTEN loop, message by message."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any

from benchmarks.arrivals import send_at_random
from benchmarks.report import Line, show
from benchmarks.servers import prepare, settings_of_servers

__all__ = ["run"]

#: Messages per second, at random times.
RATE = 100.0


def run(*, full: bool) -> list[Line]:
    """Measure and print."""
    prepare()
    rounds, number = (10, 500) if full else (5, 200)
    found = _race(rounds, number)
    lines = [
        _line("commit to handler, median: deferred : by hand", found, "deferred", 50, 1.5),
        _line("commit to handler, 99 %: deferred : by hand", found, "deferred", 99, 2.0),
        _line("two queues, median: through the outbox : by hand", found, "outbox", 50, None),
        _line("two queues, 99 %: through the outbox : by hand", found, "outbox", 99, None),
    ]
    what = f"{rounds} interleaved rounds of {number} messages at {RATE:.0f} per second, from one writer"
    how = "from just before the COMMIT to the handler, which does nothing; each with one row deleted in a transaction"
    show("latency", lines, notes={"runs": what, "measured": how, **settings_of_servers(redis=False)})
    return lines


def _line(what: str, found: dict[str, list[float]], name: str, percent: int, goal: float | None) -> Line:
    ours, by_hand = (1000 * _percentile(found[subject], percent) for subject in (name, "by hand"))
    return Line(what, ours / by_hand, goal, detail=f"{ours:.2f} ms : {by_hand:.2f} ms")


def _percentile(times: list[float], percent: int) -> float:
    return statistics.quantiles(times, n=100)[percent - 1]


def _race(rounds: int, number: int) -> dict[str, list[float]]:
    subjects = {"by hand": _insert, "deferred": _defer, "outbox": _publish}
    times: dict[str, list[float]] = {name: [] for name in subjects}
    with ExitStack() as stack:
        workers = {name: stack.enter_context(_worker(name)) for name in subjects}
        for round_number in range(rounds + 1):
            for name, send in subjects.items():
                committed = send_at_random(send, number, rate=RATE)
                handled = _ask(workers[name], number)
                if round_number:  # the first warms up
                    times[name] += [handled[str(n)] - at for n, at in committed.items()]
    return times


@contextmanager
def _worker(name: str) -> Generator[Any, None, None]:
    """Start a process that handles what one subject sends; it says when it listens."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.latency_worker", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        yield process
        process.stdin.close()


def _ask(process: Any, number: int) -> dict[str, float]:
    """Return when each message was handled, once all of them were."""
    process.stdin.write(f"{number}\n")
    process.stdin.flush()
    found: dict[str, float] = json.loads(process.stdout.readline())
    return found


def _defer(number: int) -> None:
    from benchmarks.handlers import Noted
    from django_cqrs import bus

    bus.defer(Noted(number))


def _publish(number: int) -> None:
    from benchmarks.handlers import Told
    from django_cqrs import bus

    bus.publish(Told(number))


def _insert(number: int) -> None:
    """Store it, and notify after the commit, as one would by hand."""
    from django.db import connection, transaction

    from benchmarks.by_hand import insert_by_hand

    insert_by_hand(number)

    def notify() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify('by_hand', '')")

    transaction.on_commit(notify)
