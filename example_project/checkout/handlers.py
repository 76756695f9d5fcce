"""
The checkout: one story of several steps, each in a transaction of its own, undone if a later one fails.

Whoever dies in the middle, it goes on where it was; ``manage.py cqrs_sagas list`` and the admin say where that is.
"""

from decimal import Decimal
from uuid import NAMESPACE_URL, UUID, uuid5

from attrs import evolve, frozen
from django.core.mail import EmailMessage

from checkout import bank
from checkout.models import Invoice, Parcel
from django_cqrs import bus
from orders.errors import AlreadySettled, OrderRefused
from orders.messages import CheckOut, PayOrder
from orders.models import Order
from simplecqrs import handles
from simplecqrs.saga import Saga, Step, current_step

#: Seconds that a step may take.  Whoever dies in one is missed half a minute after the longest.
SECONDS = 5.0
#: Items that the van takes of one order.
ROOM = 8


class TooLarge(OrderRefused):
    """Raised when an order does not fit into the van."""


@frozen
class Checkout:
    """What the steps work on; stored between them."""

    order_id: int
    email: str
    total: Decimal
    paid_by: str = ""


def reserve(state: Checkout) -> None:
    """Reserve a place in the van.  Its row belongs to the step's transaction, so it is made once."""
    Parcel.objects.create(order_id=state.order_id)


def release(state: Checkout) -> None:
    """Let somebody else have the place."""
    Parcel.objects.filter(order_id=state.order_id).update(state=Parcel.State.RELEASED)


def charge(state: Checkout) -> Checkout:
    """Charge the card.  The bank is not in our transaction: it knows by the key what it has booked already."""
    bank.charge(current_step().key, state.total)
    return evolve(state, paid_by="card")


def refund(state: Checkout) -> None:
    """Give the money back, whether it came or not."""
    bank.undo(current_step().undoes)


def send_invoice(state: Checkout) -> Checkout:
    """Let who has no card pay later."""
    Invoice.objects.create(order_id=state.order_id, total=state.total)
    return evolve(state, paid_by="invoice")


def void_invoice(state: Checkout) -> None:
    """Take the invoice back."""
    Invoice.objects.filter(order_id=state.order_id).update(is_void=True)


def ship(state: Checkout) -> None:
    """Give the order to the carrier.  There is no way back; if it was cancelled meanwhile, this is where it shows."""
    if Order.objects.get(pk=state.order_id).quantity > ROOM:
        raise TooLarge(f"order {state.order_id} does not fit into the van")
    bus.send(PayOrder(state.order_id))
    Parcel.objects.filter(order_id=state.order_id).update(state=Parcel.State.SHIPPED)


def thank(state: Checkout) -> None:
    """Thank the customer.  After the pivot a step is tried until it works."""
    EmailMessage(
        subject=f"Thank you for order {state.order_id}",
        body=f"Dear customer,\n\nit is on its way, paid by {state.paid_by}.\n",
        to=[state.email],
        headers={"Message-ID": f"<{current_step().key.replace(':', '.')}@shop.example>"},
    ).send()


checkout = Saga(
    "checkout",
    Checkout,
    [
        Step("reserve", reserve, compensate=release, timeout=SECONDS),
        Step(
            "charge",
            charge,
            compensate=refund,
            fallback=Step("invoice", send_invoice, compensate=void_invoice),
            fallback_on=bank.CardRefused,
            timeout=SECONDS,
        ),
        Step("ship", ship, pivot=True, timeout=SECONDS),
        Step("thank", thank, timeout=SECONDS),
    ],
)


@handles(CheckOut)
def check_out(command: CheckOut) -> UUID:
    """Begin the checkout in this transaction, for the consumer "sagas" to do; one for each order."""
    order = Order.objects.get(pk=command.order_id)
    if order.state != Order.State.PLACED:
        raise AlreadySettled(f"order {order.id} is {order.state} already")
    saga_id = uuid5(NAMESPACE_URL, f"shop:checkout:{order.id}")
    return checkout.start(bus, Checkout(order.id, order.email, order.total), saga_id=saga_id)
