"""
A small service: an order and its event in one transaction, the outbox to look at, and a relay to press.

A real one has ``manage.py cqrs_relay`` and ``cqrs_status`` for the last two.  It prints::

    POST /orders/ 201 {"id": 1}
    GET /outbox {"waiting": [{"order_id": 1, "product": "tea"}]}
    POST /outbox/publish {"batches": 1}
    GET /outbox {"waiting": []}
    GET /published {"published": [{"orders.placed": {"order_id": 1, "product": "tea"}}]}
"""

import json

import django
from attrs import asdict, frozen
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django_cqrs"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DJANGO_CQRS={
        "BROKERS": {"events": {"BACKEND": "simplecqrs.memory.MemoryBroker"}},
        "ROUTES": {"orders": ["events"]},
    },
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    USE_TZ=True,
)
django.setup()

from django.contrib.auth.models import Group  # noqa: E402 - stands for an order
from django.core.management import call_command  # noqa: E402
from django.http import HttpRequest, JsonResponse  # noqa: E402
from django.test import Client  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.http import require_GET, require_POST  # noqa: E402

from django_cqrs import bus  # noqa: E402
from django_cqrs.brokers import broker  # noqa: E402
from django_cqrs.http import answering_errors  # noqa: E402
from django_cqrs.loops import run  # noqa: E402
from django_cqrs.relay import relays  # noqa: E402
from django_cqrs.testing import published  # noqa: E402
from simplecqrs import Command, NotificationEvent, Publish, handles, load  # noqa: E402


@frozen
class PlaceOrder(Command[int]):
    product: str


@frozen
class OrderPlaced(NotificationEvent, name="orders.placed", topic="orders", key="order_id"):
    order_id: int
    product: str


@handles(PlaceOrder)
def place_order(command: PlaceOrder, publish: Publish) -> int:
    order = Group.objects.create(name=command.product)
    publish(OrderPlaced(order.pk, command.product))
    return order.pk


@require_POST
@answering_errors()
def place(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"id": bus.send(load(PlaceOrder, json.loads(request.body)))}, status=201)


@require_GET
def outbox(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"waiting": [asdict(event) for event in published(OrderPlaced)]})


@require_POST
def publish_all(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"batches": run(relays(), drain=True)})


@require_GET
def sent(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"published": [{e.name: json.loads(e.payload)} for e in broker("events").published]})


urlpatterns = [
    path("orders/", place),
    path("outbox", outbox),
    path("outbox/publish", publish_all),
    path("published", sent),
]
call_command("migrate", verbosity=0)
client = Client()
answer = client.post("/orders/", {"product": "tea"}, content_type="application/json")
print("POST /orders/", answer.status_code, answer.content.decode())
for method, url in (("GET", "/outbox"), ("POST", "/outbox/publish"), ("GET", "/outbox"), ("GET", "/published")):
    print(method, url, client.generic(method, url).content.decode())
