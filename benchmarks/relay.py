"""The relay from PostgreSQL to Redis Streams against a loop by hand, and how much memory it takes."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

from benchmarks.measure import Times, median_ratio, seconds
from benchmarks.report import Line, show
from benchmarks.servers import prepare, redis_client, settings_of_servers, stream

__all__ = ["fill", "run"]

FILL = """
INSERT INTO {table} (queue, lane, topic, order_key, message_id, kind, name, version, source, time, correlation_id,
    causation_id, headers, traceparent, content_type, payload)
SELECT 'streams', g %% 1600 %% 16, 'Changed', 'order-' || g %% 1600, gen_random_uuid(), 'event', 'Changed', 1, 'bench',
    now(), gen_random_uuid()::text, gen_random_uuid()::text, '{{}}', NULL, 'application/json',
    convert_to('{{"account":' || g || ',"text":"' || repeat('x', 150) || '"}}', 'UTF8')
FROM generate_series(1, %s) g
"""


def run(*, full: bool) -> list[Line]:
    """Measure and print."""
    prepare()
    rounds, number = (5, 40_000) if full else (5, 10_000)
    times = _race(rounds, number)
    speeds = {name: number / statistics.median(found) for name, found in times.items()}
    lines = [
        Line(
            "events per second, the relay : by hand",
            median_ratio(times, "by hand", "relay"),
            0.8,
            at_least=True,
            detail=f"{speeds['relay']:,.0f}/s : {speeds['by hand']:,.0f}/s",
        ),
        *_memory(1_000_000 if full else 100_000),
    ]
    what = f"{rounds} interleaved rounds of {number:,} events, 1,600 keys, payloads of 180 bytes, batches of 1,000"
    show("relay", lines, notes={"runs": what, **settings_of_servers()})
    return lines


def _race(rounds: int, number: int) -> Times:
    from benchmarks.models import OutboxByHand
    from benchmarks.relay_by_hand import relay_by_hand
    from django_cqrs.loops import run as run_loop
    from django_cqrs.models import Outbox
    from django_cqrs.relay import relays

    subjects = {
        "relay": (Outbox._meta.db_table, lambda: run_loop(relays(routes=["streams"]), drain=True)),
        "by hand": (OutboxByHand._meta.db_table, relay_by_hand),
    }
    times: dict[str, list[float]] = {name: [] for name in subjects}
    for round_number in range(rounds):
        for name in sorted(subjects, reverse=bool(round_number % 2)):
            table, ship = subjects[name]
            fill(table, number)
            redis_client().unlink(stream("Changed"))
            times[name].append(seconds(ship))
            arrived = redis_client().xlen(stream("Changed"))
            assert arrived == number, f"{name}: {arrived} of {number} arrived"
    return times


def fill(table: str, number: int) -> None:
    """Put so many events into an empty table."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {table}")
        cursor.execute(FILL.format(table=table), [number])
        cursor.execute(f"ANALYZE {table}")


def _memory(many: int) -> list[Line]:
    """Measure a process of its own: what a relay takes more than when it was idle, by how much is pending."""
    from django_cqrs.models import Outbox

    few = 10_000
    taken = {}
    for number in (few, many):
        fill(Outbox._meta.db_table, 0)
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
        fill(Outbox._meta.db_table, 0)
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
