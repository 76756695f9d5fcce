"""The acceptance rows of registration, types, codecs and names: 14, 15, 17 to 19, 45, 56."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import pydantic
import pytest
from attrs import evolve, frozen

from django_cqrs import DjangoMediator
from django_cqrs.errors import QueryWrote
from simplecqrs import (
    UNSET,
    Command,
    DomainEvent,
    Mediator,
    NotificationEvent,
    Publish,
    Query,
    Registry,
    SyncEventHandler,
    SyncRequestHandler,
    Unset,
    message,
)
from simplecqrs.codec import JSONCodec
from simplecqrs.codec.msgspec import MsgspecCodec
from simplecqrs.codec.orjson import OrjsonCodec
from simplecqrs.errors import (
    CQRSError,
    DuplicateHandler,
    HandlerNotFound,
    InvalidHandler,
    InvalidMessage,
    InvalidPayload,
    NotConfigured,
    NotPublished,
    UnknownMessage,
)
from simplecqrs.memory import MemoryBroker
from simplecqrs.messages import Message
from tests.desk.models import Note

T = TypeVar("T")
TYPING = Path(__file__).parent.parent / "typing"


@frozen
class Rename(Command[str]):
    """Changes something."""

    name: str


@frozen
class Find(Query[str]):
    """Looks something up."""

    name: str


@frozen
class Renamed(DomainEvent):
    """Has happened."""

    name: str


@frozen
class Announced(NotificationEvent):
    """Has happened, and goes out."""

    name: str


# 14


def test_row_14_no_way_round_overwrites_a_handler() -> None:
    """A registry is no dict; what one iterates over, a mediator's list included, is not what it keeps."""
    registry = Registry()
    registry.add(Rename, lambda command: "first")

    for method in (
        "__setitem__",
        "__delitem__",
        "pop",
        "popitem",
        "update",
        "setdefault",
        "clear",
        "remove",
        "__ior__",
    ):
        assert not hasattr(registry, method)
    other = Registry()
    other.add(Rename, lambda command: "second")
    attempts: list[Callable[[], object]] = [
        lambda: registry.add(Rename, lambda command: "second"),
        lambda: registry.handles(Rename)(lambda command: "second"),
        lambda: registry.include(other),
    ]
    for attempt in attempts:
        with pytest.raises(DuplicateHandler, match="Rename is handled by"):
            attempt()
    bus = Mediator(registry)
    bus.registrations().clear()

    assert bus.send(Rename("x")) == "first"
    with pytest.raises(NotConfigured, match="after"):
        registry.add(Find, lambda query: "late")


def test_row_14_a_refused_include_takes_over_nothing() -> None:
    """Not even what came before the second handler."""
    registry, other = Registry(), Registry()
    registry.add(Rename, lambda command: "first")
    other.add(Find, lambda query: "found")
    other.add(Rename, lambda command: "second")

    with pytest.raises(DuplicateHandler):
        registry.include(other)

    with pytest.raises(HandlerNotFound):
        Mediator(registry).send(Find("x"))


class OfEvents(SyncEventHandler[Renamed]):
    """Handles events."""

    def handle(self, event: Renamed) -> None:
        """Do nothing."""


class OfQueries(SyncRequestHandler[Find, str]):
    """Handles another request."""

    def handle(self, query: Find) -> str:
        """Answer."""
        return query.name


class Empty(SyncRequestHandler[Rename, str]):
    """Has no method."""


def of_another(query: Find) -> str:
    """Take another message."""
    return query.name


def third(command: Rename, publish: Publish, users: int) -> str:
    """Take a third parameter by position."""
    return ""


def untyped(command: Rename, *, users) -> str:  # type: ignore[no-untyped-def]
    """Take a dependency without a type."""
    return ""


WRONG = [OfEvents, OfQueries, Empty, of_another, third, untyped, str, int, object, None, 7, "f", lambda: "", Renamed]


@pytest.mark.parametrize("handler", WRONG, ids=[str(getattr(h, "__name__", h)) for h in WRONG])
def test_row_14_a_wrong_handler_is_refused_when_it_is_registered(handler: Any) -> None:
    """The error names handler and message."""
    with pytest.raises(InvalidHandler) as caught:
        Registry().add(Rename, handler)

    assert len(str(caught.value)) > 40


@pytest.mark.parametrize("kind", [int, Message, "Rename", Rename("x"), None, list[int]])
def test_row_14_what_is_no_message_class_is_refused(kind: Any) -> None:
    """``EventMap.bind(int, str)`` was accepted once."""
    with pytest.raises(InvalidMessage):
        Registry().add(kind, lambda message: None)


# 15


def test_row_15_commands_and_queries_are_told_apart_by_their_bases() -> None:
    """So that middlewares, transactions and guards can treat them differently."""
    opened: list[str] = []
    registry = Registry()
    registry.add(Rename, lambda command: command.name)
    registry.add(Find, lambda query: query.name)

    from contextlib import contextmanager

    @contextmanager
    def transaction(message: Message) -> Any:
        opened.append(type(message).__name__)
        yield

    bus = Mediator(registry, transaction=transaction)

    assert [bus.send(Find("x")), bus.send(Rename("y"))] == ["x", "y"]
    assert opened == ["Rename"]
    assert not issubclass(Find, Command)
    assert not issubclass(Rename, Query)


def _publishes(query: Find, publish: Publish) -> str:
    publish(Renamed("x"))
    return ""


class _PublishesItself(SyncRequestHandler[Find, str]):
    def handle(self, query: Find) -> str:
        self.publish(Renamed("x"))
        return ""


@pytest.mark.parametrize("handler", [_publishes, _PublishesItself])
def test_row_15_a_query_that_publishes_is_an_error(handler: Any) -> None:
    """It names message and cure; through a command that the query sends as well."""
    seen: list[Any] = []
    registry = Registry()
    registry.add(Find, handler)
    registry.add(Renamed, seen.append)
    bus = Mediator(registry)

    with pytest.raises(NotPublished, match=r"Renamed .* Find, a query.*make it a command"):
        bus.send(Find("x"))

    assert seen == []


def test_row_15_a_query_cannot_publish_through_a_command_or_the_bus_either() -> None:
    """Nothing goes round it."""
    registry = Registry()
    buses: list[Mediator] = []
    registry.add(Find, lambda query: buses[0].send(Rename(query.name)))
    registry.add(Rename, lambda command, publish: publish(Renamed("x")) or buses[0].publish(Renamed("y")) or "")
    buses.append(Mediator(registry))

    with pytest.raises(NotPublished, match="Find"):
        buses[0].send(Find("x"))


@pytest.mark.usefixtures("committed")
def test_row_15_a_query_that_writes_is_an_error_in_django() -> None:
    """Whatever DEBUG is; a command may."""
    registry = Registry()
    registry.add(Find, lambda query: str(Note.objects.create(text=query.name).pk))
    registry.add(Rename, lambda command: str(Note.objects.create(text=command.name).pk))
    bus = DjangoMediator(registry)

    with pytest.raises(QueryWrote, match="Find"):
        bus.send(Find("x"))
    bus.send(Rename("y"))

    assert [note.text for note in Note.objects.all()] == ["y"]


# 17


@pytest.mark.parametrize(
    "pin",
    [
        r"assert_type\(bus\.send\(CreateUser\([^)]*\)\), int\)",
        r"assert_type\(bus\.send\(RenameUser\([^)]*\)\), None\)",
        r'assert_type\(bus\.send\(FindUser\([^)]*\)\), "UserView \| None"\)',
        r'assert_type\(bus\.send\(ListUsers\(\)\), "list\[UserView\]"\)',
        r"assert_type\(bus\.stream\(\w+\([^)]*\)\), Generator\[\w+, None, None\]\)",
    ],
)
def test_row_17_the_checkers_infer_what_send_returns_from_the_request(pin: str) -> None:
    """tests/typing asks mypy and pyright, in strict mode; here it is looked that every kind is asked for."""
    assert re.search(pin, (TYPING / "api.py").read_text())


def test_row_17_what_checkers_are_to_refuse_is_pinned_as_well() -> None:
    """Wrong message, answer, async, generators, links, keywords."""
    marked = [line for line in (TYPING / "wrong.py").read_text().splitlines() if "# expect: error" in line]

    assert len(marked) >= 15


# 18 and 19: what messages are made of


class Colour(Enum):
    """An enum."""

    RED = "red"
    BLUE = 2


@frozen
class Line:
    """Is nested."""

    sku: UUID
    price: Decimal


@dataclass(frozen=True)
class Item:
    """Is nested in messages of every library."""

    sku: UUID
    price: Decimal


@frozen
class AttrsPlaced(NotificationEvent):
    """Made by attrs."""

    id: UUID
    at: datetime
    total: Decimal
    colour: Colour
    lines: list[Item]
    note: str | None = None


@dataclass(frozen=True)
class DataclassPlaced(NotificationEvent):
    """Made by dataclasses."""

    id: UUID
    at: datetime
    total: Decimal
    colour: Colour
    lines: list[Item]
    note: str | None = None


class PydanticPlaced(pydantic.BaseModel, NotificationEvent):
    """Made by pydantic."""

    model_config = pydantic.ConfigDict(frozen=True)
    id: UUID
    at: datetime
    total: Decimal
    colour: Colour
    lines: list[Item]
    note: str | None = None


@message(name="MsgspecPlaced")
class MsgspecPlaced(msgspec.Struct, NotificationEvent, frozen=True):
    """Made by msgspec."""

    id: UUID
    at: datetime
    total: Decimal
    colour: Colour
    lines: list[Item]
    note: str | None = None


LIBRARIES = [AttrsPlaced, DataclassPlaced, PydanticPlaced, MsgspecPlaced]
FIELDS: dict[str, Any] = {
    "id": UUID(int=7),
    "at": datetime(2026, 1, 2, 3, 4, 5, 678, timezone(timedelta(hours=2))),
    "total": Decimal("10.10"),
    "colour": Colour.BLUE,
    "lines": [Item(UUID(int=8), Decimal("0.30"))],
}


@pytest.mark.parametrize("kind", LIBRARIES)
def test_row_18_messages_of_every_library_pass_the_same_way(kind: Any) -> None:
    """Published, handled here, sent out in the same bytes, received elsewhere as what they were."""
    seen: list[Any] = []
    registry, broker = Registry(), MemoryBroker()
    registry.add(kind, seen.append)
    registry.add(kind, seen.append, consumer="elsewhere")
    bus = Mediator(registry, publisher=broker)
    event = kind(**FIELDS)
    bus.publish(event)
    [envelope] = broker.published

    bus.receive(envelope, consumer="elsewhere")

    assert seen == [event, event]
    assert [type(s) for s in seen] == [kind, kind]
    expected = JSONCodec().encode(AttrsPlaced(**FIELDS))
    assert envelope.payload == expected


class OwnCommand(Command["OwnAnswer"]):
    """Made by hand."""

    def __init__(self, number: int) -> None:
        self.number = number


class OwnAnswer:
    """Made by hand as well."""

    def __init__(self, number: int) -> None:
        self.number = number


def test_row_18_requests_and_answers_can_be_any_class() -> None:
    """What stays in the process needs no codec; kinds may be mixed."""
    registry = Registry()
    registry.add(OwnCommand, lambda command: OwnAnswer(command.number))

    assert Mediator(registry).send(OwnCommand(7)).number == 7


def test_row_18_a_class_that_cannot_be_written_says_so_when_it_is_published() -> None:
    """Instead of going out empty."""

    class OwnEvent(NotificationEvent):
        def __init__(self, number: int) -> None:
            self.number = number

    broker = MemoryBroker()

    with pytest.raises(CQRSError, match="OwnEvent"):
        Mediator(Registry(), publisher=broker).publish(OwnEvent(7))

    assert broker.published == []


@frozen
class Everything(NotificationEvent):
    """Has a field of each type that row 19 names, and some more."""

    uuid: UUID
    at: datetime
    day: date
    amount: Decimal
    colour: Colour
    raw: bytes
    nested: Line
    maybe: Line | None
    lines: list[Line]
    by_day: dict[date, Decimal]
    by_id: dict[UUID, list[Colour]]
    pair: tuple[int, Decimal]
    tags: frozenset[str]
    left: str | Unset = UNSET


EVERYTHING = Everything(
    uuid=UUID(int=2**127 + 1),
    at=datetime(2026, 10, 25, 2, 30, 0, 1, timezone(timedelta(hours=-3, minutes=-30))),
    day=date(2024, 2, 29),
    amount=Decimal("0.10"),
    colour=Colour.RED,
    raw=b"\x00\xff",
    nested=Line(UUID(int=1), Decimal("-0.000")),
    maybe=None,
    lines=[],
    by_day={date(2026, 1, 1): Decimal("1E+3")},
    by_id={UUID(int=3): [Colour.BLUE, Colour.RED]},
    pair=(1, Decimal("2.50")),
    tags=frozenset({"ä", "\n"}),
)


@pytest.mark.parametrize("codec", [JSONCodec(), OrjsonCodec(), MsgspecCodec()], ids=lambda codec: type(codec).__name__)
def test_row_19_everything_comes_back_as_it_was(codec: Any) -> None:
    """By value and by type: no Decimal as a float or text, no offset lost."""
    value = evolve(EVERYTHING, maybe=Line(UUID(int=5), Decimal("1.0")), left="x")

    for event in (EVERYTHING, value):
        back = codec.decode(Everything, codec.encode(event))
        assert back == event
        assert sorted(repr(back)) == sorted(repr(event))  # the types as well; sets have no order
        assert back.at.utcoffset() == event.at.utcoffset()


@pytest.mark.parametrize(
    "wrong",
    [
        {"at": datetime(2026, 1, 1)},  # noqa: DTZ001 - that is what is wrong
        {"nested": object()},
        {"amount": object()},
    ],
    ids=["naive datetime", "no line", "no number"],
)
def test_row_19_what_would_not_come_back_is_refused(wrong: dict[str, Any]) -> None:
    """Where it is written, naming the field."""
    with pytest.raises(InvalidPayload, match=next(iter(wrong))):
        JSONCodec().encode(evolve(EVERYTHING, **wrong))


def test_row_19_foreign_payloads_are_never_coerced() -> None:
    """Text is no number, and a missing field is named."""
    with pytest.raises(InvalidPayload) as caught:
        JSONCodec().decode(Line, b'{"price": 1.5}')

    assert {path for path, _ in caught.value.errors} == {"sku", "price"}


# 45


@frozen
class Placed(NotificationEvent, name="shop.placed", version=2):
    """Is called something else on the wire."""

    number: int


class Shouting:
    """A codec of one's own."""

    content_type = "text/x-shouting"

    def encode(self, message: Any, /) -> bytes:
        """Shout."""
        return str(message.name).upper().encode()

    def decode(self, kind: type[T], payload: bytes, /) -> T:
        """Listen."""
        return kind(payload.decode().lower())  # type: ignore[call-arg]


class Numbers:
    """Another one, for one message."""

    content_type = "text/x-numbers"

    def encode(self, message: Any, /) -> bytes:
        """Write the number."""
        return str(message.number).encode()

    def decode(self, kind: type[T], payload: bytes, /) -> T:
        """Read the number."""
        return kind(int(payload))  # type: ignore[call-arg]


def test_row_45_json_is_the_default_and_another_codec_takes_its_place() -> None:
    """Its content type goes along."""
    seen: list[Any] = []
    registry, broker = Registry(), MemoryBroker()
    registry.add(Announced, seen.append, consumer="elsewhere")
    bus = Mediator(registry, publisher=broker, codec=Shouting())

    bus.publish(Announced("ada"))
    Mediator(Registry(), publisher=broker).publish(Announced("ada"))
    bus.receive(broker.published[0], consumer="elsewhere")

    assert [(e.content_type, e.payload) for e in broker.published] == [
        ("text/x-shouting", b"ADA"),
        ("application/json", b'{"name":"ada"}'),
    ]
    assert seen == [Announced("ada")]


@pytest.mark.parametrize("key", ["shop.*", "shop.placed", "class"])
def test_row_45_a_codec_can_be_registered_for_a_name_or_a_class(key: str) -> None:
    """All others keep the default; what was written before the change is still read."""
    seen: list[Any] = []
    registry, broker = Registry(), MemoryBroker()
    registry.handles(Placed, Announced, consumer="elsewhere")(seen.append)
    codecs: Any = {Placed if key == "class" else key: Numbers()}
    bus = Mediator(registry, publisher=broker, codecs=codecs)
    Mediator(Registry(), publisher=broker).publish(Placed(1))

    bus.publish(Placed(2))
    bus.publish(Announced("ada"))
    for envelope in broker.published:
        bus.receive(envelope, consumer="elsewhere")

    assert [e.content_type for e in broker.published] == ["application/json", "text/x-numbers", "application/json"]
    assert seen == [Placed(1), Placed(2), Announced("ada")]


def test_row_45_what_is_no_codec_is_refused_before_the_first_message() -> None:
    """A class instead of an object, something else, and a key that is neither class nor name."""
    wrong: list[Any] = [{"shop.*": Numbers}, {"shop.*": "json"}, {int: Numbers()}, {None: Numbers()}]
    for codecs in wrong:
        with pytest.raises(NotConfigured, match="codec"):
            Mediator(Registry(), publisher=MemoryBroker(), codecs=codecs).check()
    codec: Any = "json"
    with pytest.raises(NotConfigured, match="codec"):
        Mediator(Registry(), publisher=MemoryBroker(), codec=codec).check()


def test_row_45_a_format_that_is_not_read_here_is_a_clear_error() -> None:
    """It names the message, the format, and what is read."""
    registry, broker = Registry(), MemoryBroker()
    registry.add(Announced, lambda event: None, consumer="elsewhere")
    Mediator(Registry(), publisher=broker, codec=Shouting()).publish(Announced("ada"))

    with pytest.raises(UnknownMessage, match=r"text/x-shouting.*application/json"):
        Mediator(registry).receive(broker.published[0], consumer="elsewhere")


def test_row_45_bad_bytes_are_a_typed_error_with_every_field() -> None:
    """Never the library's own."""
    registry, broker = Registry(), MemoryBroker()
    registry.add(Announced, lambda event: None, consumer="elsewhere")
    Mediator(Registry(), publisher=broker).publish(Announced("ada"))
    bus = Mediator(registry)

    for payload in (b"", b"\xff", b"[]", b"null", b'{"name": 7}', b'{"name": "a"', b"{}"):
        with pytest.raises(InvalidPayload):
            bus.receive(evolve(broker.published[0], payload=payload), consumer="elsewhere")


# 56


def test_row_56_the_name_on_the_wire_is_the_classs_or_what_it_says() -> None:
    """And the class is found by it, also one that was moved or renamed."""
    seen: list[Any] = []
    registry, broker = Registry(), MemoryBroker()
    bus = Mediator(registry, publisher=broker)

    @registry.handles(Placed, Announced, consumer="elsewhere")
    def handler(event: Placed | Announced) -> None:
        seen.append(event)

    bus.publish(Placed(7))
    bus.publish(Announced("ada"))
    for envelope in broker.published:
        bus.receive(envelope, consumer="elsewhere")

    assert [(e.name, e.version) for e in broker.published] == [("shop.placed", 2), ("Announced", 1)]
    assert seen == [Placed(7), Announced("ada")]


def test_row_56_one_name_for_two_classes_is_found_by_check() -> None:
    """It names both, and the cure."""

    @frozen
    class Other(NotificationEvent, name="shop.placed"):
        number: int

    registry = Registry()
    registry.add(Placed, lambda event: None)
    registry.add(Other, lambda event: None)

    with pytest.raises(NotConfigured, match=r"(?s)Placed.*Other.*both called 'shop\.placed'"):
        Mediator(registry, publisher=MemoryBroker()).check()


def test_row_56_an_unknown_name_on_read_is_told_and_never_guessed() -> None:
    """``receive`` says False, so that a consumer acknowledges and counts it; a newer version is not handled at all."""
    seen: list[Any] = []
    registry, broker = Registry(), MemoryBroker()
    registry.add(Placed, seen.append, consumer="elsewhere")
    Mediator(Registry(), publisher=broker).publish(Placed(7))
    [envelope] = broker.published
    bus = Mediator(registry)

    assert bus.receive(evolve(envelope, name="shop.unheard_of"), consumer="elsewhere") is False
    assert bus.receive(envelope, consumer="nobody") is False
    with pytest.raises(UnknownMessage, match="3"):
        bus.receive(evolve(envelope, version=3), consumer="elsewhere")

    assert seen == []


def test_row_56_what_nobody_registered_can_be_written() -> None:
    """An event needs no registration to go out: its class is its registration (0-product.md, 2)."""
    broker = MemoryBroker()

    Mediator(Registry(), publisher=broker).publish(Placed(7))

    assert (broker.published[0].name, broker.published[0].payload) == ("shop.placed", b'{"number":7}')
