"""Sagas' public signatures, pinned: what mypy and pyright infer, without any hint at the call."""

# pyright: strict

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from attrs import evolve, frozen
from typing_extensions import assert_type

from simplecqrs import (
    NO_COMPENSATION,
    Mediator,
    NotificationEvent,
    Parallel,
    Publish,
    Registry,
    Retry,
    Saga,
    SagaResult,
    Step,
    StepResult,
    SyncSagaStep,
    current_step,
    wait_for,
)
from simplecqrs.saga.records import SagaStatus


@frozen
class Checkout:
    """A state."""

    order_id: int
    charged: bool = False


@frozen
class Paid(NotificationEvent):
    """An event."""

    order_id: int


class Stock:
    """A dependency."""


class Bill(SyncSagaStep[Checkout]):
    """A step that is a class."""

    def __init__(self, stock: Stock) -> None:
        self.stock = stock

    def act(self, state: Checkout, /) -> Checkout:
        """Do it."""
        self.publish(Paid(state.order_id))
        return evolve(state, charged=True)

    def compensate(self, state: Checkout, /) -> None:
        """Undo it."""


def reserve(state: Checkout, *, stock: Stock) -> Checkout:
    """Return a state."""
    assert_type(current_step().saga_id, UUID)
    assert_type(current_step().key, str)
    assert_type(current_step().attempt, int)
    return state


def release(state: Checkout) -> None:
    """Return nothing."""


def ship(state: Checkout, publish: Publish) -> Checkout | None:
    """Publish."""
    publish(Paid(state.order_id))
    return None


def paid(state: Checkout, event: Paid) -> Checkout:
    """Take what an event brings."""
    return evolve(state, charged=True)


def first(state: Checkout, _: object) -> Checkout:
    """Merge."""
    return state


bus = Mediator(Registry())
checkout = Saga(
    "checkout",
    Checkout,
    [
        Step("reserve", reserve, release, retry=Retry(3), fallback=ship),
        Step("bill", Bill, fallback=Step("later", ship, release), fallback_on=ConnectionError),
        Step("paid", wait_for(Paid, key="order_id", then=paid, timeout=timedelta(days=1))),
        Parallel(Step("pack", ship, NO_COMPENSATION), Step("print", ship, NO_COMPENSATION), merge=first),
        Step("ship", act=ship, pivot=True, aliases=["send"]),
        Step("thank", ship),
    ],
    registry=Registry(),
)
assert_type(checkout, Saga[Checkout])


def running() -> None:
    """Run it."""
    result = checkout.run(bus, Checkout(7))
    assert_type(result, SagaResult[Checkout])
    assert_type(result.state, Checkout)
    assert_type(result.status, SagaStatus)
    assert_type(result.unwrap(), Checkout)
    for step in checkout.steps(bus, Checkout(7)):
        assert_type(step, StepResult[Checkout])
        assert_type(step.state, Checkout)
        assert_type(step.name, str)
    assert_type(checkout.start(bus, Checkout(7)), UUID)
