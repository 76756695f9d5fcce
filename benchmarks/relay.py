"""The relay from three databases to Redis Streams against loops by hand, and how much memory it takes."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable

from benchmarks.measure import Times, median_ratio, seconds
from benchmarks.report import Line, show
from benchmarks.servers import prepare, prepare_alias, redis_client, settings_of, settings_of_servers, stream

__all__ = ["run"]

#: The least ratio to the loop by hand, by alias, and what is behind the alias.
GOALS = {"default": 0.9, "mariadb": 0.8, "sqlite": 0.8}
TITLES = {"default": "PostgreSQL", "mariadb": "MariaDB", "sqlite": "SQLite"}


def run(*, full: bool) -> list[Line]:
    """Measure and print."""
    prepare()
    from django.db import connections

    rounds, number = (7, 40_000) if full else (5, 10_000)
    databases = [alias for alias in GOALS if alias in connections]
    lines = [_compare(alias, rounds, number) for alias in databases]
    lines += _memory(1_000_000 if full else 100_000)
    what = f"{rounds} interleaved rounds of {number:,} events, 1,600 keys, payloads of 180 bytes, batches of 1,000"
    notes = {"runs": what, **settings_of_servers()}
    for alias in databases[1:]:
        notes |= settings_of(alias)
    show("relay", lines, notes=notes)
    return lines


def _compare(alias: str, rounds: int, number: int) -> Line:
    if alias != "default":
        prepare_alias(alias)
    times = _race(alias, rounds, number)
    speeds = {name: number / statistics.median(found) for name, found in times.items()}
    return Line(
        f"events per second from {TITLES[alias]}, the relay : by hand",
        median_ratio(times, "by hand", "relay"),
        GOALS[alias],
        at_least=True,
        detail=f"{speeds['relay']:,.0f}/s : {speeds['by hand']:,.0f}/s",
    )


def _race(alias: str, rounds: int, number: int) -> Times:
    """Time both; a first round, which connects and comes up to the full batch, is not counted."""
    from benchmarks.filling import fill
    from benchmarks.models import OutboxByHand
    from benchmarks.relay_by_hand import RELAYS
    from django_cqrs.brokers import per_thread
    from django_cqrs.models import Outbox
    from django_cqrs.queue import DjangoStorage
    from simplecqrs.expiry import shipping_unexpired
    from simplecqrs.relay import Relay

    publisher = shipping_unexpired(per_thread("streams"))  # as `relays` makes them
    relay = Relay(queue="streams", storage=DjangoStorage("outbox", alias), publisher=publisher)
    subjects: dict[str, tuple[str, Callable[[], object]]] = {
        "relay": (Outbox._meta.db_table, relay.step),
        "by hand": (OutboxByHand._meta.db_table, RELAYS[alias]),
    }
    times: dict[str, list[float]] = {name: [] for name in subjects}
    for round_number in range(rounds + 1):
        for name in sorted(subjects, reverse=bool(round_number % 2)):
            table, ship = subjects[name]
            fill(table, number, alias=alias)
            redis_client().unlink(stream("Changed"))
            spent = seconds(lambda ship=ship: _drain(ship))  # type: ignore[misc]
            if round_number:
                times[name].append(spent)
            arrived = redis_client().xlen(stream("Changed"))
            assert arrived == number, f"{name}: {arrived} of {number} arrived"
    return times


def _drain(ship: Callable[[], object]) -> None:
    while ship():
        pass


def _memory(many: int) -> list[Line]:
    """Measure a process of its own: what a relay takes more than when it was idle, by how much is pending."""
    from benchmarks.filling import empty, fill
    from django_cqrs.models import Outbox

    few = 10_000
    taken = {}
    for number in (few, many):
        empty(Outbox._meta.db_table)
        with subprocess.Popen(
            [sys.executable, "-m", "benchmarks.relay_memory"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdout.readline()  # it is idle
            fill(Outbox._meta.db_table, number)
            process.stdin.write("go\n")
            process.stdin.flush()
            taken[number] = json.loads(process.stdout.readline())
        empty(Outbox._meta.db_table)
        redis_client().unlink(stream("Changed"))
    lines = [
        Line(
            f"memory over the idle process, {number:,} pending",
            found["most"] - found["idle"],
            40.0,
            unit="MB",
            detail=f"{found['most']:.1f} MB : {found['idle']:.1f} MB",
        )
        for number, found in taken.items()
    ]
    return [*lines, Line(f"growth from {few:,} to {many:,} pending", lines[1].value - lines[0].value, 2.0, unit="MB")]
