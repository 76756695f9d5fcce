"""
Middlewares surround each call of a handler, the first one outermost; some that are often needed ship.

``retrying`` needs ``pip install "simplecqrs[retry]"``.  It prints::

    PlaceOrder is audited
    PlaceOrder: attempt 2 of 3
    PlaceOrder: attempt 3 of 3
    PlaceOrder(product='tea') ended
    3 attempts: order 1
    not allowed: only Ada may
"""

import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from attrs import field, frozen

from simplecqrs import Command, Mediator, Message, around, context, current, handles
from simplecqrs.middlewares import logged, retrying
from simplecqrs.pipeline import Call


class WithoutTimes(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).partition(" after ")[0]


handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(WithoutTimes())
logging.basicConfig(level=logging.INFO, handlers=[handler])
logging.getLogger("stamina").disabled = True


@frozen
class PlaceOrder(Command[int]):
    product: str
    card: str = field(repr=False)  # never shown


attempts: list[PlaceOrder] = []


@handles(PlaceOrder)
def place_order(command: PlaceOrder) -> int:
    attempts.append(command)
    if len(attempts) < 3:
        raise ConnectionError
    return 1


def only_ada(message: Message, call_next: Call) -> Any:  # the whole of what a middleware is
    if current().headers.get("user") != "Ada":
        raise PermissionError("only Ada may")
    return call_next(message)


@around  # or made of a context manager
@contextmanager
def audited(message: Message) -> Generator[None, None, None]:
    logging.getLogger("shop").info("%s is audited", type(message).__name__)
    yield


middlewares = [only_ada, audited, logged(fields=True), retrying(3, on=ConnectionError, first=0, jitter=0)]
bus = Mediator(middlewares=middlewares)

with context(user="Ada"):
    order_id = bus.send(PlaceOrder("tea", "4111 1111"))
print(len(attempts), "attempts: order", order_id)

try:
    bus.send(PlaceOrder("tea", "4111 1111"))
except PermissionError as error:
    print("not allowed:", error)
