"""What MAX_PENDING costs those who publish: commands with one event each, with limits against without."""

from __future__ import annotations

import logging
import statistics
import time
from typing import Any

from benchmarks.measure import Times, interleaved, median_ratio
from benchmarks.report import Line, show
from benchmarks.servers import prepare, settings_of_servers

__all__ = ["run"]

#: Commands of one subject in a round.
COMMANDS = 60
SUBJECTS: dict[str, dict[str, Any]] = {
    "no limit": {},
    "a limit far away": {"*": {"warn": 10_000_000, "refuse": 20_000_000}},
    "a limit that is near, so that it counts": {"*": {"warn": 50_000, "refuse": 1_000_000}},
}


def run(*, full: bool) -> list[Line]:
    """Measure and print."""
    prepare()
    pending = 500_000 if full else 100_000
    times = _race(101 if full else 41, pending)
    base = "no limit"
    lines = [
        Line(
            f"processor time of a command with an event, {name} : {base}",
            median_ratio(times, name, base),
            1.05,
            detail=" : ".join(f"{statistics.median(times[s]) / COMMANDS * 1e6:.0f} µs" for s in (name, base)),
        )
        for name in SUBJECTS
        if name != base
    ]
    lines.append(Line(f"one look, where {pending:,} are counted", _look(pending), unit="ms"))
    notes = {"runs": f"{len(times[base])} rounds of {COMMANDS} commands; {pending:,} events pending"}
    show("pressure", lines, notes={**notes, **settings_of_servers(redis=False)})
    return lines


def _race(rounds: int, pending: int) -> Times:
    from benchmarks.filling import empty, fill
    from benchmarks.models import Account
    from django_cqrs.models import Outbox

    fill(Outbox._meta.db_table, pending)
    account = Account.objects.create().pk
    logging.getLogger("django_cqrs").setLevel(logging.ERROR)  # it warns, as it should
    sending = {name: _sending(account, name) for name in SUBJECTS}
    # What the server does for a look is told apart: of each second a fiftieth at the most.
    times = interleaved(sending, rounds=rounds, clock=time.thread_time)
    empty(Outbox._meta.db_table)
    return times


def _sending(account: int, name: str) -> Any:
    from django.test import override_settings

    from benchmarks.handlers import Telling
    from benchmarks.settings import DJANGO_CQRS
    from django_cqrs import bus

    def send() -> None:
        with override_settings(DJANGO_CQRS={**DJANGO_CQRS, "MAX_PENDING": SUBJECTS[name]}):
            for _ in range(COMMANDS):
                bus.send(Telling(account, 1))

    return send


def _look(pending: int) -> float:
    """Return the milliseconds of a look that counts."""
    from benchmarks.filling import empty, fill
    from django_cqrs import pressure
    from django_cqrs.models import Outbox
    from django_cqrs.pending_limits import PendingLimit

    fill(Outbox._meta.db_table, pending)
    took = []
    for _ in range(5):
        began = time.perf_counter()
        counted = pressure.pending("default", "streams", PendingLimit(warn=1, refuse=pending * 2))
        took.append(time.perf_counter() - began)
    empty(Outbox._meta.db_table)
    assert counted == pending
    return statistics.median(took) * 1000
