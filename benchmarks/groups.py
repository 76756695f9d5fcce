"""What python-cqrs measures itself by, group by group, in processor time per call; outbox and inbox are elsewhere."""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from benchmarks.group_messages import (
    HISTORY,
    JOINED,
    AskRank,
    Count,
    Grow,
    Joined,
    Meeting,
    Order,
    Rank,
    Rename,
    bus,
    checkout,
)
from benchmarks.measure import Call, interleaved
from benchmarks.report import Line, show
from simplecqrs import Mediator, Registry
from simplecqrs.breakers import NamedBreaker
from simplecqrs.codec import JSONCodec
from simplecqrs.saga.sqlite import SQLiteSagas

__all__ = ["GROUPS", "run"]

#: What opens a group: its subjects by their names.
Group = Callable[[ExitStack], Mapping[str, Call]]
#: Events of a chain of three levels: 10, and 5 for each.
CHAIN: Final = Grow(10, 5)


@frozen
class Created:
    """Makes a notification and encodes it."""

    codec: JSONCodec

    def __call__(self) -> bytes:
        """Do it."""
        return self.codec.encode(Joined(JOINED.user_id, JOINED.meeting, JOINED.at))


def _times(number: int, function: Callable[[Any], object], argument: object) -> Call:
    return lambda: [function(argument) for _ in range(number)]


def _requests(_: ExitStack) -> Mapping[str, Call]:
    send = bus().send
    one = Rename(7)
    return {"command": lambda: send(one), "query": lambda: send(Rank(7)), "ten commands": _times(10, send, one)}


def _events(_: ExitStack) -> Mapping[str, Call]:
    send = bus().send
    return {
        "one event": lambda: send(Grow(1)),
        "ten events": lambda: send(Grow(10)),
        "notification, made and encoded": Created(JSONCodec()),
    }


def _event_chain(_: ExitStack) -> Mapping[str, Call]:
    in_turn, side_by_side = bus(), bus(event_workers=4)
    return {
        "60 events of 2 levels": lambda: in_turn.send(CHAIN),
        "the same by 4 threads": lambda: side_by_side.send(CHAIN),
    }


def _chains(_: ExitStack) -> Mapping[str, Call]:
    send = bus().send
    asked = {"first": AskRank(1), "second": AskRank(2), "third": AskRank(3), "default": AskRank(4)}
    found: dict[str, Call] = {f"hit at the {name}": _times(1, send, asked[name]) for name in asked}
    return {**found, "ten requests": _times(10, send, AskRank(3))}


def _streams(_: ExitStack) -> Mapping[str, Call]:
    stream = bus().stream
    found: dict[str, Call] = {f"{size} items": lambda size=size: [*stream(Count(size))] for size in (1, 10, 100)}
    return {**found, "ten of five items": _times(10, lambda count: [*stream(count)], Count(5))}


def _serialization(_: ExitStack) -> Mapping[str, Call]:
    codec = JSONCodec()
    flat, nested = codec.encode(JOINED), codec.encode(HISTORY)
    return {
        "encode": lambda: codec.encode(JOINED),
        "decode": lambda: codec.decode(Joined, flat),
        "nested, there": lambda: codec.encode(HISTORY),
        "nested, and back": lambda: codec.decode(Meeting, nested),
    }


def _sagas(_: ExitStack) -> Mapping[str, Call]:
    registry = Registry()
    one, three, runner = checkout(registry, 1), checkout(registry, 3), Mediator(registry)
    return {
        "one step": lambda: one.run(runner, Order(1)),
        "three steps": lambda: three.run(runner, Order(1)),
        "ten of three steps": _times(10, lambda state: three.run(runner, state), Order(1)),
    }


def _stored_sagas(stack: ExitStack) -> Mapping[str, Call]:
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    registry = Registry()
    one, three = checkout(registry, 1), checkout(registry, 3)
    runner = Mediator(registry, sagas=SQLiteSagas(Path(folder) / "sagas.sqlite3"))
    return {
        "one step": lambda: one.run(runner, Order(1)),
        "three steps": lambda: three.run(runner, Order(1)),
    }


def _saga_fallbacks(stack: ExitStack) -> Mapping[str, Call]:
    stack.enter_context(_silence())
    registry = Registry()
    plain = checkout(registry, 3, failing=True)
    guarded = checkout(registry, 3, failing=True, breaker=NamedBreaker("bank", fail_max=1, reset_seconds=3600))
    runner = Mediator(registry)
    guarded.run(runner, Order(1))  # which opens the breaker
    return {
        "without a breaker": lambda: plain.run(runner, Order(1)),
        "with a breaker that is open": lambda: guarded.run(runner, Order(1)),
    }


#: By the predecessors' names for them.
GROUPS: Final[Mapping[str, Group]] = {
    "request handling": _requests,
    "event handling": _events,
    "event chain": _event_chain,
    "chain of responsibility": _chains,
    "streaming": _streams,
    "serialization": _serialization,
    "saga in memory": _sagas,
    "saga in a database": _stored_sagas,
    "saga fallback": _saga_fallbacks,
}


@contextmanager
def _silence() -> Any:
    """Log nothing meanwhile: each fallback is told."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def run(*, full: bool) -> list[Line]:
    """Measure and print."""
    rounds, number = (30, 400) if full else (10, 100)
    lines = [line for name in GROUPS for line in _measure(name, rounds, number)]
    show("groups", lines, notes={"rounds": f"{rounds} of {number} calls each; medians of processor time"})
    return lines


def _measure(name: str, rounds: int, number: int) -> list[Line]:
    with ExitStack() as stack:
        subjects = {what: _repeated(number, call) for what, call in GROUPS[name](stack).items()}
        clock = time.process_time if name == "event chain" else time.thread_time
        times = interleaved(subjects, rounds=rounds, clock=clock)
    return [Line(f"{name}: {what}", statistics.median(times[what]) / number * 1e6, unit="us") for what in subjects]


def _repeated(number: int, call: Call) -> Call:
    def calls() -> None:
        for _ in range(number):
            call()

    return calls
