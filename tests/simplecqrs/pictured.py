"""What is drawn in tests, ordinary and strange, and every picture of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

from attrs import frozen

from simplecqrs import (
    NOT_MINE,
    Command,
    DomainEvent,
    Mediator,
    NotificationEvent,
    NotMine,
    Publish,
    Registry,
    Retry,
    SyncRequestHandler,
    chain,
    fallback,
)
from simplecqrs.memory import MemoryBroker
from simplecqrs.mermaid import (
    application_flow,
    chain_classes,
    chain_sequence,
    saga_classes,
    saga_flow,
    saga_path,
    saga_sequence,
)
from simplecqrs.saga import NO_COMPENSATION, Parallel, Record, Saga, Step, SyncSagaStep, wait_for

__all__ = [
    "Bank",
    "Checkout",
    "Pay",
    "Receipt",
    "checkout",
    "every_picture",
    "payment",
    "shop",
    "stored",
]

#: Names that are syntax of Mermaid, of HTML or of Markdown.
STRANGE = (
    "end", "class", "1. list", "- item", "__bold__", 'say "hi"', "a;b", "#35;", "<b>x</b>", "`code`", "%%{init: {}}%%",
    "x" * 90, "日本 🙂 ünï", "a-->b", "style: #a;", "o", "x", "[]", "{}", "((", "a|b", "graph TD", "\\", "~T~", "$$x$$",
)  # fmt: skip


@frozen
class Checkout:
    """What the saga works on."""

    order_id: int
    tags: tuple[str, ...] = ()
    note: str | None = None


@frozen
class Paid(NotificationEvent, topic="payments"):
    """Is waited for."""

    order_id: int


@frozen
class Reserved(DomainEvent):
    """Is published by a step."""

    order_id: int


class Bank:
    """Is needed."""


def reserve_stock(state: Checkout, publish: Publish) -> None:
    """Reserve."""
    publish(Reserved(state.order_id))


def charge_card(state: Checkout, *, bank: Bank) -> Checkout:
    """Fail."""
    raise ConnectionError('the "bank" <does> not; answer')


def no_carrier(state: Checkout) -> None:
    """Fail."""
    raise ValueError("no carrier")


def nothing(state: Any) -> None:
    """Do nothing."""


def release_stock(state: Checkout) -> None:
    """Undo."""


def charge_later(state: Checkout) -> None:
    """Be the fallback."""


def cancel_later(state: Checkout) -> None:
    """Undo the fallback."""


class Warn(SyncSagaStep[Checkout]):
    """A step that is a class."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank

    def act(self, state: Checkout) -> None:
        """Do nothing."""

    def compensate(self, state: Checkout) -> None:
        """Do nothing."""


def checkout(registry: Registry) -> Saga[Checkout]:
    """Return a saga with everything that a saga can have."""
    return Saga(
        "checkout",
        Checkout,
        [
            Step("reserve", reserve_stock, release_stock),
            Step(
                "charge",
                charge_card,
                nothing,
                fallback=Step("later", charge_later, cancel_later),
                retry=Retry(3, first=0.0),
            ),
            Parallel(Step("label", nothing, nothing), Step("warn", Warn)),
            Step("paid", wait_for(Paid, key="order_id", timeout=timedelta(days=1))),
            Step("pack", nothing, NO_COMPENSATION, idempotent=False),
            Step("ship", no_carrier, pivot=True),
            Step("thank", nothing),
        ],
        registry=registry,
    )


def strange_saga() -> Saga[Any]:
    """Return a saga whose steps have strange names."""
    names = [name.replace(":", "") for name in STRANGE[::3]]
    return Saga("end", Checkout, [Step(name, nothing, NO_COMPENSATION) for name in names], registry=Registry())


def stored(bus: Mediator, saga: Saga[Any], state: Any) -> Record:
    """Run a saga as far as it goes, and return what is stored of it."""
    record = bus.sagas.load(saga.run(bus, state, patience=0.0).saga_id)
    assert record is not None
    return record


@frozen
class Receipt:
    """Is answered."""

    total: int
    lines: dict[str, list[int]]


@frozen
class Pay(Command["Receipt"]):
    """Is paid in one of several ways."""

    by: str


def by_voucher(command: Pay) -> Receipt | NotMine:
    """Decline."""
    return NOT_MINE


class ByCard(SyncRequestHandler[Pay, "Receipt | NotMine"]):
    """Need a bank."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank

    def handle(self, request: Pay) -> Receipt | NotMine:
        """Decline."""
        return NOT_MINE


def by_bank(command: Pay, publish: Publish, *, bank: Bank) -> Receipt:
    """Answer always."""
    return Receipt(1, {})


def by_paper(command):  # type: ignore[no-untyped-def]
    """Say nothing of types."""


payment = chain(
    by_voucher, fallback(ByCard, by_paper, on=ConnectionError), chain(by_voucher, default=NOT_MINE), by_bank
)


@frozen
class PlaceOrder(Command[int]):
    """Begins it."""

    sku: str


@frozen
class OrderPlaced(NotificationEvent, topic="orders", key="sku"):
    """Goes out."""

    sku: str


def place_order(command: PlaceOrder, publish: Publish) -> int:
    """Publish."""
    publish(OrderPlaced(command.sku))
    return 1


def shop() -> Mediator:
    """Return an application with everything that an application can have."""
    registry = Registry()
    registry.handles(Pay)(payment)
    registry.add(PlaceOrder, place_order)

    @registry.handles(OrderPlaced, consumer="mailing")
    def send_mail(event: OrderPlaced) -> None:
        bus.send(Pay("card"))

    @registry.handles(OrderPlaced, after_commit=True)
    def ring(event: OrderPlaced) -> None: ...

    checkout(registry)
    bus = Mediator(registry, publisher=MemoryBroker(), provide={Bank: Bank})
    return bus


def strange_shop() -> Mediator:
    """Return an application whose classes have strange names."""
    registry = Registry()
    for name in STRANGE[1::3]:
        event = type(name, (NotificationEvent,), {}, topic=name)

        def handle(event: Any) -> None: ...

        handle.__qualname__ = name
        registry.add(event, handle, consumer=name)
    return Mediator(registry, publisher=MemoryBroker())


def every_picture() -> Iterator[tuple[str, Callable[[], str]]]:
    """Give a name and a way to draw it for each kind of picture, of ordinary and of strange things."""
    single = Saga("one", Checkout, [Step("only", nothing)], registry=Registry())
    sagas = {"checkout": checkout(Registry()), "one": single, "strange": strange_saga()}
    for name, saga in sagas.items():
        for draw in (saga_flow, saga_sequence, saga_classes):
            yield f"{draw.__name__} {name}", partial(draw, saga)
        yield f"saga_flow {name} without failures", partial(saga_flow, saga, failing=())
        yield f"saga_sequence {name} without failures", partial(saga_sequence, saga, failing=())
    for name, handler in {"chain": payment, "function": by_bank, "class": ByCard}.items():
        for paint in (chain_sequence, chain_classes):
            yield f"{paint.__name__} {name}", partial(paint, handler, Pay)
    for name, make in {"shop": shop, "strange": strange_shop, "nothing": lambda: Mediator(Registry())}.items():
        yield f"application_flow {name}", lambda make=make: application_flow(make())  # type: ignore[misc]
    yield "saga_path", _path


def _path() -> str:
    registry = Registry()
    saga = checkout(registry)
    bus = Mediator(registry, publisher=MemoryBroker(), provide={Bank: Bank})
    record = stored(bus, saga, Checkout(7))
    return saga_path(saga, record, bus.sagas.history(record.id))
