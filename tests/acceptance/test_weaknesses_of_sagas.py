"""What the predecessor's sagas could not do at all, done by one of ours (B29 of the weaknesses)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from attrs import frozen

from simplecqrs import NO_COMPENSATION, DomainEvent, Parallel, Retry, Step, wait_for
from simplecqrs.deadlines import remaining
from simplecqrs.saga import cancel, hand_in, pause, recover, resume, skip
from tests.simplecqrs.saga_world import Trip, World

ANN: Any = {"who": "ann", "why": "a test"}


@frozen
class Paid(DomainEvent):
    """What the saga waits for."""

    id: int


def test_b29_acts_are_retried_timed_beside_each_other_wait_and_have_a_point_of_no_return() -> None:
    """One saga with all of it: retry, deadline, Parallel, an event, a pivot; and people who pause, resume and skip."""
    world, left = World(), list[float | None]()
    world.fail("flight")
    world.fail("thank")
    saga = world.saga(
        Parallel(
            world.step("hotel"),
            world.step("flight", retry=Retry(2, first=0, jitter=0)),
            merge=lambda _, states: states[-1],
        ),
        Step("look", lambda _: left.append(remaining()), NO_COMPENSATION, timeout=5),
        Step("paid", wait_for(Paid, key="id", timeout=timedelta(days=2))),
        Step("ship", world.act("ship"), pivot=True),
        Step("thank", world.act("thank"), retry=Retry(1)),
    )
    bus = world.bus()

    waiting = saga.run(bus, Trip(7))
    pause(bus, waiting.saga_id, **ANN)
    hand_in(bus, Paid(7))
    assert recover(bus) == []
    resume(bus, waiting.saga_id, **ANN)
    [recovered] = recover(bus)
    assert recovered.result is not None
    skip(bus, waiting.saga_id, step="thank", **ANN)

    assert waiting.status == "WAITING"
    assert sorted(world.calls[:3]) == ["flight", "flight", "hotel"]
    assert [0 < (seconds or 0) <= 5 for seconds in left] == [True]
    assert recovered.result.status == "FAILED"
    assert saga.run(bus, Trip(0), saga_id=waiting.saga_id).status == "COMPLETED"


def test_b29_a_saga_is_cancelled_by_hand_and_undone() -> None:
    """Who did it, and why, is in its log."""
    world = World()
    saga = world.saga(world.step("hotel"), Step("paid", wait_for(Paid, key="id")), world.step("flight"))
    bus = world.bus()

    waiting = saga.run(bus, Trip(7))
    cancel(bus, waiting.saga_id, **ANN)
    recover(bus)

    assert world.calls == ["hotel", "-hotel"]
    assert saga.run(bus, Trip(0), saga_id=waiting.saga_id).status == "CANCELLED"
    assert [(e.who, e.error) for e in bus.sagas.history(waiting.saga_id) if e.action == "cancel"] == [("ann", "a test")]
