"""Whether reading a batch takes as long however much is pending, scheduled, or dead under an old transaction."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.measure import Times, interleaved, median_ratio
from benchmarks.report import Line, show
from benchmarks.servers import connect, prepare, settings_of_servers

__all__ = ["run"]

#: Rows of a batch, and bytes at most.
BATCH, BYTES = 1000, 4 * 1024 * 1024
#: Events in one transaction, where an application appends them.
TRANSACTION = 10_000


class Accepting:
    """A broker that takes everything and keeps nothing."""

    def publish(self, envelopes: Sequence[Any], /, *, deadline: float) -> Sequence[Any]:
        """Take them."""
        from simplecqrs.transport import ACCEPTED

        return [ACCEPTED] * len(envelopes)

    def ping(self, *, deadline: float) -> None:
        """Answer."""


def run(*, full: bool) -> list[Line]:
    """Measure and print."""
    prepare()
    from benchmarks.first_event import first_events

    sizes = [10_000, 100_000, 1_000_000, *([5_000_000] if full else [])]
    shipped = scheduled = 1_000_000 if full else 200_000
    rounds = 100 if full else 40
    lines = [*_by_size(sizes, rounds)]
    lines += first_events(5)
    lines += _with_scheduled(scheduled, rounds)
    lines += _with_old_transaction(shipped, rounds)
    what = f"reading is look, hold, read {BATCH:,} rows of 180 bytes in 16 lanes, roll back; medians of {rounds} each"
    show("reading", lines, notes={"runs": what, **settings_of_servers()})
    return lines


def _reader(table: str | None = None) -> Any:
    """Return a storage, of the outbox or of a table of its shape."""
    from django_cqrs.queue import DjangoStorage

    storage = DjangoStorage("outbox", "default")
    if table is not None:
        storage.hot = table
    return storage


def _read(storage: Any) -> None:
    from simplecqrs.queue import LANES

    works = storage.look("streams", range(LANES))
    lanes = [work.lane for work in works]
    try:
        with storage.hold("streams", lanes=lanes, limit=LANES, local=False, idle=15.0) as held:
            found = len(held.read(BATCH, BYTES))
            raise _Undone
    except _Undone:
        assert found == BATCH, f"{found} rows"


class _Undone(Exception):
    """Raised to roll back."""


def _reading(storage: Any) -> Callable[[], object]:
    return lambda: _read(storage)


def _milliseconds(times: Times, *names: str) -> str:
    return " : ".join(f"{1000 * statistics.median(times[name]):.1f} ms" for name in names)


def _by_size(sizes: Sequence[int], rounds: int) -> Generator[Line, None, None]:
    """Read from one table of each size in turn; the largest is the outbox itself."""
    from benchmarks.filling import fill
    from django_cqrs.models import Outbox

    outbox = Outbox._meta.db_table
    tables = {f"{size:,}": f"{outbox}_{size}" for size in sizes[:-1]} | {f"{sizes[-1]:,}": outbox}
    for size, table in zip(sizes, tables.values(), strict=True):
        if table != outbox:
            _execute(f"CREATE TABLE {table} (LIKE {outbox} INCLUDING ALL)")
        fill(table, size)
    times = interleaved({size: _reading(_reader(table)) for size, table in tables.items()}, rounds=rounds)
    medians = {size: statistics.median(found) for size, found in times.items()}
    slowest, fastest = max(medians, key=medians.__getitem__), min(medians, key=medians.__getitem__)
    yield Line(
        "reading 1,000, slowest : fastest size",
        median_ratio(times, slowest, fastest),
        1.5,
        detail=", ".join(f"{size} pending {1000 * median:.1f} ms" for size, median in medians.items()),
    )


def _with_scheduled(number: int, rounds: int) -> Generator[Line, None, None]:
    """Read with a schedule that is full and one that is empty, in turn: the tables change their names."""
    from benchmarks.filling import schedule
    from django_cqrs.models import Scheduled
    from django_cqrs.promotion import promoters

    table, aside = Scheduled._meta.db_table, "schedule_aside"
    _execute(f"CREATE TABLE {aside} (LIKE {table} INCLUDING ALL)")
    schedule(table, number)
    _execute(f"ANALYZE {table}")
    storage, (promoter,) = _reader(), promoters()
    times: dict[str, list[float]] = {"scheduled": [], "none": []}
    for _ in range(rounds):
        for found in times.values():
            found.append(_timed(_reading(storage)))
            _execute(f"ALTER TABLE {table} RENAME TO schedule_other", f"ALTER TABLE {aside} RENAME TO {table}",
                     f"ALTER TABLE schedule_other RENAME TO {aside}")  # fmt: skip
    yield Line(
        f"reading 1,000, {number:,} scheduled : none",
        median_ratio(times, "scheduled", "none"),
        1.1,
        detail=_milliseconds(times, "scheduled", "none"),
    )
    yield Line(f"looking for what is due among {number:,}", 1000 * _timed(promoter.step), unit="ms")
    _execute(f"TRUNCATE {table}", f"DROP TABLE {aside}")


def _with_old_transaction(number: int, rounds: int) -> Generator[Line, None, None]:
    """Read before and after so many events were shipped, of which none can be tidied up."""
    from benchmarks.filling import append, fill
    from django_cqrs.models import Outbox
    from simplecqrs.relay import Relay

    outbox = Outbox._meta.db_table
    fill(outbox, TRANSACTION)
    storage = _reader()
    relay = Relay(queue="streams", storage=storage, publisher=Accepting())
    before = [_timed(_reading(storage)) for _ in range(rounds)]
    with _old_transaction():
        for _ in range(number // TRANSACTION):
            append(outbox, TRANSACTION)
            for _ in range(TRANSACTION // BATCH):
                relay.step()
        append(outbox, TRANSACTION)  # the relay takes some lanes at a time, and may have left few rows in others
        time.sleep(1.1)  # a relay asks for the safe ids once a second
        after = [_timed(_reading(storage)) for _ in range(rounds)]
        swept = max(_sweeps(storage))
        fresh = _timed(_reading(_reader()))
    times = {"before": before, "after": after}
    yield Line(
        f"reading 1,000, {number:,} dead : before",
        statistics.median(after) / statistics.median(before),
        2.0,
        detail=_milliseconds(times, "after", "before"),
    )
    yield Line("the same, slowest while lanes are swept", 1000 * swept, unit="ms", detail="one lane every 10 s")
    yield Line("the same, first of a new process", 1000 * fresh, unit="ms", detail="it knows no safe ids yet")


def _sweeps(storage: Any) -> Generator[float, None, None]:
    """Yield the times of reads in which one lane after the other is looked through from its beginning."""
    safe = storage._safe_ids("streams")
    clock = safe.clock
    try:
        for later in range(1, 17):
            safe.clock = lambda later=later: clock() + 10.0 * later
            yield _timed(_reading(storage))
    finally:
        safe.clock = clock


@contextmanager
def _old_transaction() -> Generator[None, None, None]:
    """Hold a transaction open that has seen the tables as they are now."""
    import os

    with connect(database=os.environ["CQRS_BENCH_DATABASE"]) as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT count(*) FROM django_migrations")
        yield
        connection.rollback()


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _execute(*statements: str) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        for sql in statements:
            cursor.execute(sql)
