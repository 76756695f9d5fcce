"""What the second release tells: a version more, another event and topic, another command, and names that changed."""

from __future__ import annotations

from typing import Any

from attrs import evolve, frozen

from simplecqrs import Command, NotificationEvent, handles
from simplecqrs.saga import NO_COMPENSATION, Saga, Step
from simplecqrs.upcasting import upcasts
from tests.chaos.releases.models import Done

__all__ = ["COMMANDS", "EVENTS", "FIRST", "STEPS", "Remind", "delivery"]

RELEASE = "two"


@frozen
class Placed(NotificationEvent, topic="orders", key="key", version=2):
    """An order, whose amount has a currency now."""

    key: str
    number: int
    price: str = "7 EUR"


@upcasts(Placed, version=1)
def amounts_were_euros(fields: dict[str, Any]) -> dict[str, Any]:
    """Read what the first release has stored."""
    return {"key": fields["key"], "number": fields["number"], "price": f"{fields['amount']} EUR"}


@frozen
class Dispatched(NotificationEvent, name="shop.Shipped", topic="orders", key="key"):
    """``Shipped``, under the name that it has on the wire."""

    key: str
    number: int


@frozen
class Refunded(NotificationEvent, topic="orders", key="key"):
    """New, on a topic that is known."""

    key: str
    number: int


@frozen
class Rated(NotificationEvent, topic="ratings", key="key"):
    """New, on a topic of its own."""

    key: str
    number: int


@frozen
class Remind(Command[None], key="key"):
    """For later."""

    key: str
    number: int


@frozen
class Thank(Command[None], key="key"):
    """For later, and new."""

    key: str
    number: int


@frozen
class Parcel:
    """The state of a saga."""

    key: str
    number: int
    done: tuple[str, ...] = ()


def note(what: str, key: str, number: int) -> None:
    """Write down what was done."""
    Done.objects.create(what=what, key=key, number=number, release=RELEASE)


@handles(Placed, consumer="ledger")
def book(event: Placed) -> None:
    """Handle it."""
    assert event.price == "7 EUR", event
    note("placed", event.key, event.number)


@handles(Dispatched, consumer="ledger")
def dispatch(event: Dispatched) -> None:
    """Handle it."""
    note("shipped", event.key, event.number)


@handles(Refunded, consumer="ledger")
def refund(event: Refunded) -> None:
    """Handle it."""
    note("refunded", event.key, event.number)


@handles(Rated, consumer="ledger")
def rate(event: Rated) -> None:
    """Handle it."""
    note("rated", event.key, event.number)


@handles(Remind)
def remind(command: Remind) -> None:
    """Handle it."""
    note("reminded", command.key, command.number)


@handles(Thank)
def thank(command: Thank) -> None:
    """Handle it."""
    note("thanked", command.key, command.number)


def pack(parcel: Parcel) -> Parcel:
    """Do a step."""
    note("packed", parcel.key, parcel.number)
    return evolve(parcel, done=("pack",))


def mail(parcel: Parcel) -> Parcel:
    """Do a step, which was called ``post``."""
    note("posted", parcel.key, parcel.number)
    return evolve(parcel, done=(*parcel.done, "mail"))


def bill(parcel: Parcel) -> Parcel:
    """Do a step, which is new."""
    note("billed", parcel.key, parcel.number)
    return evolve(parcel, done=(*parcel.done, "bill"))


delivery = Saga(
    "delivery",
    Parcel,
    [
        Step("pack", pack, NO_COMPENSATION),
        Step("mail", mail, NO_COMPENSATION, aliases=("post",)),
        Step("bill", bill, NO_COMPENSATION),
    ],
)
STEPS = ("packed", "posted", "billed")
FIRST = Parcel
EVENTS = {"placed": Placed, "shipped": Dispatched, "refunded": Refunded, "rated": Rated}
COMMANDS = {"reminded": Remind, "thanked": Thank}
