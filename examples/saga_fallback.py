"""
A step of a saga with a backup and a breaker: after two failures in a row the bank is left alone.

Needs ``pip install "simplecqrs[breaker]"``.  It prints::

    order 1: invoice sent -> COMPLETED
    order 2: invoice sent -> COMPLETED
    order 3: invoice sent -> COMPLETED
    order 4: invoice sent, withdrawn -> COMPENSATED
    the bank was asked 2 times
"""

import logging

from attrs import frozen

from simplecqrs import Mediator
from simplecqrs.breakers import NamedBreaker
from simplecqrs.saga import Saga, Step

logging.disable()  # a warning says that the backup answers, with the reason


@frozen
class Order:
    number: int


said: list[str] = []
asked: list[int] = []


def charge_card(state: Order) -> None:
    asked.append(state.number)
    raise ConnectionError("the bank does not answer")


def refund(state: Order) -> None:
    said.append("refunded")


def send_invoice(state: Order) -> None:
    said.append("invoice sent")


def withdraw_invoice(state: Order) -> None:
    said.append("withdrawn")


def ship(state: Order) -> None:
    if state.number == 4:
        raise ValueError("too heavy")


bank = NamedBreaker("bank", fail_max=2, reset_seconds=60)
pay = Step(
    "pay",
    charge_card,
    refund,
    fallback=Step("invoice", send_invoice, withdraw_invoice),  # what was done is what is undone
    fallback_on=ConnectionError,
    breaker=bank,
)
checkout = Saga("checkout", Order, [pay, Step("ship", ship, pivot=True)])
bus = Mediator()

for number in (1, 2, 3, 4):
    result = checkout.run(bus, Order(number))
    print(f"order {number}: {', '.join(said)} -> {result.status}")
    said.clear()
print("the bank was asked", len(asked), "times")
