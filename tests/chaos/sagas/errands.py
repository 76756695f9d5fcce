"""Sagas that ask a bank, and those of many workers; registered in each process that CHAOS_SAGAS tells to."""

from __future__ import annotations

import os
import random
import signal
import time

from simplecqrs import Registry, Retry
from simplecqrs.saga import NO_COMPENSATION, Saga, Step, current_step, definition
from tests.chaos.project.faults import at
from tests.chaos.project.way import WAY
from tests.chaos.sagas.bank import ask
from tests.chaos.sagas.planted import FAULTS
from tests.chaos.sagas.stories import AT_ONCE, Tale, net, write

__all__ = ["ERRANDS", "make_errands", "register"]

BANK = os.environ.get("CHAOS_BANK", "")
#: Seconds of the leases.
LEASE = float(os.environ.get("CHAOS_LEASE", "90"))
#: ``before`` or ``after``: at which side of asking the bank for the first time the process stops itself.
STOP = os.environ.get("CHAOS_STOP", "")
SLOW = float(os.environ.get("CHAOS_STEP_SECONDS", "0"))
#: paid: all goes well; unpaid: what comes after the bank fails; doubtful: the bank is not asked a second time, since
#: something else fails then; busy: one of three fails at random, and has no bank.
ERRANDS = ("paid", "unpaid", "doubtful", "busy")


def register() -> None:
    """Make the sagas known to the project, with short leases, and plant a fault."""
    from django_cqrs import bus

    definition.MARGIN = LEASE / 2  # type: ignore[misc]
    make_errands(bus.registry)
    if fault := os.environ.get("CHAOS_SAGA_FAULT"):
        FAULTS[fault]()


def make_errands(registry: Registry) -> dict[str, Saga[Tale]]:
    """Make them."""
    return {name: _busy(registry) if name == "busy" else _errand(registry, name) for name in ERRANDS}


def _errand(registry: Registry, name: str) -> Saga[Tale]:
    def charge(_: Tale) -> None:
        step = current_step()
        if name == "doubtful" and step.unknown:
            raise RuntimeError("something else fails")
        _say("charge", account=str(step.saga_id), key=step.key)
        write(1, "act", 1)

    def refund(_: Tale) -> None:
        step = current_step()
        _say("refund", account=str(step.saga_id), key=step.key, undoes=step.undoes)
        write(1, "undo", -1)

    def ship(_: Tale) -> None:
        if name == "unpaid":
            raise RuntimeError("nothing left")
        write(2, "act", 1)

    steps = [
        Step("step 0", lambda _: write(0, "act", 1), lambda _: write(0, "undo", -1), timeout=LEASE / 2),
        Step("step 1", charge, refund, unknown_on=(OSError,), timeout=LEASE / 2, retry=Retry(2, first=0, jitter=0)),
        Step("step 2", ship, NO_COMPENSATION, timeout=LEASE / 2),
    ]
    return Saga(name, Tale, steps, compensation_retry=AT_ONCE, registry=registry)


def _say(what: str, **body: str) -> None:
    """Ask the bank; on both sides of that the process may die, or be stopped."""
    first = what == "charge" and current_step().attempt == 1
    WAY.come_to("ask:before")
    if first and STOP == "before":
        os.kill(os.getpid(), signal.SIGSTOP)
    ask(BANK, what, **body)
    WAY.moved = True
    if first and STOP == "after":
        os.kill(os.getpid(), signal.SIGSTOP)
    WAY.come_to("ask:after")


def _busy(registry: Registry) -> Saga[Tale]:
    steps = [_busy_step(place) for place in range(3)]
    return Saga("busy", Tale, steps, compensation_retry=Retry(50, first=0, jitter=0), registry=registry)


def _busy_step(place: int) -> Step[Tale]:
    def act(_: Tale) -> None:
        at("act")
        time.sleep(random.uniform(0, SLOW))
        if place == 2 and current_step().saga_id.int % 3 == 0:
            raise RuntimeError("every third fails")
        write(place, "act", 1)

    def undo(_: Tale) -> None:
        at("undo")
        time.sleep(random.uniform(0, SLOW))
        write(place, "undo", -net(place))

    return Step(f"step {place}", act, undo, timeout=LEASE / 2)
