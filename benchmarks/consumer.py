"""A consumer against loops by hand with the same guarantees, and against itself with several messages at a time."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.effects import effects, statements_of
from benchmarks.measure import Times, median_ratio, seconds
from benchmarks.report import Line, show
from benchmarks.servers import prepare, redis_client, settings_of_servers, stream

__all__ = ["run"]

KEYS = 20


def run(*, full: bool) -> list[Line]:
    """Measure and print."""
    prepare()
    rounds, number = (9, 3_000) if full else (5, 1_000)
    times, statements = _race(rounds, number)
    speeds = {name: number / statistics.median(found) for name, found in times.items()}
    lines = [
        Line(
            f"messages per second, {subject} : {baseline}",
            median_ratio(times, baseline, subject),
            goal,
            at_least=True,
            detail=f"{speeds[subject]:,.0f}/s : {speeds[baseline]:,.0f}/s",
        )
        for subject, baseline, goal in (
            ("one by one", "by hand, with an inbox", 0.8),
            ("one by one", "by hand, without", 0.8),
            ("50 together", "one by one", None),  # most of which is the handler's own UPDATE
            ("50 together", "by hand, without", None),
            ("50 together, handlers that do nothing", "one by one, handlers that do nothing", 3.0),
        )
    ]
    lines += [Line(f"statements per message, {name}", found, unit="") for name, found in statements.items()]
    what = f"{rounds} interleaved rounds of {number:,} messages, {KEYS} keys, one worker; the handler does one UPDATE"
    counted = "BEGIN and COMMIT are not counted, savepoints are"
    show("consumer", lines, notes={"runs": what, "statements": counted, **settings_of_servers()})
    return lines


def _subjects() -> dict[str, tuple[str, Callable[[], object]]]:
    """Return for each subject the topic that it reads and what handles all that is there."""
    from benchmarks.consumer_by_hand import consume_by_hand, join
    from benchmarks.inbox_by_hand import consume_inbox_by_hand, join_inbox_by_hand
    from django_cqrs.consumers import consumers

    singly, together, idly, idly_together = map(consumers, ("counting", "together", "letting", "letting-together"))
    join()
    join_inbox_by_hand()
    return {
        "one by one": ("Counted", lambda: _drain(singly)),
        "50 together": ("CountedTogether", lambda: _drain(together)),
        "one by one, handlers that do nothing": ("Let", lambda: _drain(idly)),
        "50 together, handlers that do nothing": ("LetTogether", lambda: _drain(idly_together)),
        "by hand, with an inbox": ("InboxByHand", consume_inbox_by_hand),
        "by hand, without": ("ByHand", consume_by_hand),
    }


def _drain(jobs: Sequence[Any]) -> None:
    """Work until nothing is left, and keep the lanes, as a worker does that has been up for a while."""
    while sum(job.step() for job in jobs):
        pass


def _race(rounds: int, number: int) -> tuple[Times, dict[str, float]]:
    from benchmarks.models import Account

    accounts = [Account.objects.create().pk for _ in range(KEYS)]
    subjects = _subjects()
    names = list(subjects)
    times: dict[str, list[float]] = {name: [] for name in names}
    statements: dict[str, float] = {}
    for round_number in range(rounds + 1):
        turn = round_number % len(names)
        for name in names[turn:] + names[:turn]:
            topic, consume = subjects[name]
            before = effects()
            _publish(topic, number, accounts)
            if round_number == 0:  # this round counts, and counting takes time
                statements[name] = statements_of(consume) / number
            else:
                times[name].append(seconds(consume))
            assert effects() - before == number, f"{name}: {effects() - before} of {number} effects"
            redis_client().xtrim(stream(topic), maxlen=0)
    return times, statements


def _publish(topic: str, number: int, accounts: list[int]) -> None:
    from attrs import evolve

    from benchmarks.handlers import Counted, CountedTogether
    from django_cqrs import bus
    from django_cqrs.brokers import broker
    from simplecqrs.metadata import new_metadata

    message = CountedTogether if topic == "CountedTogether" else Counted
    events = [message(accounts[n % KEYS], n) for n in range(number)]
    envelopes = [evolve(bus.vocabulary.envelope(event, new_metadata(None, None)), topic=topic) for event in events]
    for start in range(0, number, 500):
        broker("streams").publish(envelopes[start : start + 500], deadline=10.0)
