"""
A checkout in steps: what fails has a fallback, is undone, or is taken up again when its process has died.

It prints::

    tea: reserved, card charged, shipped, thanked -> COMPLETED
    honey: reserved, invoice sent, shipped, thanked -> COMPLETED
    piano: reserved, card charged, not shipped, refunded, released -> COMPENSATED (ship: ValueError: too heavy)
    salt: reserved, and the process dies
    salt: card charged, shipped, thanked -> COMPLETED
"""

from attrs import evolve, frozen

from simplecqrs import Mediator, Retry
from simplecqrs.saga import Saga, SagaResult, Step, recover_one

said: list[str] = []


@frozen
class Checkout:
    product: str
    paid_by: str = ""


def reserve(state: Checkout) -> None:
    said.append("reserved")


def release(state: Checkout) -> None:
    said.append("released")


def charge_card(state: Checkout) -> Checkout:
    if state.product == "honey":
        raise ConnectionError("the bank does not answer")
    said.append("card charged")
    return evolve(state, paid_by="card")


def send_invoice(state: Checkout) -> Checkout:
    said.append("invoice sent")
    return evolve(state, paid_by="invoice")


def refund(state: Checkout) -> None:
    said.append("refunded")


def ship(state: Checkout) -> None:
    if state.product == "piano":
        said.append("not shipped")
        raise ValueError("too heavy")
    said.append("shipped")


def thank(state: Checkout) -> None:
    said.append("thanked")


checkout = Saga(
    "checkout",
    Checkout,
    [
        Step("reserve", reserve, compensate=release),
        Step("charge", charge_card, compensate=refund, fallback=send_invoice, retry=Retry(2, first=0.01)),
        Step("ship", ship, pivot=True),
        Step("thank", thank),
    ],
)
bus = Mediator()


def tell(result: SagaResult[Checkout]) -> None:
    why = f" ({result.error})" if result.error else ""
    print(f"{result.state.product}: {', '.join(said)} -> {result.status}{why}")
    said.clear()


for product in ("tea", "honey", "piano"):
    tell(checkout.run(bus, Checkout(product)))

steps = checkout.steps(bus, Checkout("salt"))
first = next(steps)  # what closes it here is as good as a crash: it is stored where it is
steps.close()
print(f"{first.state.product}: {said.pop()}, and the process dies")
tell(recover_one(bus, first.saga_id))
