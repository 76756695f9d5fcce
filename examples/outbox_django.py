"""
An order and its event in one transaction; the relay ships it later, and a consumer handles it once.

It prints::

    refused: we have no coffee; orders: 0, events: 0
    ordered 1; orders: 1, events: 1
    relay and consumer ran; reserved: tea, events: 0
"""

from io import StringIO

import django
from attrs import frozen
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django_cqrs"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    USE_TZ=True,
)
django.setup()

from django.contrib.auth.models import Group  # noqa: E402 - stands for an order
from django.core.management import call_command  # noqa: E402

from django_cqrs import bus  # noqa: E402
from django_cqrs.testing import published  # noqa: E402
from simplecqrs import Command, NotificationEvent, Publish, Retry, handles  # noqa: E402


@frozen
class PlaceOrder(Command[int]):
    product: str


@frozen
class OrderPlaced(NotificationEvent, topic="orders", key="order_id"):
    order_id: int
    product: str


@handles(PlaceOrder)
def place_order(command: PlaceOrder, publish: Publish) -> int:
    order = Group.objects.create(name=command.product)
    publish(OrderPlaced(order.pk, command.product))
    if command.product == "coffee":
        raise LookupError("we have no coffee")
    return order.pk


reserved: list[str] = []


@handles(OrderPlaced, consumer="stock", retry=Retry(5, first=10))
def reserve(event: OrderPlaced) -> None:
    reserved.append(event.product)


def counts() -> str:
    return f"orders: {Group.objects.count()}, events: {len(published(OrderPlaced))}"


call_command("migrate", verbosity=0)
try:
    bus.send(PlaceOrder("coffee"))
except LookupError as error:
    print(f"refused: {error}; {counts()}")
print(f"ordered {bus.send(PlaceOrder('tea'))}; {counts()}")

call_command("cqrs_relay", "--consume", "--drain", stdout=StringIO())  # elsewhere a process of its own
print(f"relay and consumer ran; reserved: {', '.join(reserved)}, events: {len(published())}")
