"""Consuming: feed, inbox, handler and acknowledgement, against a loop by hand with the same guarantees."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from benchmarks.brokers.port import ByHand
from benchmarks.brokers.publishing import by_batches, envelopes_of, publish
from benchmarks.effects import effects, statements_of
from benchmarks.measure import Times, median_ratio, seconds
from benchmarks.report import Line
from simplecqrs.envelope import Envelope

__all__ = ["COUNT", "consuming"]

GOAL = 0.6
COUNT, BY_HAND = "Counted", "CountedByHand"
KEYS = 20
#: By subject: its topic, what publishes to it, and what handles all that is there.
Subjects = dict[str, tuple[str, Callable[[Sequence[Envelope]], object], Callable[[], object]]]


def consuming(by_hand: ByHand, rounds: int, number: int) -> list[Line]:
    """Time consuming, one worker; the handler does one UPDATE."""
    times, statements = _race(_subjects(by_hand), by_hand, rounds, number)
    speeds = {name: number / statistics.median(found) for name, found in times.items()}
    first = Line(
        "messages consumed per second, with an inbox : by hand",
        median_ratio(times, "by hand", "ours"),
        GOAL,
        at_least=True,
        detail=f"{speeds['ours']:,.0f}/s : {speeds['by hand']:,.0f}/s",
    )
    return [first, *(Line(f"statements per message, {name}", found, unit="") for name, found in statements.items())]


def _subjects(by_hand: ByHand) -> Subjects:
    from django_cqrs.brokers import broker
    from django_cqrs.consumers import consumers

    broker("raced").feeds("counting", [COUNT])
    by_hand.join(BY_HAND)
    jobs = consumers("counting")

    def drain() -> None:
        while sum(job.step() for job in jobs):  # type: ignore[misc]
            pass

    def publish_by_hand(envelopes: Sequence[Envelope]) -> None:
        by_batches(envelopes, lambda some: by_hand.publish(BY_HAND, some))

    return {
        "ours": (COUNT, publish, drain),
        "by hand": (BY_HAND, publish_by_hand, lambda: by_hand.consume(BY_HAND)),
    }


def _race(subjects: Subjects, by_hand: ByHand, rounds: int, number: int) -> tuple[Times, dict[str, float]]:
    from benchmarks.handlers import Counted
    from benchmarks.models import Account

    accounts = [Account.objects.create().pk for _ in range(KEYS)]
    times: dict[str, list[float]] = {name: [] for name in subjects}
    statements: dict[str, float] = {}
    for round_number in range(rounds + 1):
        for name in sorted(subjects, reverse=bool(round_number % 2)):
            topic, give, consume = subjects[name]
            before = effects()
            give(envelopes_of([Counted(accounts[n % KEYS], n) for n in range(number)], topic))
            if round_number == 0:  # this round counts, and counting takes time
                statements[name] = statements_of(consume) / number
            else:
                times[name].append(seconds(consume))
            assert effects() - before == number, f"{name}: {effects() - before} of {number} effects"
            by_hand.clear(topic)
    return times, statements
