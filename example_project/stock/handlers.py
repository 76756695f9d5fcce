"""The stock goes along with orders: in the same transaction, or not at all."""

from django.db.models import F

from orders.errors import OutOfStock
from orders.messages import ItemsOrdered, ItemsReturned
from simplecqrs import handles
from stock.models import Item


@handles(ItemsOrdered)
def reserve(event: ItemsOrdered) -> None:
    """Take items off the shelf; what is raised here fails the command that published the event."""
    enough = Item.objects.filter(sku=event.sku, available__gte=event.quantity)
    if not enough.update(available=F("available") - event.quantity):
        raise OutOfStock(f"fewer than {event.quantity} of {event.sku} are left")


@handles(ItemsReturned)
def put_back(event: ItemsReturned) -> None:
    """Put items back onto the shelf."""
    Item.objects.filter(sku=event.sku).update(available=F("available") + event.quantity)
