"""Steps that wait for events, and steps that run beside each other."""

from __future__ import annotations

from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from attrs import define, evolve, field, frozen

from simplecqrs import DomainEvent, Parallel, Registry, Retry, Saga, Step, wait_for
from simplecqrs.mediator import Mediator
from simplecqrs.saga import MemorySagas, cancel, hand_in, recover, recover_one, retry, skip
from tests.simplecqrs.saga_world import Boom, Killed, Trip, World

ANN: Any = {"who": "ann", "why": "a test"}


@frozen
class Paid(DomainEvent):
    """What is waited for."""

    id: int
    note: str = ""


@frozen
class Sent(DomainEvent):
    """What is waited for as well."""

    id: int


@define
class Basket:
    """A state that can be changed."""

    id: int
    things: list[str] = field(factory=list[str])


@pytest.fixture
def world() -> World:
    """Return a world in which nothing has happened."""
    return World()


def paid(state: Trip, event: Paid) -> Trip:
    """Take what an event brings."""
    if event.note == "fails":
        raise Boom
    return evolve(state, notes=(*state.notes, event.note))


def waiting(name: str = "paid", **options: Any) -> Step[Trip]:
    """Make a step that waits."""
    return Step(name, wait_for(Paid, key="id", then=paid, **options))


def test_a_saga_waits_for_its_event_and_takes_what_it_brings(world: World) -> None:
    """Those of others are others'."""
    saga, bus = world.saga(world.step("a"), waiting(), world.step("b")), world.bus()
    one, two = saga.run(bus, Trip(1)), saga.run(bus, Trip(2))

    found = hand_in(bus, Paid(2, "thanks"))
    recover(bus)

    assert (one.status, two.status, found) == ("WAITING", "WAITING", [two.saga_id])
    assert saga.run(bus, Trip(), saga_id=two.saga_id).unwrap().notes == ("a", "thanks", "b")
    assert saga.run(bus, Trip(), saga_id=one.saga_id).status == "WAITING"


def test_an_event_that_comes_first_is_kept(world: World) -> None:
    """Until somebody waits for it."""
    saga, bus = world.saga(world.step("a"), waiting(), world.step("b")), world.bus()

    hand_in(bus, Paid(1, "early"))

    assert saga.run(bus, Trip(1)).unwrap().notes == ("a", "early", "b")


def test_an_event_that_came_before_a_saga_was_started_is_taken(world: World) -> None:
    """Also if it is waited for at once."""
    saga, bus = world.saga(waiting(), world.step("b")), world.bus()
    hand_in(bus, Paid(1, "early"))

    saga_id = saga.start(bus, Trip(1))
    recover(bus)

    assert saga.run(bus, Trip(), saga_id=saga_id).unwrap().notes == ("early", "b")


def test_what_does_not_come_in_time_has_failed(world: World) -> None:
    """Not before its time is over, whoever looks."""
    saga, bus = world.saga(world.step("a"), waiting(timeout=timedelta(seconds=60))), world.bus()
    saga_id = saga.run(bus, Trip(1)).saga_id

    world.clock.now = 59
    assert (recover(bus), recover_one(bus, saga_id).status) == ([], "WAITING")
    world.clock.now = 61
    recover(bus)

    result = saga.run(bus, Trip(), saga_id=saga_id)
    assert (result.status, world.calls) == ("COMPENSATED", ["a", "-a"])
    assert "did not come in time" in result.error


def test_what_is_waited_for_after_the_pivot_can_be_waited_for_again(world: World) -> None:
    """It has FAILED when its time is over, and a person says what then."""
    saga = world.saga(world.step("a", pivot=True), waiting(timeout=timedelta(seconds=60)))
    bus = world.bus()
    saga_id = saga.run(bus, Trip(1)).saga_id
    world.clock.now = 61
    recover(bus)
    assert saga.run(bus, Trip(), saga_id=saga_id).status == "FAILED"

    retry(bus, saga_id, **ANN)
    hand_in(bus, Paid(1, "late"))
    recover(bus)

    assert saga.run(bus, Trip(), saga_id=saga_id).unwrap().notes == ("a", "late")


def test_an_event_that_cannot_be_taken_is_its_steps_failure(world: World) -> None:
    """It would never be otherwise."""
    saga, bus = world.saga(world.step("a"), waiting(), world.step("b")), world.bus()
    saga_id = saga.run(bus, Trip(1)).saga_id

    hand_in(bus, Paid(1, "fails"))
    recover(bus)

    assert saga.run(bus, Trip(), saga_id=saga_id).status == "COMPENSATED"
    assert world.calls == ["a", "-a"]


def test_a_saga_that_waits_can_be_cancelled_and_skipped(world: World) -> None:
    """Nothing is called for that."""
    saga, bus = world.saga(world.step("a"), waiting(), world.step("b")), world.bus()
    one, two = saga.run(bus, Trip(1)).saga_id, saga.run(bus, Trip(2)).saga_id

    cancel(bus, one, **ANN)
    skip(bus, two, step="paid", **ANN)
    recover(bus)

    assert saga.run(bus, Trip(), saga_id=one).status == "CANCELLED"
    assert saga.run(bus, Trip(), saga_id=two).unwrap().notes == ("a", "b")


def test_two_steps_wait_beside_each_other(world: World) -> None:
    """Both are to come, in whatever order."""
    both = Parallel(waiting(), Step("sent", wait_for(Sent, key="id")))
    saga, bus = world.saga(both, world.step("b")), world.bus()
    saga_id = saga.run(bus, Trip(1)).saga_id

    hand_in(bus, Sent(1))
    assert saga.run(bus, Trip(), saga_id=saga_id).status == "WAITING"
    hand_in(bus, Paid(1, "paid"))
    recover(bus)

    assert saga.run(bus, Trip(), saga_id=saga_id).unwrap().notes == ("paid", "b")


def test_a_branch_that_fails_lets_nobody_wait_any_more(world: World) -> None:
    """All of the Parallel is undone."""
    saga = world.saga(world.step("a"), Parallel(waiting(), world.step("b")), world.step("c"))
    world.fail("b")

    result = saga.run(world.bus(), Trip(1))

    assert (result.status, world.calls) == ("COMPENSATED", ["a", "b", "-a"])


def test_a_branch_that_fails_lets_no_other_be_tried_again(world: World) -> None:
    """It would only be undone."""
    saga = world.saga(Parallel(world.step("a"), world.step("b", retry=Retry(5, first=100))), world.step("c"))
    world.fail("a")
    world.fail("b")

    result = saga.run(world.bus(), Trip())

    assert (result.status, sorted(world.calls)) == ("COMPENSATED", ["a", "b"])


def test_branches_run_at_the_same_time_and_their_states_are_merged() -> None:
    """Each field is what the branch has made of it that has changed it."""
    world, together = World(), Barrier(2, timeout=30)

    def hotel(state: Trip) -> Trip:
        together.wait()
        return evolve(state, hotel="Ritz")

    def flight(state: Trip) -> Trip:
        together.wait()
        return evolve(state, flight="LH1")

    both = Parallel(Step("hotel", hotel, world.act("-hotel")), Step("flight", flight, world.act("-flight")))
    saga = world.saga(both, world.step("b"))

    result = saga.run(world.bus(), Trip())

    assert result.unwrap() == Trip(0, ("b",), "Ritz", "LH1")


def test_branches_that_contradict_each_other_are_undone(world: World) -> None:
    """Both have been done."""
    saga = world.saga(Parallel(world.step("a"), world.step("b")), world.step("c"))

    result = saga.run(world.bus(), Trip())

    assert (result.status, sorted(world.calls)) == ("COMPENSATED", ["-a", "-b", "a", "b"])
    assert "two steps that run in parallel have set Trip.notes" in result.error


def test_a_merge_that_fails_after_the_pivot_undoes_nothing(world: World) -> None:
    """A person has to look."""

    def merge(_: Trip, __: Any) -> Trip:
        raise Boom

    saga = world.saga(
        world.step("a", pivot=True), Parallel(Step("b", world.act("b")), Step("c", world.act("c")), merge=merge)
    )

    result = saga.run(world.bus(), Trip())

    assert (result.status, sorted(world.calls)) == ("FAILED", ["a", "b", "c"])


def test_many_branches_end_at_once_and_none_is_lost(world: World) -> None:
    """Each brings the record up to date before it stores."""
    steps = [world.step(f"s{n}") for n in range(12)]
    saga = world.saga(Parallel(*steps, merge=lambda before, _: before), world.step("end"))

    result = saga.run(world.bus(), Trip())

    assert (result.status, len(world.calls)) == ("COMPLETED", 13)


def test_branches_of_which_one_dies_are_taken_up_again(world: World) -> None:
    """What had ended is not called again."""
    saga = world.saga(Parallel(world.step("a"), world.step("b"), merge=lambda before, _: before), world.step("c"))
    sagas = MemorySagas(clock=world.clock)
    sagas.parallel = False
    bus = world.bus(sagas=sagas)
    world.fail("b", Killed())

    with pytest.raises(Killed):
        saga.run(bus, Trip())
    [outcome] = recover(bus)

    assert outcome.result is not None
    assert (outcome.result.status, world.calls) == ("COMPLETED", ["a", "b", "b", "c"])


def test_a_state_that_can_be_changed_is_a_copy_for_each_call() -> None:
    """What a step that fails has put into it is gone; what one that is done has, stays."""
    registry = Registry()

    def add(state: Basket) -> None:
        state.things.append("one")

    def fails(state: Basket) -> None:
        state.things.append("two")
        raise Boom

    saga = Saga("basket", Basket, [Step("add", add, lambda _: None), Step("fails", fails)], registry=registry)

    result = saga.run(Mediator(registry), Basket(1))

    assert (result.status, result.state) == ("COMPENSATED", Basket(1, ["one"]))


def test_a_frozen_state_with_a_list_is_a_copy_as_well() -> None:
    """The list can be changed, whatever holds it."""
    registry = Registry()

    def fails(state: Shelf) -> None:
        state.books.append("two")
        raise Boom

    saga = Saga("shelf", Shelf, [Step("fails", fails)], registry=registry)

    assert saga.run(Mediator(registry), Shelf(["one"])).state == Shelf(["one"])


@frozen
class Shelf:
    """A state that seems not to be changeable."""

    books: list[str]
