"""What 32 writers lose to the relay and to NOTIFY: with both against the same writers without."""

from __future__ import annotations

import multiprocessing
import statistics
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from benchmarks.measure import Times, median_ratio
from benchmarks.report import Line, show
from benchmarks.servers import prepare, settings_of_servers

__all__ = ["run"]

WRITERS = 32


def run(*, full: bool) -> list[Line]:
    """Measure and print."""
    prepare()
    rounds, length = (5, 10.0) if full else (3, 4.0)
    times = _race(rounds, length)
    speeds = {name: 1 / statistics.median(found) for name, found in times.items()}
    lines = [
        Line(
            f"commands per second, {name} : neither",
            median_ratio(times, "neither", name),
            0.85 if name == "relay and NOTIFY" else None,
            at_least=True,
            detail=f"{speeds[name]:,.0f}/s : {speeds['neither']:,.0f}/s",
        )
        for name in ("relay and NOTIFY", "NOTIFY", "relay")
    ]
    what = f"{rounds} interleaved rounds of {length:.0f} s; {WRITERS} processes, each command one UPDATE and one event"
    where = "writers, relay and servers share the machine's processors"
    show("writers", lines, notes={"runs": what, "note": where, **settings_of_servers()})
    return lines


def _race(rounds: int, length: float) -> Times:
    """Return the seconds per command, round by round."""
    from benchmarks.models import Account

    accounts = [Account.objects.create().pk for _ in range(WRITERS)]
    subjects = {"relay and NOTIFY": (True, True), "NOTIFY": (False, True), "relay": (True, False),
                "neither": (False, False)}  # fmt: skip
    times: dict[str, list[float]] = {name: [] for name in subjects}
    names = list(subjects)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            with_relay, notify = subjects[name]
            with _relay(wanted=with_relay):
                times[name].append(length / _write(accounts, length, notify=notify))
            _empty()
    return times


@contextmanager
def _relay(*, wanted: bool) -> Generator[None, None, None]:
    if not wanted:
        yield
        return
    with subprocess.Popen(
        [sys.executable, "-m", "django", "cqrs_relay", "--skip-checks"], stdout=subprocess.DEVNULL
    ) as process:
        time.sleep(1.0)  # it has connected and listens
        try:
            yield
        finally:
            process.terminate()


def _write(accounts: list[int], length: float, *, notify: bool) -> int:
    """Let all writers write, and return how many commands there were."""
    from django.db import connections

    connections.close_all()  # a connection is not to be shared with those that are forked
    fork = multiprocessing.get_context("fork")
    start, counts = fork.Barrier(len(accounts)), fork.Queue()
    wakeup = "notify" if notify else "none"
    writers = [fork.Process(target=_writer, args=(one, length, wakeup, start, counts)) for one in accounts]
    for writer in writers:
        writer.start()
    total = sum(counts.get() for _ in writers)
    for writer in writers:
        writer.join()
    return total


def _writer(account: int, length: float, wakeup: str, start: Any, counts: Any) -> None:
    from django.test import override_settings

    from benchmarks.handlers import Telling
    from benchmarks.settings import DJANGO_CQRS
    from django_cqrs import bus

    with override_settings(DJANGO_CQRS={**DJANGO_CQRS, "WAKEUP": wakeup}):
        bus.send(Telling(account, 1))
        start.wait()
        ends, done = time.monotonic() + length, 0
        while time.monotonic() < ends:
            bus.send(Telling(account, 1))
            done += 1
        counts.put(done)


def _empty() -> None:
    from benchmarks.filling import empty
    from benchmarks.servers import redis_client, stream
    from django_cqrs.models import Outbox

    empty(Outbox._meta.db_table)
    redis_client().unlink(stream("Changed"))
