"""What events add to a command on PostgreSQL, beside the same INSERT by hand."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.measure import Times, calls, interleaved, median_ratio
from benchmarks.report import Line, show
from benchmarks.servers import prepare, settings_of_servers

__all__ = ["run"]


def run(*, full: bool) -> list[Line]:
    """Measure and print."""
    prepare()
    from benchmarks.by_hand import command_by_hand
    from benchmarks.handlers import Bare, Telling
    from benchmarks.models import Account
    from django_cqrs import bus

    rounds, number = (60, 200) if full else (40, 60)
    account = Account.objects.create().pk
    subjects: dict[str, tuple[Any, ...]] = {
        "bus, no event": (bus.send, Bare(account)),
        "bus, 1 event": (bus.send, Telling(account, 1)),
        "bus, 3 events": (bus.send, Telling(account, 3)),
        "by hand, no event": (command_by_hand, account, 0),
        "by hand, 1 event": (command_by_hand, account, 1),
        "by hand, 3 events": (command_by_hand, account, 3),
    }
    statements = {name: _count(*subject) for name, subject in subjects.items()}
    times = interleaved({name: calls(number, *subject) for name, subject in subjects.items()}, rounds=rounds)
    lines = list(_lines(times, statements, number))
    rounds_said = f"{rounds} of {number} commands each; each command is an UPDATE through the ORM"
    show("django_commands", lines, notes={"rounds": rounds_said, **settings_of_servers(redis=False)})
    return lines


def _lines(times: Times, statements: dict[str, int], number: int) -> Iterator[Line]:
    for events, goal in (("1 event", 1.3), ("3 events", 1.45)):
        extra = statements[f"bus, {events}"] - statements["bus, no event"]
        yield Line(f"statements that {events} adds", extra, 1, unit="")
        for who, limit in (("bus", goal), ("by hand", None)):
            with_events, without = f"{who}, {events}", f"{who}, no event"
            yield Line(
                f"{with_events} : no event",
                median_ratio(times, with_events, without),
                limit,
                detail=" : ".join(
                    f"{statistics.median(times[name]) / number * 1e6:.0f} us" for name in (with_events, without)
                ),
            )
    for events in ("no event", "1 event", "3 events"):
        yield Line(f"{events}, bus : by hand", median_ratio(times, f"bus, {events}", f"by hand, {events}"))


def _count(function: Callable[..., object], *arguments: object) -> int:
    """Count the statements of one call, after a first one, which may do more."""
    function(*arguments)
    with _counting() as statements:
        function(*arguments)
    return len(statements)


@contextmanager
def _counting() -> Iterator[list[str]]:
    from django.db import connection

    statements: list[str] = []

    def note(execute: Callable[..., Any], sql: str, *others: Any) -> Any:
        statements.append(sql)
        return execute(sql, *others)

    with connection.execute_wrapper(note):
        yield statements
