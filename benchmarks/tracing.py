"""What tracing and the fields of log lines cost: while they are off, and when they are on."""

from __future__ import annotations

import logging
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

from attrs import evolve

from benchmarks.measure import Times, interleaved, median_ratio
from benchmarks.report import Line, show
from benchmarks.servers import prepare, settings_of_servers

__all__ = ["run"]

#: Of one turn.
EVENTS, RECORDS = 2000, 1000
#: Sends a command many times and prints the nanoseconds of one; before that it imports what it is told to.
SENDS = """
import sys, time
from itertools import repeat
from benchmarks.core import Rename, mediator
{}
send, command = mediator().send, Rename(1)
send(command)
def measure():
    began = time.process_time()
    for _ in repeat(None, 100_000):
        send(command)
    return time.process_time() - began
print(min(measure() for _ in range(5)) * 1e4)
"""
LOADED = "import opentelemetry.trace, simplecqrs.logs, simplecqrs.middlewares.spans"


def run(*, full: bool) -> list[Line]:
    """Measure and print."""
    prepare()
    rounds, number = (60, 100) if full else (30, 40)
    times = interleaved(_commands(number), rounds=rounds, clock=time.thread_time)
    stored = interleaved(_rows(), rounds=2 * rounds, clock=time.thread_time)
    logged = interleaved(_records(), rounds=rounds, clock=time.thread_time)
    lines = [
        _sends(15 if full else 9),
        Line(
            "events made rows of the outbox, tracing off : without the code for it",
            median_ratio(stored, "off", "without"), 1.03, detail=_microseconds(stored, "off", "without", EVENTS),
        ),
        _line(times, number, "off", "without the code for it"),
        _line(times, number, "on", "off"),
        Line(
            "a log record with CorrelationFilter : without", median_ratio(logged, "filtered", "plain"), None,
            detail=_microseconds(logged, "filtered", "plain", RECORDS),
        ),
    ]  # fmt: skip
    what = f"{rounds} of {number} commands each: an UPDATE through the ORM, an event, the INSERT into the outbox"
    note = "medians of the processor time of the client; what PostgreSQL takes is not counted"
    show("tracing", lines, notes={"rounds": what, "note": note, **settings_of_servers(redis=False)})
    return lines


def _line(times: Times, number: int, subject: str, baseline: str) -> Line:
    what = f"a command with an event, tracing {subject} : {baseline}"
    detail = _microseconds(times, subject, baseline, number)
    return Line(what, median_ratio(times, subject, baseline), detail=detail)


def _microseconds(times: Times, subject: str, baseline: str, number: int) -> str:
    return " : ".join(f"{statistics.median(times[name]) / number * 1e6:.1f} us" for name in (subject, baseline))


def _sends(rounds: int) -> Line:
    """Compare ``send`` in processes that have imported all of it with ``send`` in others."""
    found: dict[str, list[float]] = {"": [], LOADED: []}
    for _ in range(rounds):
        for program, times in found.items():
            done = subprocess.run(
                [sys.executable, "-c", SENDS.format(program)], capture_output=True, text=True, check=True,
                env={**os.environ, "PYTHONPATH": str(Path.cwd())},
            )  # fmt: skip
            times.append(float(done.stdout))
    loaded, plain = (statistics.median(found[program]) for program in (LOADED, ""))
    return Line("send, all of it imported : nothing", loaded / plain, 1.05, detail=f"{loaded:.0f} ns : {plain:.0f} ns")


def _commands(number: int) -> dict[str, Callable[[], None]]:
    """Return commands with an event: without a look at the setting, with tracing off, and recorded by an SDK."""
    from django.test import override_settings

    from benchmarks.handlers import Telling
    from benchmarks.models import Account
    from benchmarks.settings import DJANGO_CQRS
    from django_cqrs import DjangoMediator, bus, tracing
    from django_cqrs.conf import settings

    _record_spans()
    command = Telling(Account.objects.create().pk, 1)
    tracer = DjangoMediator()
    with override_settings(DJANGO_CQRS={**DJANGO_CQRS, "TRACING": True}):
        tracer.send(command)
    bus.send(command)
    is_on = evolve(settings(), tracing=True)

    def sending(mediator: DjangoMediator, surrounded: Callable[[], AbstractContextManager[Any]]) -> Callable[[], None]:
        def send() -> None:
            with surrounded():
                for _ in range(number):
                    mediator.send(command)

        return send

    return {
        "without the code for it": sending(bus, lambda: patch("django_cqrs.outbox.message_spans", lambda: None)),
        "off": sending(bus, nullcontext),
        "on": sending(tracer, lambda: patch.object(tracing, "settings", lambda: is_on)),
    }


def _rows() -> dict[str, Callable[[], None]]:
    """Return transactions of one event each, as far as they are ours: from the event to the row."""
    from benchmarks.handlers import Changed
    from django_cqrs import bus, outbox
    from simplecqrs.unit import new_published

    event = Changed(1, 1)
    plan = bus._compiled().events.plan_for(event)

    def storing(*patches: AbstractContextManager[Any]) -> Callable[[], None]:
        def store() -> None:
            with ExitStack() as stack:
                for one in patches:
                    stack.enter_context(one)
                for _ in range(EVENTS):
                    list(outbox._rows(bus.vocabulary, [new_published(event, plan, None, None)]))

        return store

    return {"without": storing(patch("django_cqrs.outbox.message_spans", lambda: None)), "off": storing()}


def _record_spans() -> None:
    """Record spans as an SDK does, and forget them."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

    provider = TracerProvider()
    provider.add_span_processor(SpanProcessor())
    trace.set_tracer_provider(provider)


def _records() -> dict[str, Callable[[], None]]:
    """Return log records inside of a handler, with the filter and without."""
    from benchmarks.core import Rename
    from simplecqrs import Mediator, Registry
    from simplecqrs.logs import CorrelationFilter

    def writing(*filters: logging.Filter) -> Callable[[], None]:
        handler, log = logging.NullHandler(), logging.getLogger(f"bench.{len(filters)}")
        log.propagate, log.level = False, logging.INFO
        handler.handle = handler.filter  # type: ignore[assignment, method-assign]
        for one in filters:
            handler.addFilter(one)
        log.addHandler(handler)
        registry = Registry()
        registry.add(Rename, lambda command: list(_written(log)))
        send = Mediator(registry).send
        return lambda: send(Rename(1)) and None

    return {"plain": writing(), "filtered": writing(CorrelationFilter())}


def _written(log: logging.Logger) -> Iterator[None]:
    for number in range(RECORDS):
        yield log.info("line %d", number)
