"""Chains: the first link that does not say "not mine" answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
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
    Stream,
    SyncEventHandler,
    SyncRequestHandler,
    SyncStreamHandler,
    chain,
    fallback,
)
from simplecqrs.errors import InvalidHandler, NobodyAnswered, NotConfigured
from simplecqrs.handlers import Bind, Combined, Trial, describe
from simplecqrs.memory import MemoryBroker


@frozen
class Pay(Command[str]):
    """Is paid in one of several ways."""

    by: str


@frozen
class List(Stream[str]):
    """Is listed in one of several ways."""

    by: str


@frozen
class Paid(DomainEvent):
    """Is handled in one of several ways."""

    by: str


@frozen
class Told(NotificationEvent):
    """Goes out."""

    by: str


class Failure(Exception):
    """What a link raises."""


def by_voucher(command: Pay) -> str | NotMine:
    """Take vouchers."""
    return "voucher" if command.by == "voucher" else NOT_MINE


class ByCard(SyncRequestHandler[Pay, "str | NotMine"]):
    """Takes cards."""

    def __init__(self, bank: str) -> None:
        self.bank = bank

    def handle(self, command: Pay) -> str | NotMine:
        """Take a card."""
        return f"card at {self.bank}" if command.by == "card" else NOT_MINE


def by_cash(command: Pay, publish: Publish) -> str:
    """Take all the rest."""
    publish(Paid("cash"))
    return "cash"


@pytest.fixture
def registry() -> Registry:
    """Register nothing yet."""
    return Registry()


@pytest.mark.parametrize(("by", "answer"), [("voucher", "voucher"), ("card", "card at bank"), ("shells", "cash")])
def test_the_first_link_that_takes_a_message_answers_it(registry: Registry, by: str, answer: str) -> None:
    """Functions and classes, injected as any handler."""
    registry.handles(Pay)(chain(by_voucher, ByCard, by_cash))

    assert Mediator(registry, provide={str: lambda: "bank"}).send(Pay(by)) == answer


def test_a_chain_that_nobody_answers_is_an_error(registry: Registry) -> None:
    """Which names the message and the cure."""
    registry.handles(Pay)(chain(by_voucher, by_voucher))

    with pytest.raises(NobodyAnswered, match=r"no link of the chain has answered Pay; .*default="):
        Mediator(registry).send(Pay("shells"))


def test_a_chain_that_nobody_answers_may_have_a_default(registry: Registry) -> None:
    """None, for instance."""
    registry.add(Pay, chain(by_voucher, default="on the house"))

    assert Mediator(registry).send(Pay("shells")) == "on the house"


def test_an_answer_of_none_is_an_answer(registry: Registry) -> None:
    """Only NOT_MINE is not."""
    registry.add(Pay, chain(lambda command: None, by_cash))

    assert Mediator(registry).send(Pay("")) is None


def test_a_link_that_fails_has_failed(registry: Registry) -> None:
    """The next one is not asked."""

    def failing(command: Pay) -> str:
        raise Failure

    registry.handles(Pay)(chain(failing, by_cash))

    with pytest.raises(Failure):
        Mediator(registry).send(Pay(""))


def hesitating(command: Pay, publish: Publish) -> str | NotMine:
    """Publish, and then leave the message to others."""
    publish(Paid("hesitation"))
    publish(Told("hesitation"))
    return NOT_MINE


def deciding(command: Pay, publish: Publish) -> str:
    """Publish, and answer."""
    publish(Paid("decision"))
    publish(Told("decision"))
    return "decided"


@pytest.mark.parametrize("links", [(hesitating, deciding), (hesitating, chain(hesitating, deciding))])
@pytest.mark.parametrize("transaction", [False, True])
def test_the_events_of_the_link_that_answers_are_published_and_no_others(
    registry: Registry, links: Any, transaction: bool
) -> None:
    """What another one has published before it said "not mine" is neither handled nor shipped."""
    handled: list[str] = []
    registry.add(Pay, chain(*links))
    registry.add(Paid, lambda event: handled.append(event.by))
    broker = MemoryBroker()

    Mediator(registry, publisher=broker, transaction=(lambda _: nullcontext()) if transaction else None).send(Pay(""))

    assert handled == ["decision"]
    assert [envelope.payload for envelope in broker.published] == [b'{"by":"decision"}']


def test_the_same_links_may_be_in_several_chains(registry: Registry) -> None:
    """They know nothing of each other."""

    @frozen
    class Refund(Pay):
        """Another command."""

    registry.add(Pay, chain(by_voucher, lambda command: "second of Pay"))
    registry.add(Refund, chain(by_voucher, lambda command: "second of Refund"))
    bus = Mediator(registry)

    assert [bus.send(Pay("")), bus.send(Refund("")), bus.send(Pay("voucher"))] == [
        "second of Pay", "second of Refund", "voucher",
    ]  # fmt: skip


def test_a_chain_is_built_once(registry: Registry) -> None:
    """Not for each message."""
    built: list[int] = []

    class Counting(Combined[Pay, str]):
        links = ()

        def build(self, bind: Bind, trial: Trial, /, *, is_stream: bool) -> Callable[[Any], Any]:
            built.append(1)
            return by_voucher

    registry.add(Pay, chain(Counting(), by_cash))
    bus = Mediator(registry)

    assert {bus.send(Pay("")) for _ in range(3)} == {"cash"}
    assert built == [1]


# Streams


def two(stream: List) -> Iterator[str] | NotMine:
    """Answer with an iterator, or leave it."""
    return iter(["1", "2"]) if stream.by == "two" else NOT_MINE


class Three(SyncStreamHandler[List, str]):
    """Always answers."""

    def handle(self, stream: List) -> Iterator[str]:
        """Yield three."""
        yield from "123"


@pytest.mark.parametrize(("by", "items"), [("two", ["1", "2"]), ("three", ["1", "2", "3"])])
def test_a_stream_can_have_a_chain(registry: Registry, by: str, items: list[str]) -> None:
    """Its links return iterators; a generator always answers."""
    registry.handles(List)(chain(two, Three))

    assert [*Mediator(registry).stream(List(by))] == items


def test_a_chain_of_a_stream_may_have_a_default(registry: Registry) -> None:
    """Anything that can be iterated."""
    registry.add(List, chain(two, default=()))

    assert [*Mediator(registry).stream(List(""))] == []


def test_a_writing_stream_can_have_a_chain(registry: Registry) -> None:
    """What a link has published before it said "not mine" is gone there too."""
    broker = MemoryBroker()

    def leaving(stream: List, publish: Publish) -> Iterator[str] | NotMine:
        publish(Told("left"))
        return NOT_MINE

    def writing(stream: List, publish: Publish) -> Iterator[str]:
        publish(Told("taken"))
        yield "1"

    registry.handles(List, transaction="item")(chain(leaving, writing))

    assert [*Mediator(registry, publisher=broker).stream(List(""))] == ["1"]
    assert [envelope.payload for envelope in broker.published] == [b'{"by":"taken"}']


# Events


class TakesCash(SyncEventHandler[Paid]):
    """Handles what was paid in cash."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    def handle(self, event: Paid) -> None:
        """Take it down."""
        self.log.append(f"cash {event.by}")


def test_an_event_can_be_handled_by_a_chain(registry: Registry) -> None:
    """None is an answer: the event was handled."""
    log: list[str] = []

    def vouchers(event: Paid) -> NotMine | None:
        return log.append("voucher") if event.by == "voucher" else NOT_MINE

    registry.add(Paid, chain(vouchers, TakesCash))
    bus = Mediator(registry, provide={list[str]: lambda: log})

    bus.publish(Paid("voucher"))
    bus.publish(Paid("coins"))

    assert log == ["voucher", "cash coins"]


# Nesting


def test_chains_and_fallbacks_nest(registry: Registry) -> None:
    """An inner chain passes a message on by ``default=NOT_MINE``."""

    def broken(command: Pay) -> str | NotMine:
        raise ConnectionError

    registry.add(
        Pay, chain(chain(by_voucher, default=NOT_MINE), fallback(broken, chain(by_voucher, lambda command: "backup")))
    )
    bus = Mediator(registry)

    assert [bus.send(Pay("voucher")), bus.send(Pay("shells"))] == ["voucher", "backup"]


# What is refused


async def asynchronous(command: Pay) -> str:
    """Be asynchronous."""
    return ""


def of_another(command: List) -> str:
    """Take another message."""
    return ""


def generating(command: Pay) -> Iterator[str]:
    """Be a generator."""
    yield ""


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        (asynchronous, "asynchronous is async"),
        (of_another, "of_another takes List; it cannot handle Pay"),
        (generating, "generating is a generator, which cannot answer Pay"),
        (TakesCash, "derive it from SyncRequestHandler"),
        ("by_cash", "'by_cash' cannot handle Pay: it is not callable"),
        (lambda command, publish, users: "", "write \\* before users"),
    ],
)
@pytest.mark.parametrize("combine", [chain, fallback])
def test_a_link_of_the_wrong_shape_is_refused_at_registration(
    registry: Registry, combine: Any, link: Any, reason: str
) -> None:
    """As any handler is."""
    with pytest.raises(InvalidHandler, match=reason):
        registry.add(Pay, combine(by_cash, link))


def test_what_a_link_needs_and_nothing_provides_is_found_at_start(registry: Registry) -> None:
    """With the link's own name."""
    registry.add(Pay, chain(by_voucher, fallback(ByCard, by_cash)))

    with pytest.raises(NotConfigured, match="ByCard needs bank: str, which nothing provides"):
        Mediator(registry).check()


def test_a_chain_is_described_by_its_links() -> None:
    """In errors."""
    assert describe(chain(by_voucher, ByCard)) == (f"chain(function {__name__}.by_voucher, class {__name__}.ByCard)")
