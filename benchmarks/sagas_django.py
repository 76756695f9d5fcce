"""Sagas on PostgreSQL: transactions and statements of a step, and what many stored sagas cost."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from attrs import frozen

from benchmarks.effects import effects, statements_of
from benchmarks.report import Line, show
from benchmarks.servers import prepare, settings_of_servers

__all__ = ["run"]

STEPS = 3
TABLES = ("cqrs_saga", "cqrs_saga_entry")
FEW, MANY, STALE = 100, 100_000, 100


@frozen
class Counting:
    """The state: the account that each step changes."""

    account: int


def run(*, full: bool) -> list[Line]:
    """Measure and print."""
    prepare()
    rounds, number, finished = (31, 20, 1_000_000) if full else (11, 10, 1_000_000)
    ways = _ways()
    lines = [line for name, way in ways.items() for line in _counted(name, way)]
    _fill_both()
    times = _raced(ways, rounds, number)
    lines += [
        Line(
            f"{name}, a saga with {MANY:,} stored : with {FEW}",
            statistics.median(many / few for few, many in pairs),
            1.3,
            detail=f"at best {min(many for _, many in pairs):.2f} ms : {min(few for few, _ in pairs):.2f} ms",
        )
        for name, pairs in times.items()
    ]
    lines += _scan(finished)
    said = f"{rounds} rounds of {number} sagas of {STEPS} steps, each of which does one UPDATE through the ORM"
    counted = "BEGIN and COMMIT are not counted, savepoints are; transactions are those that commit writes"
    show("sagas_django", lines, notes={"rounds": said, "statements": counted, **settings_of_servers(redis=False)})
    return lines


def _ways() -> dict[str, Callable[[int], None]]:
    """Return what runs so many sagas to their end: at once, and by the consumer."""
    from django.db import transaction
    from django.db.models import F

    from benchmarks.models import Account
    from django_cqrs import bus
    from django_cqrs.consumers import consumers
    from django_cqrs.loops import run as work
    from simplecqrs.saga import Saga, Step

    def act(state: Counting) -> None:
        Account.objects.filter(pk=state.account).update(n=F("n") + 1)

    undone = [Step(f"s{n}", act, lambda _: None) for n in range(STEPS - 1)]
    saga = Saga("bench", Counting, [*undone, Step("last", act)])
    state = Counting(Account.objects.create().pk)
    jobs = consumers("sagas")

    def at_once(number: int) -> None:
        for _ in range(number):
            saga.run(bus, state)

    def by_consumer(number: int) -> None:
        for _ in range(number):
            with transaction.atomic():
                saga.start(bus, state)
        work(jobs, drain=True)

    return {"at once": at_once, "by the consumer": by_consumer}


def _counted(name: str, way: Callable[[int], None]) -> list[Line]:
    """Count what a saga needs, after a first one, which may do more; many, so that looking for work counts less."""
    way(1)
    before, number = effects(), 50
    with _commits() as committed:
        made = statements_of(lambda: way(number))
    if effects() - before != number * STEPS:
        raise RuntimeError(f"{name}: {number} sagas have had {effects() - before} effects")
    each = number * STEPS
    detail = f"{committed[0] / number:.2f} of a saga of {STEPS} steps"
    return [
        Line(f"{name}, transactions per step", committed[0] / each, 2, unit="", detail=detail),
        Line(f"{name}, statements per step", made / each, unit="", detail=f"{made / number:.2f} of a saga"),
    ]


@contextmanager
def _commits() -> Iterator[list[int]]:
    from django.db import connection

    count, commit = [0], connection._commit  # type: ignore[attr-defined]

    def counting() -> Any:
        count[0] += 1
        return commit()

    connection._commit = counting  # type: ignore[attr-defined]
    try:
        yield count
    finally:
        del connection._commit  # type: ignore[attr-defined]


def _raced(ways: dict[str, Callable[[int], None]], rounds: int, number: int) -> dict[str, list[tuple[float, float]]]:
    """Return how many milliseconds a saga takes, with few stored and with many, one after the other."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        few = {name: _milliseconds(way, number) for name, way in ways.items()}
        _swap()
        many = {name: _milliseconds(way, number) for name, way in ways.items()}
        _swap()
        for name, pairs in found.items():
            pairs.append((few[name], many[name]))
    return {name: pairs[1:] for name, pairs in found.items()}  # the first round reads what no cache has


def _milliseconds(way: Callable[[int], None], number: int) -> float:
    began = time.perf_counter()
    way(number)
    return (time.perf_counter() - began) / number * 1e3


def _fill_both() -> None:
    """Let few be stored in the tables, and many in others that can take their place."""
    from django.db import connection

    fill(FEW)
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"CREATE TABLE {table}_other (LIKE {table} INCLUDING ALL)")
    _swap()
    fill(MANY)
    _swap()


def _swap() -> None:
    from django.db import connection, transaction

    with transaction.atomic(), connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"ALTER TABLE {table} RENAME TO {table}_now")
            cursor.execute(f"ALTER TABLE {table}_other RENAME TO {table}")
            cursor.execute(f"ALTER TABLE {table}_now RENAME TO {table}_other")


def fill(number: int) -> None:
    """Let so many sagas have ended, each with a log, and no others be stored."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE cqrs_saga, cqrs_saga_entry, cqrs_saga_wait, cqrs_saga_mail")
        cursor.execute(
            "INSERT INTO cqrs_saga (id, saga, status, state, progress, position, version, fingerprint, paused,"
            " cancelled, error, owner, recoveries, correlation_id, headers, created_at, updated_at)"
            " SELECT gen_random_uuid(), 'bench', 'COMPLETED', '\\x7b226163636f756e74223a317d',"
            ' \'{"s0":{"phase":"done","attempts":1},"s1":{"phase":"done","attempts":1}}\', 3, 4,'
            " '0123456789abcdef', false, false, '', '', 0, '', '{}', now() - n * interval '1 second', now()"
            " FROM generate_series(1, %s) n",
            [number],
        )
        if number <= MANY:  # nothing that is measured with more looks at the logs
            cursor.execute(
                "INSERT INTO cqrs_saga_entry (saga_id, step, action, event, at, attempt, error, who)"
                " SELECT id, 's' || n / 2, 'act', CASE n % 2 WHEN 0 THEN 'started' ELSE 'completed' END,"
                " 1700000000.0 + n, 1, '', '' FROM cqrs_saga, generate_series(0, 5) n"
            )
        cursor.execute("ANALYZE cqrs_saga")
        cursor.execute("ANALYZE cqrs_saga_entry")


def _scan(finished: int) -> list[Line]:
    """Measure how long it takes to find those that nobody works on among many that have ended."""
    from django.db import connection

    from django_cqrs import bus

    fill(finished)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE cqrs_saga SET status = 'RUNNING', owner = 'gone', due_at = now() - interval '1 minute'"
            " WHERE id IN (SELECT id FROM cqrs_saga LIMIT %s)",
            [STALE],
        )
        cursor.execute("ANALYZE cqrs_saga")
    times = []
    for _ in range(200):
        began = time.perf_counter()
        found = bus.sagas.stale(limit=STALE)
        times.append((time.perf_counter() - began) * 1e3)
        if len(found) != STALE:
            raise RuntimeError(f"{len(found)} of {STALE} stale sagas were found")
    what = f"finding {STALE} that nobody works on among {finished:,} that have ended"
    return [Line(what, statistics.median(times), 10, unit="ms", detail=f"at most {max(times):.2f} ms")]
