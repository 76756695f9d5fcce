"""
A process that nobody tells: each part hears an event, does its own, and says so.

In Django relay and consumers carry the events; here a loop does, in memory.  It prints::

    payment: 7 is charged
    shipping: 7 is on its way
    payment: 8 is refused
    orders: 8 is called off
    {7: 'shipped', 8: 'called off'}
"""

from attrs import frozen

from simplecqrs import Mediator, NotificationEvent, Publish, handles
from simplecqrs.consumer import Consumer, Policy
from simplecqrs.fetcher import Fetcher
from simplecqrs.loop import Loop
from simplecqrs.memory import MemoryBroker
from simplecqrs.memory_queue import MemoryQueue


class OrderEvent(NotificationEvent, topic="orders", key="order_id"):
    """Something has happened to an order."""


@frozen
class OrderPlaced(OrderEvent):
    order_id: int
    limit: int


@frozen
class OrderCharged(OrderEvent):
    order_id: int


@frozen
class ChargeRefused(OrderEvent):
    order_id: int


orders: dict[int, str] = {}


@handles(OrderPlaced, consumer="payment")
def charge(event: OrderPlaced, publish: Publish) -> None:
    charged = event.limit >= 100
    print("payment:", event.order_id, "is charged" if charged else "is refused")
    publish(OrderCharged(event.order_id) if charged else ChargeRefused(event.order_id))


@handles(OrderCharged, consumer="shipping")
def ship(event: OrderCharged) -> None:
    print("shipping:", event.order_id, "is on its way")
    orders[event.order_id] = "shipped"


@handles(ChargeRefused, consumer="orders")
def call_off(event: ChargeRefused) -> None:
    print("orders:", event.order_id, "is called off")
    orders[event.order_id] = "called off"


broker = MemoryBroker()
bus = Mediator(publisher=broker, source="shop")


def part(name: str) -> list[Fetcher | Consumer]:
    """Return what a part of the shop runs."""
    inbox = MemoryQueue("inbox")
    worker = Consumer(
        consumer=name,
        storage=inbox,
        receive=lambda envelope: bus.receive(envelope, consumer=name),
        policy=lambda envelope: Policy(),
    )
    return [Fetcher(consumer=name, inbox=inbox, feeds=broker.feeds(name, ["orders"])), worker]


loop = Loop([*part("payment"), *part("shipping"), *part("orders")])
for order_id, limit in ((7, 500), (8, 10)):
    orders[order_id] = "placed"
    bus.publish(OrderPlaced(order_id, limit))
    loop.run(drain=True)
print(orders)
