"""
A web endpoint is a thin view: data becomes a command or a query, the answer a response, an error its status.

It prints::

    POST 201 {"id": 1}
    POST 400 {"error": "invalid", "fields": {"quantity": ["required, and missing"]}}
    GET 200 {"product": "tea", "quantity": 2}
    GET 404 {"error": "there is no order 7"}
"""

import json

import django
from attrs import asdict, frozen
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django_cqrs"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    USE_TZ=True,
)
django.setup()

from django.http import HttpRequest, JsonResponse  # noqa: E402 - the settings come first
from django.test import Client  # noqa: E402
from django.urls import path  # noqa: E402

from django_cqrs import bus  # noqa: E402
from django_cqrs.http import answering_errors  # noqa: E402
from simplecqrs import Command, Query, handles, load  # noqa: E402


@frozen
class PlaceOrder(Command[int]):
    product: str
    quantity: int


@frozen
class GetOrder(Query[PlaceOrder]):
    order_id: int


class NoSuchOrder(LookupError):
    """Raised for an id that no order has."""


orders: dict[int, PlaceOrder] = {}


@handles(PlaceOrder)
def place_order(command: PlaceOrder) -> int:
    orders[len(orders) + 1] = command
    return len(orders)


@handles(GetOrder)
def get_order(query: GetOrder) -> PlaceOrder:
    if query.order_id not in orders:
        raise NoSuchOrder(f"there is no order {query.order_id}")
    return orders[query.order_id]


@answering_errors()
def place(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"id": bus.send(load(PlaceOrder, json.loads(request.body)))}, status=201)


@answering_errors(not_found=(NoSuchOrder,))
def show(request: HttpRequest, order_id: int) -> JsonResponse:
    return JsonResponse(asdict(bus.send(GetOrder(order_id))))


urlpatterns = [path("orders/", place), path("orders/<int:order_id>", show)]
client = Client()
for data in ({"product": "tea", "quantity": 2}, {"product": "tea"}):
    response = client.post("/orders/", data, content_type="application/json")
    print("POST", response.status_code, response.content.decode())
for order_id in (1, 7):
    response = client.get(f"/orders/{order_id}")
    print("GET", response.status_code, response.content.decode())
