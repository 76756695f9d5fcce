"""The page: orders, a form to place one, and what the reports say."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from django_cqrs import bus
from orders.errors import OrderRefused
from orders.messages import CancelOrder, CheckOut, PayOrder, PlaceOrder, RecentOrders
from orders.models import Order
from reports.models import Day, StateCount
from shop.forms import OrderForm
from simplecqrs import Command


@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """Show the page."""
    return page(request, OrderForm())


@require_POST
def place(request: HttpRequest) -> HttpResponse:
    """Place an order."""
    form = OrderForm(request.POST)
    if not form.is_valid():
        return page(request, form, status=400)
    wanted = form.cleaned_data
    return carry_out(request, PlaceOrder(wanted["email"], wanted["product"].sku, wanted["quantity"]), form)


@require_POST
def check_out(request: HttpRequest, order_id: int) -> HttpResponse:
    """Begin an order's checkout."""
    get_object_or_404(Order, pk=order_id)
    return carry_out(request, CheckOut(order_id), OrderForm())


@require_POST
def pay(request: HttpRequest, order_id: int) -> HttpResponse:
    """Pay an order."""
    get_object_or_404(Order, pk=order_id)
    return carry_out(request, PayOrder(order_id), OrderForm())


@require_POST
def cancel(request: HttpRequest, order_id: int) -> HttpResponse:
    """Cancel an order."""
    get_object_or_404(Order, pk=order_id)
    return carry_out(request, CancelOrder(order_id), OrderForm())


def carry_out(request: HttpRequest, command: Command[object], form: OrderForm) -> HttpResponse:
    """Send a command; go back to the page, or say why not."""
    try:
        bus.send(command)
    except OrderRefused as error:
        return page(request, form, status=409, problem=str(error))
    return redirect("index")


def page(request: HttpRequest, form: OrderForm, *, status: int = 200, problem: str = "") -> HttpResponse:
    """Render the page."""
    shown = {
        "form": form,
        "problem": problem,
        "orders": bus.send(RecentOrders(limit=25)),
        "states": StateCount.objects.order_by("state"),
        "days": Day.objects.order_by("-day")[:7],
    }
    return render(request, "index.html", shown, status=status)
