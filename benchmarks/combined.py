"""Chains, streams, many handlers and many messages, each against the same by hand."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import Any

from attrs import frozen, make_class

from benchmarks.measure import Times, calls, interleaved, median_ratio
from benchmarks.report import Line, show
from simplecqrs import NOT_MINE, Command, DomainEvent, Mediator, NotMine, Publish, Registry, Stream, chain

__all__ = ["run"]


@frozen
class Pay(Command[str]):
    """Is paid in the third of three ways."""

    way: int


@frozen
class PayByHand(Command[str]):
    """Is paid in the same way, by a handler that asks one after the other."""

    way: int


@frozen
class Count(Stream[int]):
    """Is answered by ten numbers."""

    to: int


@frozen
class Tell(Command[None]):
    """Publishes one event."""


@frozen
class Told(DomainEvent):
    """Has many handlers."""


def first(command: Pay | PayByHand) -> str | NotMine:
    """Leave it to the second."""
    return "first" if command.way == 1 else NOT_MINE


def second(command: Pay | PayByHand) -> str | NotMine:
    """Leave it to the third."""
    return "second" if command.way == 2 else NOT_MINE


def third(command: Pay | PayByHand) -> str:
    """Take it."""
    return "third"


def by_hand(command: PayByHand) -> str:
    """Do what a chain does."""
    answer = first(command)
    if answer is not NOT_MINE:
        return str(answer)
    answer = second(command)
    if answer is not NOT_MINE:
        return str(answer)
    return third(command)


def count(stream: Count) -> Iterator[int]:
    """Yield numbers."""
    yield from range(stream.to)


def tell(command: Tell, publish: Publish) -> None:
    """Publish one event."""
    publish(Told())


def exhausted(iterate: Any, message: Any) -> None:
    """Take all items."""
    for _ in iterate(message):
        pass


def mediator() -> Mediator:
    """Return a mediator with a chain and a stream."""
    registry = Registry()
    registry.add(Pay, chain(first, second, third))
    registry.add(PayByHand, by_hand)
    registry.handles(Count)(count)
    return Mediator(registry)


def telling(handlers: int) -> Mediator:
    """Return a mediator whose event has so many handlers."""
    registry = Registry()
    registry.add(Tell, tell)
    for _ in range(handlers):
        registry.add(Told, lambda event: None)
    return Mediator(registry)


def knowing(messages: int) -> Mediator:
    """Return a mediator that knows so many messages."""
    registry = Registry()
    registry.add(PayByHand, by_hand)
    for number in range(messages - 1):
        registry.add(make_class(f"Message{number}", [], bases=(Command,)), lambda command: None)
    return Mediator(registry)


def run(*, full: bool) -> list[Line]:
    """Measure and print."""
    rounds, number = (60, 5_000) if full else (30, 2_000)
    bus, few, many = mediator(), knowing(10), knowing(1_000)
    fans = {size: telling(size) for size in (1, 10, 100)}
    subjects = {
        "chain": calls(number, bus.send, Pay(3)),
        "chain by hand": calls(number, bus.send, PayByHand(3)),
        "stream": calls(number, exhausted, bus.stream, Count(10)),
        "generator": calls(number, exhausted, count, Count(10)),
        "10 messages": calls(number, few.send, PayByHand(3)),
        "1000 messages": calls(number, many.send, PayByHand(3)),
        **{f"{size} handlers": calls(number // size or 1, fan.send, Tell()) for size, fan in fans.items()},
    }
    times = interleaved(subjects, rounds=rounds, clock=time.thread_time)
    lines = [
        _ratio(times, ("chain", "chain by hand"), "chain of three : the same by hand, both sent", 2.0, number),
        _stream(times, number),
        _ratio(times, ("1000 messages", "10 messages"), "send among 1,000 messages : among 10", 1.1, number),
        _fan_out(times, number),
    ]
    show("combined", lines, notes={"rounds": f"{rounds} of {number:,} calls each; medians of processor time"})
    return lines


def _ratio(times: Times, pair: tuple[str, str], what: str, goal: float, number: int) -> Line:
    mine, theirs = (statistics.median(times[name]) / number * 1e9 for name in pair)
    return Line(what, median_ratio(times, *pair), goal, detail=f"{mine:.0f} ns : {theirs:.0f} ns")


def _stream(times: Times, number: int) -> Line:
    """Tell what ten items cost over 1.2 times the bare generator."""
    mine, theirs = (statistics.median(times[name]) / number * 1e6 for name in ("stream", "generator"))
    what = "stream of ten over 1.2 x the bare generator"
    return Line(what, mine - 1.2 * theirs, 2.0, unit="us", detail=f"{mine:.2f} us : {theirs:.2f} us")


def _fan_out(times: Times, number: int) -> Line:
    """Tell how the cost of a handler grows from the first ten to the first hundred of an event."""
    each = {size: statistics.median(times[f"{size} handlers"]) / (number // size or 1) * 1e9 for size in (1, 10, 100)}
    ten, hundred = (each[10] - each[1]) / 9, (each[100] - each[10]) / 90
    return Line("a handler of 100 : a handler of 10", hundred / ten, 1.2, detail=f"{hundred:.0f} ns : {ten:.0f} ns")
