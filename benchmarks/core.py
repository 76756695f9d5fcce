"""The mediator against calling the same handlers by hand, and what importing it costs."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from attrs import frozen

from benchmarks.measure import Times, calls, interleaved, median_ratio
from benchmarks.report import Line, show
from simplecqrs import Command, DomainEvent, Mediator, Publish, Registry

__all__ = ["run"]

IMPORT = "import time; b = time.process_time(); import {}; print(time.process_time() - b)"


@frozen
class Rename(Command[int]):
    """Is handled by a function that takes nothing else."""

    number: int


@frozen
class Publishing(Command[int]):
    """Is handled by a function that takes publish and does not use it."""

    number: int


@frozen
class Announcing(Command[int]):
    """Is handled by a function that publishes one event."""

    number: int


@frozen
class Announced(DomainEvent):
    """Has one handler."""

    number: int


def rename(command: Rename) -> int:
    """Answer."""
    return command.number


def publishing(command: Publishing, publish: Publish) -> int:
    """Answer."""
    return command.number


def announcing(command: Announcing, publish: Publish) -> int:
    """Publish one event, and answer."""
    publish(Announced(command.number))
    return command.number


def announced(event: Announced) -> None:
    """Do nothing."""


def middleware(message: Any, call_next: Callable[[Any], Any]) -> Any:
    """Surround a call."""
    return call_next(message)


def by_hand(command: Any) -> Any:
    """Do what a mediator does, as one would write it for oneself: events are kept in a list and handled at the end."""
    events: list[Any] = []
    answer = HANDLERS[type(command)](command, events.append)
    for event in events:
        for handler in LISTENERS[type(event)]:
            handler(event)
    return answer


HANDLERS: dict[type[Any], Callable[..., Any]] = {Announcing: announcing}
LISTENERS: dict[type[Any], list[Callable[[Any], None]]] = {Announced: [announced]}


def _innermost(command: Rename) -> int:
    return rename(command)


def _second(command: Rename) -> Any:
    return middleware(command, _innermost)


def _first(command: Rename) -> Any:
    return middleware(command, _second)


def nested_by_hand(command: Rename) -> Any:
    """Call three middlewares as one would nest them by hand."""
    return middleware(command, _first)


def mediator(*, middlewares: int = 0) -> Mediator:
    """Return a mediator with all handlers."""
    registry = Registry()
    registry.add(Rename, rename)
    registry.add(Publishing, publishing)
    registry.add(Announcing, announcing)
    registry.add(Announced, announced)
    return Mediator(registry, middlewares=[middleware] * middlewares)


def run(*, full: bool) -> list[Line]:
    """Measure and print."""
    rounds, number = (60, 20_000) if full else (30, 10_000)
    bus, surrounded = mediator(), mediator(middlewares=3)
    subjects = {
        "handler": calls(number, rename, Rename(1)),
        "send": calls(number, bus.send, Rename(1)),
        "handler with publish": calls(number, publishing, Publishing(1), print),
        "send with publish": calls(number, bus.send, Publishing(1)),
        "nested by hand": calls(number, nested_by_hand, Rename(1)),
        "three middlewares": calls(number, surrounded.send, Rename(1)),
        "by hand": calls(number, by_hand, Announcing(1)),
        "one event": calls(number, bus.send, Announcing(1)),
    }
    times = interleaved(subjects, rounds=rounds, clock=time.thread_time)
    pairs = [
        ("send", "handler", "send of a (command) handler : calling it", 8.0),
        ("send with publish", "handler with publish", "send of a (command, publish) handler : calling it", 11.0),
        ("three middlewares", "nested by hand", "send through three middlewares : the same nested by hand", 2.0),
        ("one event", "by hand", "send with one handled event : by hand", 2.2),
    ]
    lines = [
        Line(what, median_ratio(times, subject, baseline), goal, detail=_detail(times, subject, baseline, number))
        for subject, baseline, what, goal in pairs
    ]
    lines.append(_imports(rounds))
    show("core", lines, notes={"rounds": f"{rounds} of {number:,} calls each; medians of processor time"})
    return lines


def _detail(times: Times, subject: str, baseline: str, number: int) -> str:
    mine, theirs = (statistics.median(times[name]) / number * 1e9 for name in (subject, baseline))
    return f"{mine:.0f} ns : {theirs:.0f} ns"


def _imports(rounds: int) -> Line:
    """Measure importing in fresh processes: what ``simplecqrs`` costs after ``attrs``."""
    times: dict[str, list[float]] = {"attrs": [], "attrs, simplecqrs": []}
    for modules in times:
        _import_seconds(modules)  # so that all is compiled
    for _ in range(rounds):
        for modules, found in times.items():
            found.append(_import_seconds(modules) * 1000)
    attrs, both = map(statistics.median, times.values())
    extra = statistics.median(b - a for a, b in zip(*times.values(), strict=True))
    return Line("import simplecqrs over import attrs", extra, 10.0, unit="ms", detail=f"{both:.1f} ms : {attrs:.1f} ms")


def _import_seconds(modules: str) -> float:
    command = [sys.executable, "-c", IMPORT.format(modules)]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return float(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout)
