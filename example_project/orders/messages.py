"""What the shop can be asked to do, and what it says has happened."""

from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from attrs import Attribute, field, frozen, validators

from simplecqrs import Command, DomainEvent, NotificationEvent, Query


def an_address(command: object, field: "Attribute[Any]", value: Any) -> None:
    """Refuse what cannot be an e-mail address; attrs calls this for the field that names it as its validator."""
    name, _, host = value.partition("@")
    if not name or not host or " " in value:
        raise ValueError(f"{value!r} is no e-mail address")


# Commands: each has one handler, which runs in a transaction.


@frozen
class PlaceOrder(Command[int]):
    """Order something; answers the order's id."""

    email: str = field(validator=validators.and_(an_address, validators.max_len(200)))
    product: str = field(validator=validators.min_len(1))
    quantity: int = field(validator=[validators.ge(1), validators.le(100)])


@frozen
class PayOrder(Command[None]):
    """Pay what was ordered."""

    order_id: int


@frozen
class CheckOut(Command[UUID]):
    """Charge, ship and thank for what was ordered; answers the saga's id."""

    order_id: int


@frozen
class CancelOrder(Command[None]):
    """Call an order off that is not paid yet."""

    order_id: int


# Queries change nothing.


@frozen
class OrderLine:
    """An order, as lists show it."""

    id: int
    email: str
    product: str
    quantity: int
    total: Decimal
    state: str


@frozen
class RecentOrders(Query[list[OrderLine]]):
    """List the latest orders, the newest first."""

    limit: int = 50


# Domain events: for this project alone, handled in the same transaction.


@frozen
class ItemsOrdered(DomainEvent):
    """Somebody wants so many of a product."""

    sku: str
    quantity: int


@frozen
class ItemsReturned(DomainEvent):
    """Somebody does not want them after all."""

    sku: str
    quantity: int


# Integration events: for whoever wants to know, later and elsewhere.  Those of one order stay in their order.


class OrderEvent(NotificationEvent, topic="orders", key="order_id"):
    """Something has happened to an order."""


@frozen
class OrderPlaced(OrderEvent):
    """An order was placed."""

    order_id: int
    email: str
    total: Decimal
    day: date


@frozen
class OrderPaid(OrderEvent):
    """An order was paid."""

    order_id: int
    email: str
    total: Decimal
    day: date


@frozen
class OrderCancelled(OrderEvent):
    """An order was called off."""

    order_id: int
    email: str
