"""What the first release tells, and what it does about it."""

from __future__ import annotations

from attrs import evolve, frozen

from simplecqrs import Command, NotificationEvent, handles
from simplecqrs.saga import NO_COMPENSATION, Saga, Step
from tests.chaos.releases.models import Done

__all__ = ["COMMANDS", "EVENTS", "FIRST", "STEPS", "Remind", "delivery"]

RELEASE = "one"


@frozen
class Placed(NotificationEvent, topic="orders", key="key"):
    """An order."""

    key: str
    number: int
    amount: int = 7


@frozen
class Shipped(NotificationEvent, topic="orders", key="key"):
    """It is on its way."""

    key: str
    number: int


@frozen
class Remind(Command[None], key="key"):
    """For later."""

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
    note("placed", event.key, event.number)


@handles(Shipped, consumer="ledger")
def send(event: Shipped) -> None:
    """Handle it."""
    note("shipped", event.key, event.number)


@handles(Remind)
def remind(command: Remind) -> None:
    """Handle it."""
    note("reminded", command.key, command.number)


def pack(parcel: Parcel) -> Parcel:
    """Do a step."""
    note("packed", parcel.key, parcel.number)
    return evolve(parcel, done=("pack",))


def post(parcel: Parcel) -> Parcel:
    """Do a step."""
    note("posted", parcel.key, parcel.number)
    return evolve(parcel, done=(*parcel.done, "post"))


delivery = Saga("delivery", Parcel, [Step("pack", pack, NO_COMPENSATION), Step("post", post, NO_COMPENSATION)])
STEPS = ("packed", "posted")
FIRST = Parcel
EVENTS = {"placed": Placed, "shipped": Shipped}
COMMANDS = {"reminded": Remind}
