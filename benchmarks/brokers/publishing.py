"""Publishing: the adapter in batches of 500 against the client's own way for many, all confirmed by the server."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

from attrs import frozen

from benchmarks.brokers.port import ByHand, Contender
from benchmarks.measure import median_ratio, seconds
from benchmarks.report import Line
from simplecqrs import NotificationEvent
from simplecqrs.envelope import Envelope

__all__ = ["BATCH", "by_batches", "envelopes_of", "publish", "publishing"]

BATCH = 500
GOAL = 0.85
OURS, BY_HAND = "Published", "PublishedByHand"
#: How many order keys the events have.
KEYS = 1600


@frozen
class Published(NotificationEvent, key="account"):
    """Has a payload of about 180 bytes."""

    account: int
    text: str = "x" * 150


def publishing(contender: Contender, by_hand: ByHand, rounds: int, number: int) -> list[Line]:
    """Time publishing."""
    from django_cqrs.brokers import broker

    broker("raced").feeds("counting", [OURS])
    by_hand.join(BY_HAND)
    ours, others = (envelopes_of([Published(n % KEYS) for n in range(number)], topic) for topic in (OURS, BY_HAND))
    subjects: dict[str, tuple[str, Callable[[], object]]] = {
        "ours": (OURS, lambda: publish(ours)),
        "by hand": (BY_HAND, lambda: by_batches(others, lambda some: by_hand.publish(BY_HAND, some))),
    }
    if singly := contender.singly:
        subjects["singly"] = (BY_HAND, lambda: singly(by_hand, BY_HAND, others[: number // 10]))
    times = _interleaved(subjects, rounds, by_hand)
    speeds = {name: number / statistics.median(found) for name, found in times.items()}
    ratio = median_ratio(times, "by hand", "ours")
    lines = [_line("the adapter : by hand", ratio, GOAL, speeds["ours"], speeds["by hand"])]
    if singly:
        ratio = median_ratio(times, "singly", "ours") * 10
        what = "the adapter : one confirmation each"
        lines.append(_line(what, ratio, contender.times_singly, speeds["ours"], speeds["singly"] / 10))
    return lines


def _line(what: str, ratio: float, goal: float, *speeds: float) -> Line:
    detail = " : ".join(f"{speed:,.0f}/s" for speed in speeds)
    return Line(f"events published per second, {what}", ratio, goal, at_least=True, detail=detail)


def _interleaved(
    subjects: Mapping[str, tuple[str, Callable[[], object]]], rounds: int, by_hand: ByHand
) -> dict[str, list[float]]:
    """Time each in turn; a first round, which connects, is not counted."""
    names = list(subjects)
    times: dict[str, list[float]] = {name: [] for name in names}
    for round_number in range(rounds + 1):
        turn = round_number % len(names)
        for name in names[turn:] + names[:turn]:
            topic, call = subjects[name]
            spent = seconds(call)
            if round_number:
                times[name].append(spent)
            by_hand.clear(topic)
    return times


def envelopes_of(events: Sequence[NotificationEvent], topic: str) -> list[Envelope]:
    """Return new envelopes, under the names of their classes and a topic."""
    from attrs import evolve

    from django_cqrs import bus
    from simplecqrs.metadata import new_metadata

    return [evolve(bus.vocabulary.envelope(event, new_metadata(None, None)), topic=topic) for event in events]


def publish(envelopes: Sequence[Envelope]) -> None:
    """Publish by the adapter, and see that all was accepted."""
    from django_cqrs.brokers import broker

    by_batches(envelopes, lambda some: _accepted(broker("raced").publish(some, deadline=30.0)))


def _accepted(receipts: Sequence[object]) -> None:
    from simplecqrs.transport import ACCEPTED

    bad = [receipt for receipt in receipts if receipt != ACCEPTED]
    assert not bad, bad[:3]


def by_batches(envelopes: Sequence[Envelope], give: Callable[[Sequence[Envelope]], object]) -> None:
    """Give envelopes in batches."""
    for start in range(0, len(envelopes), BATCH):
        give(envelopes[start : start + BATCH])
