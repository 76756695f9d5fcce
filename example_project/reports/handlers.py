"""
Events become numbers.

These handlers add one and would add it again if they were called again.  They need not care: the row of the inbox
is deleted in the transaction in which they write, so each event counts once, whoever dies in the middle.
"""

from typing import Any

from django.db.models import F, Model

from orders.messages import OrderCancelled, OrderPaid, OrderPlaced
from reports.models import Day, OrderHistory, StateCount
from simplecqrs import handles


@handles(OrderPlaced, consumer="reports")
def count_placed(event: OrderPlaced) -> None:
    """Count an order."""
    add(Day, event.day, orders=1)
    move(event.order_id, to="placed")


@handles(OrderPaid, consumer="reports")
def count_paid(event: OrderPaid) -> None:
    """Count what was earned."""
    add(Day, event.day, paid=1, turnover=event.total)
    move(event.order_id, to="paid", before="placed")


@handles(OrderCancelled, consumer="reports")
def count_cancelled(event: OrderCancelled) -> None:
    """Count an order that comes to nothing."""
    move(event.order_id, to="cancelled", before="placed")


def move(order_id: int, *, to: str, before: str | None = None) -> None:
    """Count an order in its new state, and no longer in the one before."""
    if before is not None:
        add(StateCount, before, orders=-1)
    add(StateCount, to, orders=1)
    add(OrderHistory, order_id, **{to: 1})
    OrderHistory.objects.filter(pk=order_id).update(state=to)


def add(model: type[Model], key: Any, **numbers: Any) -> None:
    """Add to the numbers of a row, which is made if it is not there."""
    model._default_manager.get_or_create(pk=key)
    model._default_manager.filter(pk=key).update(**{name: F(name) + number for name, number in numbers.items()})
