"""Acceptance row about the events that a saga's steps publish."""

from __future__ import annotations

import pytest
from attrs import frozen

from simplecqrs import DomainEvent, Publish, Step
from tests.simplecqrs.saga_world import Boom, Trip, World


@frozen
class Booked(DomainEvent):
    """A step's event."""


@pytest.fixture
def world() -> World:
    """Return a world in which nothing has happened."""
    return World()


def test_row_78_an_event_is_handled_after_its_step_and_before_the_next(world: World) -> None:
    """In the same unit of work."""

    def a(state: Trip, publish: Publish) -> None:
        world.calls.append("a")
        publish(Booked())

    world.registry.add(Booked, lambda _: world.calls.append("handler"))
    saga = world.saga(Step("a", a, world.act("-a")), world.step("b"))

    saga.run(world.bus(), Trip())

    assert world.calls == ["a", "handler", "b"]


def test_row_78_a_failing_handler_of_a_steps_event_is_the_steps_failure(world: World) -> None:
    """The step was called, so it is undone as well."""

    def a(state: Trip, publish: Publish) -> None:
        publish(Booked())

    def fails(_: Booked) -> None:
        raise Boom("handler")

    world.registry.add(Booked, fails)
    saga = world.saga(world.step("first"), Step("a", a, world.act("-a")), world.step("b"))

    result = saga.run(world.bus(), Trip())

    assert (world.calls, result.status, result.error) == (["first", "-a", "-first"], "COMPENSATED", "a: Boom: handler")
