"""pydantic models and msgspec structs are messages as attrs classes are, and hold each other."""

from __future__ import annotations

import dataclasses
import enum
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

import msgspec
import pydantic
import pytest
from attrs import field, frozen, validators

from simplecqrs import UNSET, Command, Mediator, NotificationEvent, Registry, Unset, load, message
from simplecqrs.codec import JSONCodec
from simplecqrs.codec.msgspec import MsgspecCodec
from simplecqrs.codec.orjson import OrjsonCodec
from simplecqrs.conversion.unions import look_alikes
from simplecqrs.errors import InvalidPayload
from simplecqrs.messages import traits
from simplecqrs.middlewares.validation import validating

T = TypeVar("T")
CODECS = [JSONCodec(), OrjsonCodec(), MsgspecCodec()]
IDS = ["json", "orjson", "msgspec"]


class Colour(enum.Enum):
    """A choice."""

    RED = "red"


@frozen
class AttrsPart:
    """A part."""

    price: Decimal
    quantity: int = field(default=1, validator=validators.ge(1))


@dataclasses.dataclass(frozen=True)
class DataPart:
    """A part."""

    id: UUID
    inner: AttrsPart | None = None


class ModelPart(pydantic.BaseModel, frozen=True):
    """A part."""

    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    email: Annotated[str, pydantic.Field(min_length=3)]
    inner: DataPart | None = None

    @pydantic.field_validator("email")
    @classmethod
    def _has_an_at(cls, email: str) -> str:
        if "@" not in email:
            raise ValueError("no address")
        return email


class StructPart(msgspec.Struct, frozen=True):
    """A part."""

    level: Annotated[int, msgspec.Meta(ge=1, le=9)]
    inner: ModelPart | None = None


@frozen
class AttrsEvent(NotificationEvent, name="attrs"):
    """Holds all the others."""

    struct: StructPart
    models: list[ModelPart]
    data: DataPart
    either: ModelPart | StructPart | AttrsPart | None = None


@dataclasses.dataclass(frozen=True)
class DataEvent(NotificationEvent, name="data"):
    """Holds all the others."""

    struct: StructPart
    models: list[ModelPart]
    data: DataPart
    either: ModelPart | StructPart | AttrsPart | None = None


@message(name="model")  # as keyword from Python 3.11 on: before, ABCMeta has a parameter of that name
class ModelEvent(pydantic.BaseModel, NotificationEvent, version=2, frozen=True):
    """Holds all the others."""

    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    struct: StructPart
    models: list[ModelPart]
    data: DataPart
    either: ModelPart | StructPart | AttrsPart | None = None


@message(name="struct", version=2)
class StructEvent(msgspec.Struct, NotificationEvent, frozen=True):
    """Holds all the others."""

    struct: StructPart
    models: list[ModelPart]
    data: DataPart
    either: ModelPart | StructPart | AttrsPart | None = None


ATTRS = AttrsPart(Decimal("1.50"), 2)
DATA = DataPart(UUID(int=7), ATTRS)
MODEL = ModelPart(email="a@b", inner=DATA)
STRUCT = StructPart(3, MODEL)
KINDS: list[type[Any]] = [AttrsEvent, DataEvent, ModelEvent, StructEvent]


@pytest.mark.parametrize("codec", CODECS, ids=IDS)
@pytest.mark.parametrize("either", [MODEL, STRUCT, ATTRS, None], ids=["model", "struct", "attrs", "none"])
@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_of_classes_nest_in_each_other(kind: type[Any], either: Any, codec: JSONCodec) -> None:
    """To any depth, and in unions."""
    sent = kind(struct=STRUCT, models=[MODEL, ModelPart(email="c@d")], data=DATA, either=either)

    found = codec.decode(kind, codec.encode(sent))

    assert found == sent
    assert type(found.either) is type(either)


def test_the_format_does_not_depend_on_the_library() -> None:
    """A class may change its library, and queues need not be empty."""
    fields: dict[str, Any] = {"struct": STRUCT, "models": [MODEL], "data": DATA}

    [payload] = {codec.encode(kind(**fields)) for kind in KINDS for codec in CODECS}

    assert payload.startswith(b'{"struct":{"level":3,"inner":{"email":"a@b","inner":{"id":"0000')


FIELDS: dict[str, Any] = {
    "id": UUID(int=7),
    "at": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone.utc),
    "day": date(2026, 1, 2),
    "hour": time(1, 2, 3),
    "span": timedelta(days=-1, microseconds=1),
    "price": Decimal("10.00"),
    "colour": Colour.RED,
    "data": b"\x00\xff",
    "maybe": None,
    "either": "7",
    "texts": ["a"],
    "table": {1: Decimal("2.50")},
    "pair": (1, "a"),
    "tags": {"a", "b"},
    "way": "a",
}


class Model(pydantic.BaseModel, Command[int]):
    """A model of everything."""

    id: UUID
    at: datetime
    day: date
    hour: time
    span: timedelta
    price: Decimal
    colour: Colour
    data: bytes
    maybe: int | None
    either: int | str
    texts: list[str]
    table: dict[int, Decimal]
    pair: tuple[int, str]
    tags: set[str]
    way: Literal["a", "b"]


class Struct(msgspec.Struct, Command[int]):
    """A struct of everything."""

    id: UUID
    at: datetime
    day: date
    hour: time
    span: timedelta
    price: Decimal
    colour: Colour
    data: bytes
    maybe: int | None
    either: int | str
    texts: list[str]
    table: dict[int, Decimal]
    pair: tuple[int, str]
    tags: set[str]
    way: Literal["a", "b"]


@pytest.mark.parametrize("codec", CODECS, ids=IDS)
@pytest.mark.parametrize("kind", [Model, Struct])
def test_everything_makes_the_round_trip(kind: type[Any], codec: JSONCodec) -> None:
    """Values and their types, to the last digit."""
    sent = kind(**FIELDS)

    found = codec.decode(kind, codec.encode(sent))

    assert found == sent
    assert all(type(getattr(found, name)) is type(value) for name, value in FIELDS.items())
    assert str(found.price) == "10.00"


@pytest.mark.parametrize("kind", [Model, Struct])
def test_nothing_is_coerced_and_every_bad_field_is_named(kind: type[Any]) -> None:
    """Though pydantic would."""
    data = {**FIELDS, "id": 7, "at": "2026-01-02T03:04:05", "price": 1.5, "maybe": "7", "texts": ["a", 1], "extra": 1}
    del data["day"]

    with pytest.raises(InvalidPayload) as caught:
        load(kind, data)

    assert dict(caught.value.errors) == {
        "id": "UUID expected, as text",
        "at": "a time zone is missing",
        "day": "required, and missing",
        "price": "Decimal expected, as text",
        "maybe": "int expected, not str",
        "texts[1]": "str expected, not int",
        "extra": "there is no such field",
    }


@pytest.mark.parametrize("kind", [Model, Struct])
def test_a_naive_moment_is_not_written(kind: type[Any]) -> None:
    """Nobody could know when it was."""
    sent = kind(**{**FIELDS, "at": datetime(2026, 1, 2)})  # noqa: DTZ001 - that is the point

    with pytest.raises(InvalidPayload, match=r"at: .* has no time zone"):
        JSONCodec().encode(sent)


@pytest.mark.parametrize("kind", KINDS)
def test_validators_of_all_libraries_are_asked_with_the_paths_within(kind: type[Any]) -> None:
    """All of them at once, beside fields of a wrong type."""
    with pytest.raises(InvalidPayload) as caught:
        load(
            kind,
            {
                "struct": {"level": 10, "inner": {"email": "ab"}},
                "models": [{"email": "abc"}, {"email": 7}, {"email": "a@b", "inner": {"id": "x"}}],
                "data": {"id": str(DATA.id), "inner": {"price": "1", "quantity": 0}},
            },
        )

    assert dict(caught.value.errors) == {
        "struct.level": "Expected `int` <= 9",
        "struct.inner.email": "String should have at least 3 characters",
        "models[0].email": "Value error, no address",
        "models[1].email": "str expected, not int",
        "models[2].inner.id": "UUID expected, not 'x'",
        "data.inner.quantity": "'quantity' must be >= 1: 0",
    }


def test_keywords_speak_of_a_model_and_the_decorator_of_a_struct() -> None:
    """msgspec's metaclass takes no keywords but its own."""
    assert (traits(ModelEvent).name, traits(ModelEvent).version) == ("model", 2)
    assert (traits(StructEvent).name, traits(StructEvent).version) == ("struct", 2)
    with pytest.raises(TypeError, match="name"):

        class Named(msgspec.Struct, NotificationEvent, name="x"): ...  # type: ignore[call-arg]


def test_they_are_sent_as_any_request() -> None:
    """The handler gets the very object."""
    registry, got = Registry(), list[object]()
    registry.add(Model, lambda command: got.append(command) or 1)
    registry.add(Struct, lambda command: got.append(command) or 2)
    bus = Mediator(registry)

    assert (bus.send(Model(**FIELDS)), bus.send(Struct(**FIELDS))) == (1, 2)
    assert [type(command) for command in got] == [Model, Struct]


# Generic ones


class ModelChanged(pydantic.BaseModel, NotificationEvent, Generic[T]):
    """A generic model."""

    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    old: T | None
    new: list[T]


class StructChanged(msgspec.Struct, NotificationEvent, Generic[T]):
    """A generic struct."""

    old: T | None
    new: list[T]


@dataclasses.dataclass
class DataChanged(NotificationEvent, Generic[T]):
    """A generic dataclass."""

    old: T | None
    new: list[T]


class ModelPartChanged(ModelChanged[StructPart]):
    """A subclass."""


class StructPartChanged(StructChanged[StructPart]):
    """A subclass."""


@dataclasses.dataclass
class DataPartChanged(DataChanged[StructPart]):
    """A subclass."""


@pytest.mark.parametrize("codec", CODECS, ids=IDS)
@pytest.mark.parametrize("kind", [ModelPartChanged, StructPartChanged, DataPartChanged])
def test_a_subclassed_generic_event_holds_what_it_says(kind: type[Any], codec: JSONCodec) -> None:
    """Not dicts."""
    sent = kind(old=None, new=[STRUCT])

    found = codec.decode(kind, codec.encode(sent))

    assert found == sent
    assert type(found.new[0]) is StructPart


# Of pydantic


class Contact(pydantic.BaseModel, Command[None]):
    """Uses what only pydantic knows."""

    site: pydantic.HttpUrl
    seen: pydantic.AwareDatetime
    name: str = pydantic.Field(alias="fullName")
    count: pydantic.PositiveInt = 1
    note: str | Unset = UNSET
    hidden: str = pydantic.Field(default="", exclude=True)

    @pydantic.model_validator(mode="after")
    def _check(self) -> Contact:
        if self.name == "nobody":
            raise ValueError("nobody is nobody")
        return self


CONTACT: dict[str, Any] = {"site": "https://example.org/", "seen": "2026-01-02T03:04:05Z", "fullName": "Ada"}


@pytest.mark.parametrize("codec", CODECS, ids=IDS)
def test_types_that_only_pydantic_knows_make_the_round_trip(codec: JSONCodec) -> None:
    """By pydantic; aliases are what fields are called outside, and what is excluded stays at home."""
    contact = load(Contact, {**CONTACT, "hidden": "x"})

    payload = codec.encode(contact)

    assert contact.hidden == "x"
    assert payload.startswith(b'{"site":"https://example.org/","seen":"2026-01-02T03:04:05')
    assert payload.endswith(b',"fullName":"Ada","count":1}')
    assert codec.decode(Contact, payload) == contact.model_copy(update={"hidden": ""})


def test_what_pydantic_refuses_has_its_path() -> None:
    """A model's own validator speaks of the model as a whole."""
    with pytest.raises(InvalidPayload) as caught:
        load(Contact, {"site": "nowhere", "seen": "2026-01-02T03:04:05", "fullName": 7, "count": 0})

    assert dict(caught.value.errors).keys() == {"site", "seen", "fullName", "count"}
    with pytest.raises(InvalidPayload, match="Contact: Value error, nobody is nobody"):
        load(Contact, {**CONTACT, "fullName": "nobody"})


class Secret(pydantic.BaseModel, Command[None]):
    """Holds what is not to be written."""

    password: pydantic.SecretStr


def test_a_secret_is_read_and_never_written() -> None:
    """As asterisks it would be lost."""
    command = load(Secret, {"password": "x"})

    assert command.password.get_secret_value() == "x"
    with pytest.raises(InvalidPayload, match="password: a secret is not written; exclude=True leaves it out"):
        JSONCodec().encode(command)


class Open(pydantic.BaseModel, NotificationEvent, extra="allow"):
    """Takes what it does not know."""

    id: int


class Numbers(pydantic.RootModel[list[int]]):
    """A model that is one value."""


class Counted(pydantic.BaseModel, NotificationEvent):
    """Holds one."""

    numbers: Numbers
    maybe: Numbers | None = None


def test_extra_fields_of_an_open_model_and_root_models_make_the_round_trip() -> None:
    """As pydantic means them."""
    codec, sent = JSONCodec(), load(Open, {"id": 1, "more": {"a": 1}})

    assert codec.decode(Open, codec.encode(sent)) == sent
    assert codec.encode(Counted(numbers=Numbers([1]))) == b'{"numbers":[1],"maybe":null}'
    assert codec.decode(Counted, b'{"numbers":[1],"maybe":[2]}').maybe == Numbers([2])


# Of msgspec


class Get(msgspec.Struct, tag="get"):
    """Told apart by a tag."""

    key: str


class Put(msgspec.Struct, tag="put", rename="camel"):
    """Otherwise the same."""

    key: str
    new_value: int | msgspec.UnsetType = msgspec.UNSET


class Asked(msgspec.Struct, Command[None]):
    """A union of tagged structs."""

    what: Get | Put


@pytest.mark.parametrize("codec", CODECS, ids=IDS)
@pytest.mark.parametrize("what", [Get("a"), Put("a"), Put("a", 7)], ids=repr)
def test_tagged_structs_are_told_apart(what: Get | Put, codec: JSONCodec) -> None:
    """By their tag; their fields are called as msgspec calls them."""
    assert look_alikes(Get | Put) == ""
    assert codec.decode(Asked, codec.encode(Asked(what))) == Asked(what)


def test_structs_are_written_as_msgspec_writes_them() -> None:
    """Tags, names, UNSET."""
    assert JSONCodec().encode(Asked(Put("a", 7))) == b'{"what":{"type":"put","key":"a","newValue":7}}'
    assert JSONCodec().encode(Asked(Put("a"))) == msgspec.json.encode(Asked(Put("a")))


# Validation in Python


class Loose(msgspec.Struct, Command[None]):
    """Nothing checks it."""

    level: Annotated[int, msgspec.Meta(ge=1)] = 1
    parts: list[ModelPart] = []


def test_validation_asks_pydantic_and_msgspec_again() -> None:
    """Assignments and model_construct go past them."""
    registry = Registry()
    registry.add(Loose, lambda command: None)
    bus = Mediator(registry, middlewares=[validating()])
    bus.send(Loose(1, [MODEL]))

    with pytest.raises(InvalidPayload) as caught:
        bus.send(Loose(0, [MODEL, ModelPart.model_construct(email="ab"), ModelPart.model_construct(email=7)]))
    with pytest.raises(InvalidPayload, match=r"parts\[0\]\.email: required, and missing"):
        bus.send(Loose(1, [ModelPart.model_construct()]))

    assert dict(caught.value.errors) == {
        "level": "Expected `int` >= 1",
        "parts[1].email": "String should have at least 3 characters",
        "parts[2].email": "str expected, not int",
    }
