"""``describe``: what a mediator does, as data and as text."""

from __future__ import annotations

import json
from collections.abc import Iterator

from attrs import asdict, frozen

from simplecqrs import Command, DomainEvent, Mediator, NotificationEvent, Registry, Stream
from simplecqrs.described_text import as_text
from simplecqrs.describing import describe, describe_message
from simplecqrs.description import Description, MessageDescription
from tests.simplecqrs.pictured import Pay, shop


@frozen
class Alone(Command["list[int]"]):
    """Nobody handles it."""

    which: int = 7


@frozen
class Base(DomainEvent):
    """Is handled."""


@frozen
class Special(Base):
    """Is handled for its base."""


@frozen
class Items(Stream[int]):
    """Writes."""


def one(described: Description, name: str) -> MessageDescription:
    """Return what is said of one message."""
    [found] = [message for message in described.messages if message.title == name]
    return found


def test_every_message_is_described() -> None:
    """Those that are handled, and those that are published or sent only; the steps of sagas with these."""
    described = describe(shop())

    assert {message.title for message in described.messages} == {
        "Pay", "PlaceOrder", "OrderPlaced", "Paid", "Reserved",
    }  # fmt: skip
    assert [saga.name for saga in described.sagas] == ["checkout"]
    assert {consumer.name: list(consumer.topics) for consumer in described.consumers} == {
        "mailing": ["orders"], "sagas": ["payments"],
    }  # fmt: skip


def test_a_handler_says_where_when_and_why() -> None:
    """With what it needs, publishes and sends."""
    handlers = one(describe(shop()), "OrderPlaced").handlers

    assert [(h.title, h.when, h.consumer) for h in handlers] == [
        ("send_mail", "later", "mailing"), ("ring", "after commit", ""),
    ]  # fmt: skip
    assert handlers[0].why == "consumer='mailing' where it was registered"
    assert list(handlers[0].sends) == ["Pay"]
    [chained] = one(describe(shop()), "Pay").handlers
    assert list(chained.links) == ["by_voucher", "ByCard", "by_paper", "by_voucher", "by_bank"]
    assert dict(chained.needs) == {"bank": "Bank"}


def test_a_handler_of_a_base_says_so() -> None:
    """Since nobody has registered it for the event itself."""
    registry = Registry()
    registry.add(Base, lambda event: None)
    [handler] = describe_message(Mediator(registry), Special).handlers

    assert handler.why == "nothing else was said where it was registered, for its base Base"


def test_what_is_missing_is_said() -> None:
    """With its cure."""
    bus = Mediator(Registry())

    [alone] = describe_message(bus, Alone).notes
    [special] = describe_message(bus, Special).notes
    assert alone == "it cannot be sent: nobody handles it; write a handler with @handles(Alone)"
    assert special.startswith("nobody handles it: publishing it does nothing")

    @frozen
    class Told(NotificationEvent):
        pass

    assert [note.partition(":")[0] for note in describe_message(bus, Told).notes] == [
        "nobody handles it here; others may, wherever it goes", "it cannot be published",
    ]  # fmt: skip


def test_units_of_work_are_described() -> None:
    """Those of commands and of streams that write; what reads has none."""
    registry = Registry()

    @registry.handles(Items, transaction="item")
    def give(stream: Items) -> Iterator[int]:
        yield 1

    bus = Mediator(registry)

    assert describe_message(bus, Items).unit == "a transaction for each item"
    assert describe_message(bus, Alone).unit == "none"
    assert describe_message(bus, Alone).answer == "list[int]"


def test_the_data_is_plain() -> None:
    """So that JSON can be made of it, and is the same again."""
    described = describe(shop())

    assert json.loads(json.dumps(asdict(described)))["messages"][0]["title"] == one(described, "Pay").title


def test_the_text_says_all_of_it() -> None:
    """A paragraph for each message, consumer and saga."""
    text = as_text(describe(shop()))

    assert text.count("\n\n") == 5 + 2 + 1 - 1
    assert "PlaceOrder(sku: str) -> int\n    command PlaceOrder, class tests.simplecqrs.pictured.PlaceOrder\n" in text
    assert "        publishes, as its source shows: OrderPlaced\n" in text
    assert "    leaves by the topic 'orders', in the order of each sku: it is a notification event" in text
    assert "    2. charge: charge_card, else charge_later, undone by nothing, 3 attempts\n" in text
    assert as_text(Description()) == "nothing is registered"


def test_a_part_is_found_by_any_of_its_names() -> None:
    """A message's class, with module or without, its name on the wire, a consumer, a saga."""
    described = describe(shop())

    assert [m.title for m in described.about(f"{Pay.__module__}.Pay").messages] == ["Pay"]
    assert [m.title for m in described.about("mailing").messages] == ["OrderPlaced"]
    assert described.about("saga.checkout") == described.about("checkout")
    assert not described.about("nothing").messages
