"""Who carries out the commands and answers the queries."""

from django.core.exceptions import ValidationError
from django.utils import timezone

from orders.errors import AlreadySettled
from orders.messages import (
    CancelOrder,
    ItemsOrdered,
    ItemsReturned,
    OrderCancelled,
    OrderLine,
    OrderPaid,
    OrderPlaced,
    PayOrder,
    PlaceOrder,
    RecentOrders,
)
from orders.models import Order, Product
from simplecqrs import Publish, handles


@handles(PlaceOrder)
def place_order(command: PlaceOrder, publish: Publish) -> int:
    """Store the order; if there is not enough in stock, nothing of this has happened."""
    product = Product.objects.filter(sku=command.product).first()
    if product is None:
        raise ValidationError({"product": f"there is no product {command.product!r}"})
    order = Order.objects.create(
        email=command.email,
        product=product,
        quantity=command.quantity,
        total=product.price * command.quantity,
    )
    publish(ItemsOrdered(product.sku, order.quantity))
    publish(OrderPlaced(order.id, order.email, order.total, timezone.localdate()))
    return order.id


@handles(PayOrder)
def pay_order(command: PayOrder, publish: Publish) -> None:
    """Mark the order as paid."""
    order = settle(command.order_id, Order.State.PAID)
    publish(OrderPaid(order.id, order.email, order.total, timezone.localdate()))


@handles(CancelOrder)
def cancel_order(command: CancelOrder, publish: Publish) -> None:
    """Mark the order as cancelled and give back what it had reserved."""
    order = settle(command.order_id, Order.State.CANCELLED)
    publish(ItemsReturned(order.product_id, order.quantity))
    publish(OrderCancelled(order.id, order.email))


def settle(order_id: int, state: str) -> Order:
    """Bring an order that is open into its last state."""
    order: Order = Order.objects.select_for_update().get(pk=order_id)
    if order.state != Order.State.PLACED:
        raise AlreadySettled(f"order {order.id} is {order.state} already")
    order.state = state
    order.save(update_fields=["state"])
    return order


@handles(RecentOrders)
def recent_orders(query: RecentOrders) -> list[OrderLine]:
    """Read the latest orders."""
    orders = Order.objects.select_related("product").order_by("-pk")[: query.limit]
    return [OrderLine(o.id, o.email, o.product.name, o.quantity, o.total, o.state) for o in orders]
