"""The JSON API: makes commands of requests, and responses of what becomes of them."""

import json

from attrs import asdict
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST

from django_cqrs import bus
from django_cqrs.http import answering_errors
from orders.errors import OrderRefused
from orders.messages import CancelOrder, CheckOut, PayOrder, PlaceOrder, RecentOrders
from simplecqrs import load
from simplecqrs.errors import InvalidPayload


@csrf_exempt
@require_http_methods(["GET", "POST"])
@answering_errors(conflict=(OrderRefused,))
def orders(request: HttpRequest) -> JsonResponse:
    """List the latest orders, or place one."""
    if request.method == "GET":
        return JsonResponse({"orders": [asdict(line) for line in bus.send(RecentOrders())]})
    order_id = bus.send(load(PlaceOrder, body_of(request)))
    return JsonResponse({"id": order_id}, status=201)


@csrf_exempt
@require_POST
@answering_errors(conflict=(OrderRefused,))
def pay(request: HttpRequest, order_id: int) -> JsonResponse:
    """Pay an order."""
    bus.send(PayOrder(order_id))
    return JsonResponse({"id": order_id, "state": "paid"})


@csrf_exempt
@require_POST
@answering_errors(conflict=(OrderRefused,))
def check_out(request: HttpRequest, order_id: int) -> JsonResponse:
    """Begin an order's checkout; it goes on after the answer."""
    return JsonResponse({"saga": bus.send(CheckOut(order_id))}, status=202)


@csrf_exempt
@require_POST
@answering_errors(conflict=(OrderRefused,))
def cancel(request: HttpRequest, order_id: int) -> JsonResponse:
    """Cancel an order."""
    bus.send(CancelOrder(order_id))
    return JsonResponse({"id": order_id, "state": "cancelled"})


def body_of(request: HttpRequest) -> dict[str, object]:
    """Read the body; ``load`` looks at what is in it."""
    try:
        return json.loads(request.body)  # type: ignore[no-any-return]
    except ValueError as error:
        raise InvalidPayload("the body is no JSON", [("", str(error))]) from None
