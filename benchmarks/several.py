"""Several relays at once, each a process; and few order keys, with the order that they keep."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from benchmarks.measure import Times, median_ratio
from benchmarks.report import Line, show
from benchmarks.servers import prepare, redis_client, settings_of_servers, stream

__all__ = ["run"]

#: Order keys of the events that are few.
FEW = 5
#: Seconds between two looks at how much has arrived.
LOOK = 0.005


def run(*, full: bool) -> list[Line]:
    """Measure and print."""
    prepare()
    rounds, number, hot = (5, 40_000, 100_000) if full else (4, 20_000, 100_000)
    times = _race((1, 2, 4), rounds, number)
    speeds = {count: number / statistics.median(found) for count, found in times.items()}
    lines = [
        Line(
            f"events per second, {count} relays : 1 relay",
            median_ratio(times, "1", count),
            1.0,
            at_least=True,
            detail=f"{speeds[count]:,.0f}/s : {speeds['1']:,.0f}/s",
        )
        for count in ("2", "4")
    ]
    lines += [line for count in (1, 2) for line in _few_keys(count, hot)]
    what = f"{rounds} interleaved rounds of {number:,} events, 1,600 keys; then {hot:,} events on {FEW} keys, once"
    where = "the relays and the servers share the machine's processors"
    show("several", lines, notes={"runs": what, "note": where, **settings_of_servers()})
    return lines


def _race(counts: Sequence[int], rounds: int, number: int) -> Times:
    from benchmarks.filling import KEYS

    times: dict[str, list[float]] = {str(count): [] for count in counts}
    with _relays(max(counts)) as processes:
        for round_number in range(rounds + 1):
            turn = round_number % len(counts)
            for count in (*counts[turn:], *counts[:turn]):
                spent = _ship(processes[:count], number, KEYS)
                if round_number:  # the first warms up
                    times[str(count)].append(spent)
    return times


def _few_keys(count: int, number: int) -> Generator[Line, None, None]:
    """Ship events of few keys and look for one that stands behind a later one of its key."""
    with _relays(count) as processes:
        _ship(processes, 5_000, FEW)
        spent = _ship(processes, number, FEW)
    relays = "1 relay" if count == 1 else f"{count} relays"
    yield Line(f"{number:,} events on {FEW} keys, {relays}", number / spent, 5_000, unit="/s", at_least=True)
    yield Line(f"inversions among them, {relays}", _inversions(), 0, unit="")


@contextmanager
def _relays(count: int) -> Generator[list[Any], None, None]:
    """Start processes that ship when they are told to."""
    with ExitStack() as stack:
        processes: list[Any] = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "benchmarks.several_worker"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(count)
        ]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        yield processes
        for process in processes:
            process.stdin.close()


def _ship(processes: Sequence[Any], number: int, keys: int) -> float:
    """Let processes ship so many events, and return the seconds until all have arrived."""
    from benchmarks.filling import fill
    from django_cqrs.models import Outbox

    fill(Outbox._meta.db_table, number, keys=keys)
    client, name = redis_client(), stream("Changed")
    client.unlink(name)
    began = time.perf_counter()
    _tell(processes, "go")
    while client.xlen(name) < number:
        time.sleep(LOOK)
    spent = time.perf_counter() - began
    _tell(processes, "stop")
    for process in processes:
        assert process.stdout.readline() == "stopped\n"
    assert client.xlen(name) == number, f"{client.xlen(name)} of {number} arrived"
    return spent


def _tell(processes: Sequence[Any], word: str) -> None:
    for process in processes:
        process.stdin.write(f"{word}\n")
        process.stdin.flush()


def _inversions() -> int:
    """Count the events that came after a later one of their key."""
    last: dict[bytes, int] = {}
    inversions, start = 0, "-"
    while entries := redis_client().xrange(stream("Changed"), min=start, count=5_000):
        for _, fields in entries:
            number = json.loads(fields[b"payload"])["account"]
            inversions += number < last.get(fields[b"key"], 0)
            last[fields[b"key"]] = number
        start = f"({entries[-1][0].decode()}"
    return inversions
