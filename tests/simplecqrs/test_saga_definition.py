"""Definitions of sagas: what is refused, and what becomes of stored sagas when they change."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from attrs import frozen

from simplecqrs import DomainEvent, Mediator, Parallel, Registry, Retry, Saga, Step, SyncSagaStep, wait_for
from simplecqrs.errors import DuplicateHandler, InvalidHandler, InvalidSaga, NotConfigured, SagaChanged, SagaNotFound
from simplecqrs.saga import MemorySagas
from tests.simplecqrs.saga_world import Killed, Trip, World


@frozen
class Paid(DomainEvent):
    """What is waited for."""

    trip: int


@frozen
class Other:
    """Another state."""


class Session:
    """Nobody knows what it is made of."""


@frozen
class Opaque:
    """A state that no codec can read."""

    sessions: list[Session]


class Twice(SyncSagaStep[Trip]):
    """A step with a way of being undone."""

    def act(self, state: Trip, /) -> None:
        """Do it."""

    def compensate(self, state: Trip, /) -> None:
        """Undo it."""


def act(state: Trip) -> None:
    """Do it."""


def of_other(state: Other) -> None:
    """Take another state."""


async def later(state: Trip) -> None:
    """Take its time."""


def make(*steps: Any, name: Any = "trip", state: Any = Trip) -> Saga[Any]:
    """Define a saga."""
    return Saga(name, state, list(steps), registry=Registry())


@pytest.mark.parametrize(
    ("steps", "complaint"),
    [
        ((), "it has no steps"),
        ((act,), "is no Step and no Parallel"),
        ((Step("a", act, act), Step("a", act)), "the step name 'a' is there twice"),
        ((Step("a", act, act), Step("b", act, aliases=["a"])), "the step name 'a' is there twice"),
        ((Step("a", act, pivot=True), Step("b", act, pivot=True)), "it has two pivots"),
        ((Parallel(Step("a", act, pivot=True), Step("b", act)), Step("c", act)), "its pivot is in a Parallel"),
        ((Step("a", act), Step("b", act)), "the step 'a' cannot be undone"),
        ((Step("a", Twice, fallback=Step("f", act)), Step("b", act)), "the fallback of the step 'a' cannot be undone"),
        ((Step("a", Twice, fallback=act), Step("b", act)), "the fallback of the step 'a' cannot be undone"),
        ((Step("a", act, pivot=True), Step("b", act, act)), "would never be called"),
        ((Step("a", Twice, act),), "two ways of being undone"),
        ((Step("a", 7),), "its act is a function, a SyncSagaStep or wait_for"),  # type: ignore[arg-type]
        ((Step("a", act, 7),), "its compensate is a function or NO_COMPENSATION"),  # type: ignore[arg-type]
        ((Step("a", act, fallback=7),), "its fallback is a function"),  # type: ignore[arg-type]
        ((Step("a", wait_for(Paid, key="trip", of=id), retry=Retry(2)),), "waits for an event"),
        ((Step("a", wait_for(Paid, key="order", of=id)),), "Paid has no field 'order'"),
        ((Step("a", wait_for(Paid, key="trip")),), "Trip has no field 'trip', for which the step 'a' waits"),
    ],
)
def test_a_definition_that_cannot_work_is_refused(steps: tuple[Any, ...], complaint: str) -> None:
    """Where it is defined, with what is wrong."""
    with pytest.raises(InvalidSaga, match=complaint):
        make(*steps)


@pytest.mark.parametrize("name", ["", " a", "a:b", "x" * 101, None, 7])
def test_a_name_that_cannot_be_stored_is_refused(name: Any) -> None:
    """Of a saga, and of a step."""
    with pytest.raises(InvalidSaga, match="name is 1 to 100 characters"):
        make(Step("a", act), name=name)
    with pytest.raises(InvalidSaga, match="name is 1 to 100 characters"):
        Step(name, act)


@pytest.mark.parametrize("timeout", [0, -1, math.inf, math.nan, "5"])
def test_a_timeout_that_is_none_is_refused(timeout: Any) -> None:
    """It is in seconds."""
    with pytest.raises(InvalidSaga, match="a step's timeout is in seconds"):
        Step("a", act, timeout=timeout)


def test_a_time_to_wait_that_is_over_is_refused() -> None:
    """It would fail at once."""
    with pytest.raises(InvalidSaga, match="is over before it begins"):
        wait_for(Paid, key="trip", timeout=timedelta(seconds=-1))


def test_only_events_are_waited_for() -> None:
    """Nothing else comes."""
    with pytest.raises(InvalidSaga, match="is to wait for a class of events"):
        wait_for(Trip, key="id")  # type: ignore[type-var]


def test_a_parallel_of_one_is_refused() -> None:
    """It is a step."""
    with pytest.raises(InvalidSaga, match="two steps or more"):
        Parallel(Step("a", act))


def test_a_state_that_is_no_class_is_refused() -> None:
    """Codecs read classes."""
    with pytest.raises(InvalidSaga, match="its state is a class"):
        make(Step("a", act), state=Trip())


def test_row_73_a_step_of_another_state_is_refused() -> None:
    """Its annotation says so."""
    with pytest.raises(InvalidHandler, match="Other"):
        make(Step("a", of_other))


def test_an_async_step_is_refused() -> None:
    """Nobody would await it."""
    with pytest.raises(InvalidHandler, match="async"):
        make(Step("a", later))


def test_two_sagas_of_one_name_are_refused() -> None:
    """What is stored could belong to either."""
    registry = Registry()
    Saga("trip", Trip, [Step("a", act)], registry=registry)

    with pytest.raises(DuplicateHandler):
        Saga("trip", Trip, [Step("a", act)], registry=registry)


def test_a_state_that_cannot_be_stored_is_a_problem_at_start_up() -> None:
    """With its field."""
    registry = Registry()
    Saga("opaque", Opaque, [Step("a", lambda _: None)], registry=registry)

    with pytest.raises(
        NotConfigured, match=r"the saga 'opaque': its state cannot be stored: Opaque.sessions: Session is a plain class"
    ):
        Mediator(registry).check()


def stopped(old: World, *steps: Any) -> tuple[MemorySagas, Any]:
    """Run a saga to the death of its process, and return what is stored."""
    saga_id, bus = uuid4(), old.bus()
    with pytest.raises(Killed):
        old.saga(*steps).run(bus, Trip(), saga_id=saga_id)
    return bus.sagas, saga_id  # type: ignore[return-value]


def test_a_step_that_is_gone_is_reported_before_anything_runs() -> None:
    """The saga waits for a definition that knows it."""
    old, new = World(), World()
    old.fail("b", Killed())
    sagas, saga_id = stopped(old, old.step("a"), old.step("b"))
    saga = new.saga(new.step("a"), new.step("c"))

    with pytest.raises(SagaChanged, match="has gone through 'b', which 'trip' lacks now"):
        saga.run(Mediator(new.registry, sagas=sagas), Trip(), saga_id=saga_id)

    assert new.calls == []


def test_a_renamed_step_goes_on_under_its_new_name() -> None:
    """Its alias says so."""
    old, new = World(), World()
    old.fail("b", Killed())
    sagas, saga_id = stopped(old, old.step("a"), old.step("b"))
    saga = new.saga(new.step("first", aliases=["a"]), new.step("second", aliases=["b"]), new.step("third"))

    result = saga.run(Mediator(new.registry, sagas=sagas), Trip(), saga_id=saga_id)

    assert (new.calls, result.status) == (["second", "third"], "COMPLETED")


def test_a_step_that_is_new_where_a_saga_has_been_is_not_run() -> None:
    """What comes after it has happened already."""
    old, new = World(), World()
    old.fail("b", Killed())
    sagas, saga_id = stopped(old, old.step("a"), old.step("b"))
    saga = new.saga(new.step("new"), new.step("a"), new.step("b"), new.step("c"))

    result = saga.run(Mediator(new.registry, sagas=sagas), Trip(), saga_id=saga_id)

    assert (new.calls, result.status) == (["b", "c"], "COMPLETED")


def test_steps_in_another_order_are_all_finished() -> None:
    """What was begun is settled, wherever it is now."""
    old, new = World(), World()
    old.fail("b", Killed())
    sagas, saga_id = stopped(old, old.step("a"), old.step("b"))
    new.fail("b")
    saga = new.saga(new.step("b"), new.step("a"), new.step("c"))

    result = saga.run(Mediator(new.registry, sagas=sagas), Trip(), saga_id=saga_id)

    assert (new.calls, result.status) == (["b", "-a", "-b"], "COMPENSATED")


def test_a_step_that_joins_a_parallel_is_begun_beside_what_was() -> None:
    """Nothing is begun twice."""
    old, new = World(), World()
    old.fail("b", Killed())
    sagas, saga_id = stopped(old, old.step("a"), old.step("b"))
    saga = new.saga(new.step("a"), Parallel(new.step("b"), new.step("b2"), merge=lambda state, _: state), new.step("c"))

    result = saga.run(Mediator(new.registry, sagas=sagas), Trip(), saga_id=saga_id)

    assert (sorted(new.calls), result.status) == (["b", "b2", "c"], "COMPLETED")


def test_a_saga_that_has_ended_can_be_looked_at_whatever_has_changed() -> None:
    """Nothing of it runs any more."""
    old, new = World(), World()
    bus = old.bus()
    saga_id = old.saga(old.step("a")).run(bus, Trip(1)).saga_id
    saga = new.saga(new.step("b"))

    result = saga.run(Mediator(new.registry, sagas=bus.sagas), Trip(), saga_id=saga_id)

    assert (result.status, result.state) == ("COMPLETED", Trip(1, ("a",)))


def test_a_saga_of_another_definition_is_not_found() -> None:
    """Its id is of that one."""
    world = World()
    other = Saga("other", Trip, [Step("a", act)], registry=world.registry)
    trip, bus = world.saga(world.step("a")), world.bus()
    saga_id = trip.run(bus, Trip()).saga_id

    with pytest.raises(SagaNotFound, match="is a saga 'trip', not 'other'"):
        other.run(bus, Trip(), saga_id=saga_id)
    with pytest.raises(SagaNotFound, match="is a saga 'trip', not 'other'"):
        other.start(bus, Trip(), saga_id=saga_id)
