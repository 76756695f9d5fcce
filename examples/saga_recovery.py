"""
Sagas whose process has died: others find them, and run them on or undo what was done; on a schedule, too.

``recover`` takes what nobody works on.  In Django the process that runs the consumer ``sagas`` does so by itself,
``manage.py cqrs_sagas recover`` does nothing else, and Celery has the task ``django_cqrs.recover_sagas``.  It prints::

    tea: reserved, and the process dies
    piano: reserved, and the process dies
    found 2
    tea: shipped -> COMPLETED
    piano: released -> COMPENSATED
    found 0
"""

import logging
from uuid import UUID

from attrs import frozen

from simplecqrs import Mediator
from simplecqrs.saga import Saga, Step, recover

logging.disable()  # what fails is logged


@frozen
class Order:
    product: str


said: list[str] = []


def reserve(state: Order) -> None:
    said.append("reserved")


def release(state: Order) -> None:
    said.append("released")


def ship(state: Order) -> None:
    if state.product == "piano":
        raise ValueError("too heavy")
    said.append("shipped")


checkout = Saga("checkout", Order, [Step("reserve", reserve, release), Step("ship", ship, pivot=True)])
bus = Mediator()
products: dict[UUID, str] = {}


def die_in_the_middle(product: str) -> None:
    steps = checkout.steps(bus, Order(product))
    products[next(steps).saga_id] = product
    steps.close()  # as good as a crash: what is stored is where it was
    print(f"{product}: {said.pop()}, and the process dies")


def look() -> None:
    """Do what a scheduler does every few seconds."""
    said.clear()
    found = recover(bus, limit=100)
    print("found", len(found))
    for recovered in found:
        assert recovered.result is not None, recovered.error
        print(f"{products[recovered.saga_id]}: {said.pop(0)} -> {recovered.result.status}")


die_in_the_middle("tea")
die_in_the_middle("piano")
look()
look()
