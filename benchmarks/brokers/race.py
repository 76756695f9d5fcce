"""The race: for each broker that is there, publishing and consuming, ours and by hand in turn."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.brokers.consuming import COUNT, consuming
from benchmarks.brokers.port import Contender
from benchmarks.brokers.publishing import BATCH, publishing
from benchmarks.report import Line, show
from benchmarks.servers import prepare, settings_of_servers

__all__ = ["run"]


def contenders() -> Sequence[Contender]:
    """Return the brokers; CQRS_BENCH_BROKERS chooses some, by words of their names."""
    from benchmarks.brokers.azure_by_hand import AZURE
    from benchmarks.brokers.kafka_by_hand import KAFKA
    from benchmarks.brokers.rabbitmq_by_hand import RABBITMQ
    from benchmarks.brokers.redis_by_hand import REDIS
    from benchmarks.brokers.redis_pubsub_by_hand import REDIS_PUBSUB

    words = os.environ.get("CQRS_BENCH_BROKERS", "").lower().split(",")
    brokers = (REDIS, REDIS_PUBSUB, RABBITMQ, KAFKA, AZURE)
    return [found for found in brokers if any(word in found.name.lower() for word in words)]


def run(*, full: bool) -> list[Line]:
    """Measure and print."""
    prepare()
    lines: list[Line] = []
    for contender in contenders():
        with contender.serve() as url:
            if url:
                lines += _race(contender, url, full=full)
            else:
                print(f"\n{contender.name}: skipped, there is no server")
    return lines


def _race(contender: Contender, url: str, *, full: bool) -> list[Line]:
    rounds, number = (9, 5_000) if full else (5, 2_000)
    prefix = os.environ["CQRS_BENCH_PREFIX"]
    by_hand = contender.by_hand(url, prefix)
    with _configured(contender, url, prefix):
        lines = publishing(contender, by_hand, rounds, number) + consuming(by_hand, rounds, number // 2)
    runs = f"{rounds} interleaved rounds: {number:,} events in batches of {BATCH} published, {number // 2:,} consumed"
    counted = "BEGIN and COMMIT are not counted, savepoints are"
    notes = {"runs": runs, "statements": counted, **settings_of_servers(redis=False), **contender.about(url)}
    show(contender.name, lines, notes=notes)
    return lines


@contextmanager
def _configured(contender: Contender, url: str, prefix: str) -> Iterator[None]:
    """Let the project's broker be this one."""
    from django.test.utils import override_settings

    raced = {
        "SOURCE": "bench",
        "BROKERS": {"raced": {"BACKEND": contender.backend, "OPTIONS": dict(contender.options(url, prefix))}},
        "ROUTES": {"*": "raced"},
        "CONSUMERS": {"counting": {"broker": "raced", "topics": [COUNT]}},
    }
    with override_settings(DJANGO_CQRS=raced):
        yield
