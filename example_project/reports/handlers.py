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
    change(Day, event.day, orders=F("orders") + 1)
    move(event.order_id, to="placed")


@handles(OrderPaid, consumer="reports")
def count_paid(event: OrderPaid) -> None:
    """Count what was earned."""
    change(Day, event.day, paid=F("paid") + 1, turnover=F("turnover") + event.total)
    move(event.order_id, to="paid", before="placed")


@handles(OrderCancelled, consumer="reports")
def count_cancelled(event: OrderCancelled) -> None:
    """Count an order that comes to nothing."""
    move(event.order_id, to="cancelled", before="placed")


def move(order_id: int, *, to: str, before: str | None = None) -> None:
    """Count an order in its new state, and no longer in the one before."""
    change(OrderHistory, order_id, state=to, **{to: F(to) + 1})
    if before is not None:
        change(StateCount, before, orders=F("orders") - 1)
    change(StateCount, to, orders=F("orders") + 1)


def change(model: type[Model], key: Any, **values: Any) -> None:
    """Change a row, which is made if it is not there."""
    row = model._default_manager.filter(pk=key)
    if not row.update(**values):
        model._default_manager.get_or_create(pk=key)
        row.update(**values)
