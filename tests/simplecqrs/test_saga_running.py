"""Sagas in the foreground: forward, back, fallbacks, attempts, events, and what surrounds them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest

from simplecqrs import (
    NO_COMPENSATION,
    Command,
    Mediator,
    OutcomeUnknown,
    Registry,
    Retry,
    Saga,
    Step,
    SyncSagaStep,
    context,
    current,
    current_step,
)
from simplecqrs.deadlines import remaining
from simplecqrs.errors import (
    InvalidSaga,
    NotConfigured,
    OutsideDispatch,
    SagaBusy,
    SagaFailed,
    SagaMovedOn,
    SagaNotFound,
)
from simplecqrs.saga import MemorySagas, RunStep, recover
from tests.simplecqrs.saga_world import Boom, Killed, Trip, World

AT_ONCE = Retry(3, first=0)


class Hotel:
    """A dependency."""

    def __init__(self) -> None:
        self.booked = list[str]()


class Book(SyncSagaStep[Trip]):
    """A step that is a class."""

    def __init__(self, hotel: Hotel) -> None:
        self.hotel = hotel

    def act(self, state: Trip, /) -> None:
        """Do it."""
        self.hotel.booked.append("book")

    def compensate(self, state: Trip, /) -> None:
        """Undo it."""
        self.hotel.booked.append("cancel")


@pytest.fixture
def world() -> World:
    """Return a world in which nothing has happened."""
    return World()


def owner_of(bus: Mediator, saga_id: Any) -> str:
    """Return who holds a saga."""
    record = bus.sagas.load(saga_id)
    assert record is not None
    return record.owner


def log_of(bus: Mediator, saga_id: Any) -> list[tuple[str, str, str, int]]:
    """Return a saga's log without times and errors."""
    return [(entry.step, entry.action, entry.event, entry.attempt) for entry in bus.sagas.history(saga_id)]


def test_steps_are_called_in_their_order_and_hand_on_the_state(world: World) -> None:
    """What one returns is given to the next."""
    saga = world.saga(world.step("a"), world.step("b"), world.step("c"))

    result = saga.run(world.bus(), Trip(1))

    assert (result.status, result.unwrap()) == ("COMPLETED", Trip(1, ("a", "b", "c")))


def test_a_failure_undoes_what_was_done_the_last_first(world: World) -> None:
    """But not the step that has failed: it has done nothing."""
    saga = world.saga(world.step("a"), world.step("b"), world.step("c"))
    world.fail("c")

    result = saga.run(world.bus(), Trip())

    assert world.calls == ["a", "b", "c", "-b", "-a"]
    assert (result.status, result.error) == ("COMPENSATED", "c: Boom: c")
    assert isinstance(result.cause, Boom)


def test_an_unsuccessful_result_says_so_when_its_state_is_asked_for(world: World) -> None:
    """Its cause is what failed first."""
    saga = world.saga(world.step("a"))
    world.fail("a")

    with pytest.raises(SagaFailed, match="is COMPENSATED: a: Boom: a") as caught:
        saga.run(world.bus(), Trip()).unwrap()

    assert isinstance(caught.value.__cause__, Boom)


def test_the_log_tells_of_each_call(world: World) -> None:
    """With its attempt."""
    saga, bus = world.saga(world.step("a"), world.step("b")), world.bus()
    world.fail("b")

    result = saga.run(bus, Trip())

    assert log_of(bus, result.saga_id) == [
        ("a", "act", "started", 1),
        ("a", "act", "completed", 1),
        ("b", "act", "started", 1),
        ("b", "act", "failed", 1),
        ("a", "undo act", "started", 1),
        ("a", "undo act", "completed", 1),
    ]


def test_a_step_is_known_to_have_begun_while_it_is_called(world: World) -> None:
    """Whoever looks sees it."""
    seen: list[Any] = []
    saga = world.saga(Step("a", lambda _: seen.extend(log_of(bus, current_step().saga_id))))
    bus = world.bus()

    saga.run(bus, Trip())

    assert seen == [("a", "act", "started", 1)]


@pytest.mark.parametrize("looked_at", ["a", "b", "c"])
def test_a_saga_that_is_looked_at_goes_on_as_it_would_have(world: World, looked_at: str) -> None:
    """Its record says where it is, and its log leaves nothing out."""
    seen: list[Any] = []

    def step(name: str) -> Step[Trip]:
        return Step(name, lambda _: look() if name == looked_at else None, NO_COMPENSATION)

    def look() -> None:
        record = bus.sagas.load(current_step().saga_id)
        assert record is not None
        seen.append((record.status, record.position, {name: known.phase for name, known in record.progress.items()}))

    saga = world.saga(*map(step, "abc"))
    bus = world.bus()

    result = saga.run(bus, Trip())

    done = "abc"[: "abc".index(looked_at)]
    assert seen == [("RUNNING", len(done), {**dict.fromkeys(done, "done"), looked_at: "started"})]
    assert result.status == "COMPLETED"
    assert log_of(bus, result.saga_id) == [
        (name, "act", what, 1) for name in "abc" for what in ("started", "completed")
    ]


def test_a_step_is_tried_as_often_as_its_retry_says(world: World) -> None:
    """And no more."""
    saga = world.saga(world.step("a", retry=AT_ONCE))
    world.fail("a", Boom(), Boom(), Boom())

    result = saga.run(world.bus(), Trip())

    assert (world.calls, result.status) == (["a"] * 3, "COMPENSATED")


def test_after_the_pivot_a_saga_only_goes_forward(world: World) -> None:
    """Its steps are tried again and again."""
    saga = world.saga(world.step("a"), world.step("b", pivot=True), Step("c", world.act("c"), retry=AT_ONCE))
    world.fail("c", Boom(), Boom())

    result = saga.run(world.bus(), Trip())

    assert (world.calls, result.status) == (["a", "b", "c", "c", "c"], "COMPLETED")


def test_what_is_given_up_after_the_pivot_undoes_nothing(world: World) -> None:
    """The saga has FAILED, and says why."""
    saga = world.saga(world.step("a", pivot=True), Step("b", world.act("b"), retry=Retry(1)))
    world.fail("b")

    result = saga.run(world.bus(), Trip())

    assert (world.calls, result.status, result.error) == (["a", "b"], "FAILED", "b: Boom: b")


def test_a_fallback_answers_for_its_step_and_is_undone_in_its_own_way(world: World) -> None:
    """The step itself, which has failed, is not."""
    later = Step("later", world.act("fallback"), world.act("-fallback"))
    saga = world.saga(world.step("a", fallback=later), world.step("b"))
    world.fail("a")
    world.fail("b")

    result = saga.run(world.bus(), Trip())

    assert (world.calls, result.status) == (["a", "fallback", "b", "-fallback"], "COMPENSATED")


def test_a_fallback_is_not_tried_for_what_may_have_happened(world: World) -> None:
    """It would be done twice: it is undone instead."""
    saga = world.saga(world.step("a", fallback=world.act("fallback")))
    world.fail("a", OutcomeUnknown())

    result = saga.run(world.bus(), Trip())

    assert (world.calls, result.status) == (["a", "-a"], "COMPENSATED")


def test_a_fallback_is_for_the_failures_that_it_names(world: World) -> None:
    """Others are failures of the step."""
    saga = world.saga(world.step("a", fallback=world.act("fallback"), fallback_on=ConnectionError))
    world.fail("a")

    assert saga.run(world.bus(), Trip()).status == "COMPENSATED"


def test_what_cannot_be_undone_is_tried_again_and_then_given_up(world: World) -> None:
    """The steps before it are undone all the same."""
    saga = world.saga(world.step("a"), world.step("b"), world.step("c"), compensation_retry=Retry(2, first=0))
    world.fail("c")
    world.fail("-b", Boom(), Boom())

    result = saga.run(world.bus(), Trip())

    assert (world.calls, result.status) == (["a", "b", "c", "-b", "-b", "-a"], "FAILED")


def test_a_step_that_may_not_be_asked_twice_waits_for_a_person_when_nobody_knows(world: World) -> None:
    """Nothing is undone before that."""
    saga = world.saga(world.step("a"), world.step("b", idempotent=False))
    world.fail("b", OutcomeUnknown())

    result = saga.run(world.bus(), Trip())

    assert (world.calls, result.status) == (["a", "b"], "UNKNOWN")


def test_steps_have_a_key_and_what_undoes_them_knows_it(world: World) -> None:
    """Another one for each action."""
    keys: list[str] = []

    def undo(_: Trip) -> None:
        keys.append(current_step().undoes)

    saga = world.saga(Step("a", world.keyed(keys), undo), world.step("b"))
    world.fail("b")
    saga_id = uuid4()

    saga.run(world.bus(), Trip(), saga_id=saga_id)

    assert keys == [f"trip:{saga_id}:a:act"] * 2


def test_outside_of_a_step_there_is_no_current_one() -> None:
    """And that is said."""
    with pytest.raises(OutsideDispatch, match="no step of a saga"):
        current_step()


def test_a_step_that_is_a_class_gets_its_dependencies(world: World) -> None:
    """A new object for each call."""

    hotel = Hotel()
    saga = world.saga(Step("a", Book), world.step("b"))
    world.fail("b")

    saga.run(world.bus(provide={Hotel: lambda: hotel}), Trip())

    assert hotel.booked == ["book", "cancel"]


def test_middlewares_surround_each_call_of_a_step(world: World) -> None:
    """As a message that says what it is about."""
    seen: list[tuple[str, str, int]] = []

    def middleware(message: Any, call_next: Callable[[Any], Any]) -> Any:
        assert isinstance(message, RunStep)
        seen.append((message.step, message.action, message.attempt))
        return call_next(message)

    saga = world.saga(world.step("a"), world.step("b"))
    world.fail("b")

    saga.run(world.bus(middlewares=[middleware]), Trip())

    assert seen == [("a", "act", 1), ("b", "act", 1), ("a", "undo act", 1)]


def test_a_middleware_that_swallows_a_failure_is_a_failure(world: World) -> None:
    """Nobody knows then what the step came to."""

    def middleware(message: Any, call_next: Callable[[Any], Any]) -> Any:
        try:
            return call_next(message)
        except Boom:
            return None

    saga = world.saga(world.step("a"), world.step("b"))
    world.fail("b")

    result = saga.run(world.bus(middlewares=[middleware]), Trip())

    assert (world.calls, result.status) == (["a", "b", "-a"], "COMPENSATED")
    assert "a middleware has swallowed how it ended" in result.error


def test_a_middleware_that_calls_again_counts_as_one_attempt(world: World) -> None:
    """What the last call returned is the state."""
    tries: list[int] = []

    def middleware(message: Any, call_next: Callable[[Any], Any]) -> Any:
        try:
            return call_next(message)
        except Boom:
            tries.append(1)
            return call_next(message)

    saga, bus = world.saga(world.step("a"), world.step("b")), world.bus(middlewares=[middleware])
    world.fail("a")

    result = saga.run(bus, Trip())

    assert (result.state.notes, tries) == (("a", "b"), [1])
    assert log_of(bus, result.saga_id).count(("a", "act", "completed", 1)) == 1


def test_a_transaction_that_cannot_commit_is_the_steps_failure(world: World) -> None:
    """Though the step has returned: it is asked again, with the same key."""
    broken = [True]

    @contextmanager
    def transaction(_: Any) -> Generator[None, None, None]:
        yield
        if broken:
            broken.clear()
            raise Boom("commit")

    saga = world.saga(world.step("a", retry=AT_ONCE), world.step("b"))

    result = saga.run(world.bus(transaction=transaction), Trip())

    assert (world.calls, result.status) == (["a", "a", "b"], "COMPLETED")
    assert result.state.notes == ("a", "b")


def test_a_step_that_returns_no_state_is_undone(world: World) -> None:
    """It has happened."""

    def wrong(_: Trip) -> Any:
        return 7

    saga = world.saga(Step("a", wrong, world.act("-a")))

    result = saga.run(world.bus(), Trip())

    assert (world.calls, result.status) == (["-a"], "COMPENSATED")
    assert "returned 7; it is to return a Trip" in result.error


def test_a_saga_with_the_same_id_is_not_a_second_one(world: World) -> None:
    """It has ended, and stays as it is."""
    saga, bus, saga_id = world.saga(world.step("a")), world.bus(), uuid4()

    first = saga.run(bus, Trip(1), saga_id=saga_id)
    second = saga.run(bus, Trip(2), saga_id=saga_id)

    assert (world.calls, first, second) == (["a"], first, first)


def test_a_saga_that_is_worked_on_is_busy(world: World) -> None:
    """A step of it cannot run it again."""
    saga_id, errors = uuid4(), list[SagaBusy]()

    def nested(_: Trip) -> None:
        try:
            saga.run(bus, Trip(), saga_id=saga_id)
        except SagaBusy as error:
            errors.append(error)

    saga = world.saga(Step("a", nested))
    bus = world.bus()

    assert saga.run(bus, Trip(), saga_id=saga_id).status == "COMPLETED"
    assert len(errors) == 1


@pytest.mark.parametrize("error", [SagaBusy("inner"), SagaMovedOn("inner")])
def test_what_an_inner_saga_raises_is_its_steps_failure(world: World, error: Exception) -> None:
    """It says nothing about the outer one."""
    saga = world.saga(world.step("a"), world.step("b"))
    world.fail("b", error)

    result = saga.run(world.bus(), Trip())

    assert (world.calls, result.status) == (["a", "b", "-a"], "COMPENSATED")


def test_a_step_may_run_another_saga(world: World) -> None:
    """Each has its own log."""
    inner = Saga("inner", Trip, [world.step("x"), world.step("y")], registry=world.registry)
    outer = world.saga(world.step("a"), Step("b", lambda state: inner.run(bus, state).unwrap()))
    bus = world.bus()

    result = outer.run(bus, Trip())

    assert result.unwrap().notes == ("a", "x", "y")


def test_a_saga_may_be_run_in_a_handler_and_carries_what_that_carries(world: World) -> None:
    """Its steps have the correlation id of the command."""

    class Order(Command[str]):
        """Runs a saga."""

    found: list[tuple[str, str]] = []

    def step(_: Trip) -> None:
        found.append((current().correlation_id, current().headers["user"]))

    saga = world.saga(Step("a", step))
    world.registry.add(Order, lambda _: saga.run(bus, Trip()).status)
    bus = world.bus()

    with context(correlation_id="request-1", user="7"):
        status = bus.send(Order())

    assert (status, found) == ("COMPLETED", [("request-1", "7")])


def test_a_step_has_no_more_time_than_its_timeout(world: World) -> None:
    """It may ask how much is left."""
    left: list[float] = []
    saga = world.saga(Step("a", lambda _: left.append(remaining() or 0), timeout=5))

    saga.run(world.bus(), Trip())

    assert 4 < left[0] <= 5
    assert remaining() is None


def test_the_end_of_the_process_leaves_a_saga_to_be_recovered(world: World) -> None:
    """It is not undone: nobody knows whether the step happened."""
    saga, bus, saga_id = world.saga(world.step("a"), world.step("b")), world.bus(), uuid4()
    world.fail("b", Killed())

    with pytest.raises(Killed):
        saga.run(bus, Trip(), saga_id=saga_id)
    result = saga.run(bus, Trip(), saga_id=saga_id)

    assert (world.calls, result.status) == (["a", "b", "b"], "COMPLETED")
    assert ("b", "act", "unknown", 1) in log_of(bus, saga_id)


def test_what_would_take_too_long_is_left_to_others(world: World) -> None:
    """Nothing is undone; the next attempt is later."""
    saga, bus = world.saga(world.step("a", retry=Retry(3, first=100, jitter=0))), world.bus()
    world.fail("a")

    result = saga.run(bus, Trip(), patience=1)

    assert (result.status, world.calls) == ("RUNNING", ["a"])
    assert bus.sagas.stale(limit=9) == []
    world.clock.now = 100
    assert bus.sagas.stale(limit=9) == [result.saga_id]


def test_a_lease_that_was_lost_keeps_an_outcome_from_being_stored(world: World) -> None:
    """Whoever has taken over has the say."""
    saga_id = uuid4()

    def slow(state: Trip) -> Trip:
        world.calls.append("a")
        if len(world.calls) == 1:
            bus.sagas.release(saga_id, owner_of(bus, saga_id), due=0)
            assert bus.sagas.claim(saga_id, "another", lease=10) is not None
        return state

    saga = world.saga(Step("a", slow, world.act("-a")), world.step("b"))
    bus = world.bus()

    with pytest.raises(SagaMovedOn):
        saga.run(bus, Trip(), saga_id=saga_id)

    assert world.calls == ["a"]
    record = bus.sagas.load(saga_id)
    assert record is not None
    assert (record.owner, record.progress["a"].phase) == ("another", "started")


def test_a_step_that_takes_longer_than_it_may_is_not_called_by_another_worker(world: World) -> None:
    """Whoever runs a saga in memory is there for as long as the saga is."""
    found: list[Any] = []

    def slow(_: Trip) -> None:
        world.clock.now += 1_000_000
        found.extend(recover(bus))

    saga = world.saga(Step("a", slow))
    bus = world.bus()

    assert (saga.run(bus, Trip()).status, found) == ("COMPLETED", [])


def test_what_is_read_of_a_saga_meanwhile_is_never_half_changed(world: World) -> None:
    """Its state and its progress belong together."""
    saga, bus, saga_id, wrong = (
        world.saga(*[world.step(f"s{n}") for n in range(200)]),
        world.bus(),
        uuid4(),
        list[Any](),
    )
    running = threading.Thread(target=saga.run, args=(bus, Trip()), kwargs={"saga_id": saga_id})

    running.start()
    while running.is_alive():
        record = bus.sagas.load(saga_id)
        if record is not None:
            done = [name for name, known in record.progress.items() if known.phase == "done"]
            wrong += [done] if tuple(done) != record.state.notes else []
    running.join()

    assert wrong == []


def test_memory_forgets_what_has_ended_long_ago(world: World) -> None:
    """It has no end otherwise."""
    saga, bus = world.saga(world.step("a")), Mediator(world.registry, sagas=MemorySagas(keep=3))

    ids = [saga.run(bus, Trip()).saga_id for _ in range(5)]

    assert [bus.sagas.load(saga_id) is not None for saga_id in ids] == [False, False, True, True, True]


def test_a_mediator_that_does_not_know_a_saga_says_so() -> None:
    """Before anything is stored."""
    saga = Saga("elsewhere", Trip, [Step("a", lambda state: state)], registry=Registry())

    with pytest.raises(SagaNotFound, match="which is in another registry"):
        saga.run(Mediator(Registry()), Trip())
    with pytest.raises(SagaNotFound, match="which is in another registry"):
        saga.start(Mediator(Registry()), Trip())


def test_wrong_wiring_is_raised_before_a_saga_begins(world: World) -> None:
    """It is no step's failure."""
    saga, bus = world.saga(world.step("first"), Step("a", Book)), world.bus()

    with pytest.raises(NotConfigured, match="Hotel"):
        saga.run(bus, Trip())

    assert (world.calls, bus.sagas.find()) == ([], [])


def test_a_step_without_a_way_back_before_the_pivot_is_refused(world: World) -> None:
    """At once, with the cure."""
    with pytest.raises(InvalidSaga, match="the step 'a' cannot be undone: give it compensate="):
        world.saga(Step("a", world.act("a")), world.step("b"))
