"""What people do to sagas: cancel, pause, resume, retry and skip, whatever a saga is doing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from attrs import evolve

from simplecqrs import Mediator, OutcomeUnknown, Parallel, Retry, Step, current_step
from simplecqrs.errors import InvalidSaga, SagaNotFound
from simplecqrs.saga import cancel, pause, recover, recover_one, resume, retry, skip
from tests.simplecqrs.saga_world import Boom, Killed, Trip, World

ANN: Any = {"who": "ann", "why": "a test"}


@pytest.fixture
def world() -> World:
    """Return a world in which nothing has happened."""
    return World()


def asking(world: World, name: str, ask: Callable[..., None], bus: list[Mediator], **options: Any) -> Step[Trip]:
    """Make a step while which a person asks for something."""

    def act(state: Trip) -> Trip:
        world.calls.append(name)
        ask(bus[0], current_step().saga_id, **ANN, **options)
        return evolve(state, notes=(*state.notes, name))

    return Step(name, act, world.act(f"-{name}"))


def status_of(bus: Mediator, saga_id: UUID) -> str:
    """Return where a saga is."""
    record = bus.sagas.load(saga_id)
    assert record is not None
    return record.status


def test_a_saga_that_is_cancelled_while_a_step_is_called_is_undone_after_it(world: World) -> None:
    """What is being called is waited for."""
    buses: list[Mediator] = []
    saga = world.saga(world.step("a"), asking(world, "b", cancel, buses), world.step("c"))
    buses.append(world.bus())

    result = saga.run(buses[0], Trip())

    assert (world.calls, result.status) == (["a", "b", "-b", "-a"], "CANCELLED")
    assert result.error == "cancelled by ann: a test"
    asked = [entry for entry in buses[0].sagas.history(result.saga_id) if entry.who]
    assert [(entry.action, entry.who, entry.error) for entry in asked] == [("cancel", "ann", "a test")]


def test_a_cancelled_step_is_not_tried_again(world: World) -> None:
    """Nor is its fallback."""
    buses: list[Mediator] = []

    def act(_: Trip) -> None:
        world.calls.append("a")
        cancel(buses[0], current_step().saga_id, **ANN)
        raise Boom

    saga = world.saga(Step("a", act, world.act("-a"), retry=Retry(3, first=0), fallback=world.act("f")))
    buses.append(world.bus())

    assert saga.run(buses[0], Trip()).status == "CANCELLED"
    assert world.calls == ["a"]


def test_what_has_passed_its_pivot_is_not_cancelled(world: World) -> None:
    """It only goes forward."""
    saga, bus = world.saga(world.step("a", pivot=True), Step("b", world.act("b"), retry=Retry(1))), world.bus()
    world.fail("b")
    saga_id = saga.run(bus, Trip()).saga_id

    with pytest.raises(InvalidSaga, match="has passed its pivot"):
        cancel(bus, saga_id, **ANN)


def test_a_saga_rests_after_the_step_that_is_called(world: World) -> None:
    """And goes on when it is to."""
    buses: list[Mediator] = []
    saga = world.saga(world.step("a"), asking(world, "b", pause, buses), world.step("c"))
    bus = world.bus()
    buses.append(bus)

    result = saga.run(bus, Trip())

    assert (result.status, world.calls, bus.sagas.stale(limit=9)) == ("RUNNING", ["a", "b"], [])
    assert saga.run(bus, Trip(), saga_id=result.saga_id).status == "RUNNING"
    resume(bus, result.saga_id, **ANN)
    assert [outcome.result.status for outcome in recover(bus) if outcome.result] == ["COMPLETED"]


def test_a_saga_that_rests_tries_nothing_again(world: World) -> None:
    """Not even what has no pause before its next attempt."""
    buses: list[Mediator] = []

    def act(_: Trip) -> None:
        world.calls.append("a")
        if len(world.calls) == 1:
            pause(buses[0], current_step().saga_id, **ANN)
            raise Boom

    saga = world.saga(Step("a", act, retry=Retry(3, first=0)))
    bus = world.bus()
    buses.append(bus)

    result = saga.run(bus, Trip())
    assert (result.status, world.calls) == ("RUNNING", ["a"])
    resume(bus, result.saga_id, **ANN)

    assert recover_one(bus, result.saga_id).status == "COMPLETED"


def test_undoing_rests_as_well(world: World) -> None:
    """A pause is a pause."""
    buses: list[Mediator] = []

    def undo(_: Trip) -> None:
        world.calls.append("-b")
        pause(buses[0], current_step().saga_id, **ANN)

    saga = world.saga(world.step("a"), Step("b", world.act("b"), undo), world.step("c"))
    bus = world.bus()
    buses.append(bus)
    world.fail("c")

    result = saga.run(bus, Trip())
    assert (result.status, world.calls[-1]) == ("COMPENSATING", "-b")
    resume(bus, result.saga_id, **ANN)

    assert recover_one(bus, result.saga_id).status == "COMPENSATED"


def test_a_saga_that_has_ended_neither_rests_nor_resumes(world: World) -> None:
    """It stays as it is, its log too."""
    saga, bus = world.saga(world.step("a")), world.bus()
    saga_id = saga.run(bus, Trip()).saga_id
    before = bus.sagas.history(saga_id)

    pause(bus, saga_id, **ANN)
    resume(bus, saga_id, **ANN)

    assert bus.sagas.history(saga_id) == before


@pytest.mark.parametrize("ask", [cancel, pause, resume, retry])
def test_an_unknown_saga_is_not_found(world: World, ask: Callable[..., None]) -> None:
    """Whatever is asked."""
    world.saga(world.step("a"))

    with pytest.raises(SagaNotFound, match="there is no saga"):
        ask(world.bus(), uuid4(), **ANN)


def test_what_was_given_up_after_the_pivot_is_called_again(world: World) -> None:
    """And the saga goes on."""
    saga = world.saga(world.step("a", pivot=True), Step("b", world.act("b"), retry=Retry(1)), Step("c", world.act("c")))
    bus = world.bus()
    world.fail("b")
    saga_id = saga.run(bus, Trip()).saga_id

    retry(bus, saga_id, **ANN)
    result = recover_one(bus, saga_id)

    assert (result.status, world.calls) == ("COMPLETED", ["a", "b", "b", "c"])


def test_what_could_not_be_undone_is_undone_and_nothing_is_done_again(world: World) -> None:
    """The step that had failed first stays as it is."""
    saga = world.saga(world.step("a"), world.step("b"), world.step("c"), compensation_retry=Retry(1))
    bus = world.bus()
    world.fail("c")
    world.fail("-b")
    saga_id = saga.run(bus, Trip()).saga_id
    assert status_of(bus, saga_id) == "FAILED"

    retry(bus, saga_id, **ANN)
    result = recover_one(bus, saga_id)

    assert (result.status, world.calls) == ("COMPENSATED", ["a", "b", "c", "-b", "-a", "-b"])


def test_what_could_not_be_undone_is_settled_by_hand(world: World) -> None:
    """Nothing is done again."""
    saga = world.saga(world.step("a"), world.step("b"), compensation_retry=Retry(1))
    bus = world.bus()
    world.fail("b")
    world.fail("-a")
    saga_id = saga.run(bus, Trip()).saga_id

    skip(bus, saga_id, step="a", **ANN)

    assert (status_of(bus, saga_id), world.calls) == ("COMPENSATED", ["a", "b", "-a"])


def test_a_step_of_unknown_outcome_is_called_again_or_settled(world: World) -> None:
    """A person says which."""
    for ask, calls in ((retry, ["a", "a", "b"]), (skip, ["a", "b"])):
        one = World()
        saga, bus = one.saga(one.step("a", idempotent=False), one.step("b")), one.bus()
        one.fail("a", OutcomeUnknown())
        saga_id = saga.run(bus, Trip()).saga_id

        ask(bus, saga_id, step="a", **ANN)

        assert (recover_one(bus, saga_id).status, one.calls) == ("COMPLETED", calls)


def test_what_nobody_knows_of_and_cannot_be_undone_is_not_cancelled(world: World) -> None:
    """It would be a lie that it was undone."""
    saga, bus = world.saga(world.step("a"), Step("b", world.act("b"), idempotent=False)), world.bus()
    world.fail("b", OutcomeUnknown())
    saga_id = saga.run(bus, Trip()).saga_id

    with pytest.raises(InvalidSaga, match=r"nobody knows whether 'b' .* happened"):
        cancel(bus, saga_id, **ANN)


def test_a_branch_of_unknown_outcome_does_not_lose_the_others(world: World) -> None:
    """They end first, and what they did is kept."""
    saga = world.saga(Parallel(world.step("a", idempotent=False), world.step("b"), merge=lambda _, new: new[-1]))
    bus = world.bus()
    world.fail("a", OutcomeUnknown())

    result = saga.run(bus, Trip())
    record = bus.sagas.load(result.saga_id)

    assert record is not None
    assert (result.status, record.progress["b"].phase) == ("UNKNOWN", "done")
    skip(bus, result.saga_id, step="a", **ANN)
    assert status_of(bus, result.saga_id) == "COMPLETED"


def test_nothing_is_retried_that_was_not_given_up(world: World) -> None:
    """Neither by its name, nor at all."""
    saga, bus = world.saga(world.step("a")), world.bus()
    saga_id = saga.run(bus, Trip()).saga_id

    with pytest.raises(InvalidSaga, match=r"nothing of the saga .* was given up: it is COMPLETED"):
        retry(bus, saga_id, **ANN)
    with pytest.raises(InvalidSaga, match=r"'a' of the saga .* was not given up: it is COMPLETED"):
        skip(bus, saga_id, step="a", **ANN)
    with pytest.raises(InvalidSaga, match="'trip' has no step 'x'; it has 'a'"):
        retry(bus, saga_id, step="x", **ANN)


def test_a_saga_that_was_taken_over_too_often_can_be_retried_or_cancelled(world: World) -> None:
    """It is asked again first what nobody knows of."""
    for ask, status in ((retry, "COMPLETED"), (cancel, "CANCELLED")):
        one = World()
        saga, bus, saga_id = one.saga(one.step("a"), one.step("b")), one.bus(), uuid4()
        one.fail("a", Killed(), Killed())
        with pytest.raises(Killed):
            saga.run(bus, Trip(), saga_id=saga_id)
        with pytest.raises(Killed):
            recover(bus, take_overs=Retry(1))
        recover(bus, take_overs=Retry(1))
        assert status_of(bus, saga_id) == "FAILED"

        ask(bus, saga_id, **ANN)

        assert recover_one(bus, saga_id).status == status


def test_a_change_between_two_attempts_is_seen_by_whoever_waits(world: World) -> None:
    """Here the step is skipped while its next attempt is waited for."""
    buses: list[Mediator] = []

    class Slow(Retry):
        """Has a person skip a step in its pause."""

        def pause(self, failures: int) -> float:
            return 0.001

    saga = world.saga(world.step("a", retry=Slow(5)), world.step("b"))
    bus = world.bus()
    buses.append(bus)
    world.fail("a")
    steps = saga.steps(bus, Trip())
    assert next(steps).status == "failed"

    skip(bus, steps.saga_id, step="a", **ANN)

    assert [step.name for step in steps] == ["b"]
    assert steps.result is not None
    assert steps.result.status == "COMPLETED"
