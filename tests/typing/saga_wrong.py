"""What both checkers have to see of sagas: each line with ``# expect: error`` is wrong, and no other one is."""

# pyright: strict

from __future__ import annotations

from attrs import frozen

from simplecqrs import DomainEvent, Mediator, Registry, Saga, Step, SyncSagaStep, wait_for


@frozen
class Checkout:
    """A state."""

    order_id: int


@frozen
class Other:
    """Another state."""


@frozen
class Paid(DomainEvent):
    """An event."""

    order_id: int


def reserve(state: Checkout) -> Checkout:
    """Do it."""
    return state


def other(state: Other) -> None:
    """Take another state."""


def counting(state: Checkout) -> int:
    """Return no state."""
    return 1


def nothing() -> None:
    """Take no state."""


class Stranger(SyncSagaStep[Other]):
    """A step of another state."""


bus = Mediator(Registry())
right = Step[Checkout]("reserve", reserve, reserve)
saga = Saga("right", Checkout, [right])

Step[Checkout]("other", other)  # expect: error
Step[Checkout]("counting", counting)  # expect: error
Step[Checkout]("nothing", nothing)  # expect: error
Step[Checkout]("stranger", Stranger)  # expect: error
Step[Checkout]("reserve", reserve, other)  # expect: error
Step[Checkout]("reserve", reserve, fallback=other)  # expect: error
Step[Checkout]("reserve", reserve, retry=3)  # expect: error
Step[Checkout]("reserve", reserve, fallback_on="ConnectionError")  # expect: error
Step[Checkout]("reserve", reserve, pivott=True)  # expect: error
Saga("other", Checkout, [Step("other", other)])  # expect: error
Saga("counting", Checkout, [Step("counting", counting)])  # expect: error in pyright
Saga("mixed", Other, [right])  # expect: error
saga.run(bus, Other())  # expect: error
saga.start(bus, Other())  # expect: error
saga.steps(bus, Other())  # expect: error
wait_for(Checkout, key="order_id")  # expect: error
wait_for(Paid, key="order_id", timeout=60)  # expect: error
