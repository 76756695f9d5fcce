"""
The steps of a saga seen in a browser, as server-sent events: each one when it is done.

See docs/streaming-to-browsers.md, which begins with when to poll instead.  It prints::

    event: start
    data: {"order":7}
    event: progress
    data: {"step":"reserve","action":"act","status":"completed"}
    event: progress
    data: {"step":"ship","action":"act","status":"failed"}
    event: progress
    data: {"step":"reserve","action":"undo act","status":"completed"}
    event: complete
    data: {"items":3}
"""

from collections.abc import Iterator

import django
from attrs import frozen
from django.conf import settings

settings.configure(INSTALLED_APPS=["django_cqrs"], ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, USE_TZ=True)
django.setup()

from django.http import HttpRequest, HttpResponseBase  # noqa: E402 - the settings come first
from django.test import RequestFactory  # noqa: E402
from django.views.decorators.http import require_POST  # noqa: E402

from django_cqrs.sse import sse_response  # noqa: E402
from simplecqrs import Mediator  # noqa: E402
from simplecqrs.saga import Saga, Step  # noqa: E402


@frozen
class Order:
    number: int


def reserve(state: Order) -> None: ...
def release(state: Order) -> None: ...


def ship(state: Order) -> None:
    raise ValueError("too heavy")


checkout = Saga("checkout", Order, [Step("reserve", reserve, release), Step("ship", ship, pivot=True)])
bus = Mediator()  # which keeps sagas in memory; that of a project keeps them in its database


def steps(order: Order) -> Iterator[dict[str, str]]:
    for step in checkout.steps(bus, order):  # a browser that leaves does not stop it: it can be taken up again
        yield {"step": step.name, "action": step.action, "status": step.status}


@require_POST
def check_out(request: HttpRequest, number: int) -> HttpResponseBase:
    return sse_response(steps(Order(number)), start={"order": number}, ids=None, heartbeat=None)


response = check_out(RequestFactory().post("/orders/7/checkout"), 7)
print("\n".join(line for line in response.getvalue().decode().splitlines() if line not in ("", ":")))
