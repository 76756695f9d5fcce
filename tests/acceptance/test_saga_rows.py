"""Acceptance rows about sagas, in memory; and that the predecessor's weaknesses are absent."""

from __future__ import annotations

import threading
from typing import Any
from uuid import uuid4

import pytest

from simplecqrs import Mediator, Retry, Saga, Step
from simplecqrs.errors import InvalidHandler, InvalidSaga, SagaBusy, SagaMovedOn
from simplecqrs.saga import MemorySagas, current_step, recover, recover_one
from tests.simplecqrs.saga_world import Boom, Killed, Trip, World


@pytest.fixture
def world() -> World:
    """Return a world in which nothing has happened."""
    return World()


def lines(bus: Mediator, saga_id: Any) -> list[str]:
    """Return a saga's log as text."""
    return [f"{e.step} {e.action} {e.event} {e.attempt}" for e in bus.sagas.history(saga_id)]


def test_row_70_a_fallback_begins_with_the_state_before_and_is_what_is_undone(world: World) -> None:
    """B13: the log names the step, whatever fails."""
    later = Step("later", world.act("later"), world.act("-later"))
    saga = world.saga(world.step("a"), world.step("b", fallback=later), world.step("c"))
    bus = world.bus()
    world.fail("b")
    world.fail("c")

    result = saga.run(bus, Trip())

    assert result.status == "COMPENSATED"
    assert world.calls == ["a", "b", "later", "c", "-later", "-a"]
    assert lines(bus, result.saga_id)[2:6] == [
        "b act started 1", "b act failed 1", "b fallback started 1", "b fallback completed 1",
    ]  # fmt: skip


def test_row_70_when_the_fallback_fails_as_well_the_log_says_so_of_that_step(world: World) -> None:
    """B13: not of the one before, nor of an unknown one."""
    saga, bus = world.saga(world.step("a"), world.step("b", fallback=world.act("f"))), world.bus()
    world.fail("b")
    world.fail("f")

    result = saga.run(bus, Trip())

    assert [line for line in lines(bus, result.saga_id) if "failed" in line] == [
        "b act failed 1",
        "b fallback failed 1",
    ]


def wrong(state: str) -> None:
    """Take another state."""


def test_row_73_steps_are_in_order_and_of_the_saga_s_state(world: World) -> None:
    """What does not fit is refused where it is defined."""
    saga = world.saga(world.step("a"), world.step("b"))

    assert list(saga.by_name) == ["a", "b"]
    with pytest.raises(InvalidHandler):
        Saga("other", Trip, [Step("a", wrong)], registry=world.registry)  # type: ignore[list-item]


def test_row_74_the_original_error_is_kept_whatever_fails_after_it(world: World) -> None:
    """The failing step itself is not undone."""
    saga = world.saga(world.step("a"), world.step("b"), compensation_retry=Retry(1))
    world.fail("b", Boom("first"))
    world.fail("-a", Boom("second"))

    result = saga.run(world.bus(), Trip())

    assert (result.error, str(result.cause), world.calls) == ("b: Boom: first", "first", ["a", "b", "-a"])


def test_row_75_compensations_are_tried_as_often_as_is_said(world: World) -> None:
    """By the saga, or by the step; in recovery too."""
    patient = world.step("a", compensation_retry=Retry(4, first=0))
    saga = world.saga(patient, world.step("b"), world.step("c"), compensation_retry=Retry(2, first=0))
    world.fail("c", Killed())
    for name in ("c", "-a", "-a", "-a", "-b", "-b"):
        world.fail(name)
    bus = world.bus()
    with pytest.raises(Killed):
        saga.run(bus, Trip())

    recover(bus)

    assert world.calls == ["a", "b", "c", "c", "-c", "-b", "-b", "-a", "-a", "-a", "-a"]


def test_row_76_undone_and_not_undone_are_two_statuses(world: World) -> None:
    """B13: FAILED means that a person has to look."""
    saga, bus = world.saga(world.step("a"), world.step("b"), compensation_retry=Retry(1)), world.bus()
    world.fail("b", Boom(), Boom())
    undone = saga.run(bus, Trip()).status
    world.fail("-a")

    assert (undone, saga.run(bus, Trip()).status) == ("COMPENSATED", "FAILED")


def test_row_77_the_log_has_time_attempt_and_error_and_the_beginning_before_the_act(world: World) -> None:
    """B06: what is being called can be seen while it is, with its key."""
    seen: list[Any] = []

    def act(_: Trip) -> None:
        seen.extend([lines(bus, current_step().saga_id)[-1], current_step().key])
        raise Boom("why")

    saga, bus, saga_id = world.saga(Step("a", act)), world.bus(), uuid4()

    saga.run(bus, Trip(), saga_id=saga_id)

    entry = bus.sagas.history(saga_id)[-1]
    assert seen == ["a act started 1", f"trip:{saga_id}:a:act"]
    assert (entry.event, entry.attempt, entry.error) == ("failed", 1, "Boom: why")
    assert entry.time.tzinfo is not None


def test_row_79_results_are_iterated_with_the_saga_s_id(world: World) -> None:
    """Each call of a step, also what fails and what is undone."""
    saga = world.saga(world.step("a"), world.step("b"))
    world.fail("b")

    steps = saga.steps(world.bus(), Trip())
    seen = [(step.saga_id == steps.saga_id, step.name, step.action, step.status) for step in steps]

    assert seen == [
        (True, "a", "act", "completed"), (True, "b", "act", "failed"), (True, "a", "undo act", "completed"),
    ]  # fmt: skip
    assert steps.result is not None
    assert steps.result.status == "COMPENSATED"


def test_row_79_whoever_stops_watching_leaves_a_saga_that_goes_on(world: World) -> None:
    """C09: nothing is undone by that."""
    saga, bus = world.saga(world.step("a"), world.step("b")), world.bus()

    with saga.steps(bus, Trip()) as steps:
        for _ in steps:
            break
    result = recover_one(bus, steps.saga_id)

    assert (result.status, world.calls[0], "-a" in world.calls) == ("COMPLETED", "a", False)


def test_row_79_an_exception_of_whoever_watches_undoes_the_saga(world: World) -> None:
    """C09: it goes on to whoever is to know."""
    saga, bus = world.saga(world.step("a"), world.step("b"), world.step("c")), world.bus()

    with pytest.raises(Boom, match="watcher"), saga.steps(bus, Trip()) as steps:
        for step in steps:
            if step.name == "b":
                raise Boom("watcher")

    assert steps.result is not None
    assert (steps.result.status, steps.result.error) == ("CANCELLED", "Boom: watcher")
    assert [call for call in world.calls if call.startswith("-")][-2:] == ["-b", "-a"]


def test_row_79_an_exception_after_the_pivot_undoes_nothing(world: World) -> None:
    """C09: the saga goes forward when somebody takes it up."""
    saga, bus = (
        world.saga(world.step("a", pivot=True), Step("b", world.act("b")), Step("c", world.act("c"))),
        world.bus(),
    )

    with pytest.raises(Boom), saga.steps(bus, Trip()) as steps:
        next(steps)
        raise Boom

    assert recover_one(bus, steps.saga_id).status == "COMPLETED"


def test_row_80_what_was_done_is_not_done_again_and_keeps_its_state(world: World) -> None:
    """B13: the state that somebody gives when a saga goes on is not taken."""
    saga, bus, saga_id = world.saga(world.step("a"), world.step("b")), world.bus(), uuid4()
    world.fail("b", Killed())
    with pytest.raises(Killed):
        saga.run(bus, Trip(1), saga_id=saga_id)

    again = saga.run(bus, Trip(2), saga_id=saga_id)

    assert (again.state, saga.run(bus, Trip(3), saga_id=saga_id)) == (Trip(1, ("a", "b")), again)
    assert world.calls == ["a", "b", "b"]


def test_row_80_what_was_being_undone_goes_on_backwards(world: World) -> None:
    """Strictly."""
    saga, bus, saga_id = world.saga(world.step("a"), world.step("b"), world.step("c")), world.bus(), uuid4()
    world.fail("c")
    world.fail("-b", Killed())
    with pytest.raises(Killed):
        saga.run(bus, Trip(), saga_id=saga_id)

    assert saga.run(bus, Trip(), saga_id=saga_id).status == "COMPENSATED"
    assert world.calls == ["a", "b", "c", "-b", "-b", "-a"]


def test_row_81_steps_are_known_by_their_names_and_not_by_what_they_call(world: World) -> None:
    """B07: one function may be two steps; one name may not."""
    act = world.act("x")
    saga = world.saga(Step("one", act, act), Step("two", act))

    assert saga.run(world.bus(), Trip()).unwrap().notes == ("x", "x")
    with pytest.raises(InvalidSaga, match="is there twice"):
        Saga("other", Trip, [Step("one", act, act), Step("one", act)], registry=world.registry)


def test_row_82_what_somebody_else_has_changed_is_not_stored_over(world: World) -> None:
    """The engine compares versions itself."""
    saga_id = uuid4()

    def act(_: Trip) -> None:
        bus.sagas.release(saga_id, owner_of(bus, saga_id), due=0)
        bus.sagas.claim(saga_id, "another", lease=100)

    saga = world.saga(Step("a", act))
    bus = world.bus()

    with pytest.raises(SagaMovedOn):
        saga.run(bus, Trip(), saga_id=saga_id)

    assert owner_of(bus, saga_id) == "another"


def owner_of(bus: Mediator, saga_id: Any) -> str:
    """Return who holds a saga."""
    record = bus.sagas.load(saga_id)
    assert record is not None
    return record.owner


@pytest.mark.parametrize("most", [1, 2, 5])
def test_row_83_a_saga_is_taken_over_exactly_as_often_as_is_allowed(world: World, most: int) -> None:
    """B04: one failure of recovery does not end it."""
    saga, bus = world.saga(world.step("a"), world.step("b")), world.bus()
    world.fail("a", *[Killed() for _ in range(99)])
    with pytest.raises(Killed):
        saga.run(bus, Trip())

    for _ in range(most):
        with pytest.raises(Killed):
            recover(bus, take_overs=Retry(most))
    [last] = recover(bus, take_overs=Retry(most))

    assert last.result is not None
    assert (len(world.calls), last.result.status) == (most + 1, "FAILED")
    assert f"it was taken over {most} times" in last.result.error


def test_row_83_an_attempt_with_an_outcome_is_no_take_over_that_came_to_nothing(world: World) -> None:
    """B04: after the pivot it is tried for as long as its retry says."""
    again = Step("b", world.act("b"), retry=Retry(20, first=10))
    saga, bus = world.saga(world.step("a", pivot=True), again), world.bus()
    world.fail("b", *[Boom() for _ in range(12)])
    saga_id = saga.run(bus, Trip(), patience=0).saga_id

    for _ in range(12):
        world.clock.now += 10_000
        recover(bus, take_overs=Retry(2))

    assert saga.run(bus, Trip(), saga_id=saga_id).status == "COMPLETED"


def test_row_84_two_workers_never_run_one_saga(world: World) -> None:
    """B05: while one is at work the other one is told so, and finds nothing that is stale."""
    begun, go_on, saga_id = threading.Event(), threading.Event(), uuid4()

    def slow(_: Trip) -> None:
        begun.set()
        assert go_on.wait(30)

    saga, bus = world.saga(Step("a", slow)), world.bus()
    worker = threading.Thread(target=saga.run, args=(bus, Trip()), kwargs={"saga_id": saga_id})
    worker.start()
    assert begun.wait(30)

    with pytest.raises(SagaBusy):
        recover_one(bus, saga_id)
    found = recover(bus)
    go_on.set()
    worker.join()

    assert (found, saga.run(bus, Trip(), saga_id=saga_id).status) == ([], "COMPLETED")


def test_row_86_sagas_are_found_by_their_names_and_one_that_is_gone_is_reported(world: World) -> None:
    """Nothing is wired by hand, and nothing is lost."""
    saga, sagas = world.saga(world.step("a")), MemorySagas(clock=world.clock)
    saga_id = saga.start(world.bus(sagas=sagas), Trip())

    [gone] = recover(World().bus(sagas=sagas))
    world.clock.now += 1000
    [here] = recover(world.bus(sagas=sagas))

    assert (gone.saga_id, gone.result) == (saga_id, None)
    assert "there is no saga 'trip'" in str(gone.error)
    assert here.result is not None
    assert here.result.status == "COMPLETED"
