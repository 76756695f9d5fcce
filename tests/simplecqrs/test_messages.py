"""Messages: their class keywords, what is inherited, and what is refused."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any, Generic, TypeVar

import attrs
import pytest

from simplecqrs import UNSET, Command, DomainEvent, ECSTEvent, IntegrationEvent, NotificationEvent, Query, message
from simplecqrs.errors import InvalidMessage
from simplecqrs.messages import LONGEST, Message, traits

T = TypeVar("T")


def said(cls: type[Message]) -> tuple[str, int, str, str]:
    """Return what a class says about itself: name, version, topic and key."""
    found = traits(cls)
    return found.name, found.version, found.topic, found.key


def test_a_class_says_nothing_unless_it_is_asked_to() -> None:
    """Without keywords the traits are empty and the version is 1."""

    class Plain(Command[None]): ...

    assert said(Plain) == ("", 1, "", "")


@pytest.mark.parametrize(
    "decorate",
    [
        attrs.frozen,
        attrs.define,
        attrs.define(slots=False),
        dataclasses.dataclass,
        dataclasses.dataclass(frozen=True, slots=True),
    ],
    ids=["frozen", "define", "define without slots", "dataclass", "dataclass with slots"],
)
def test_class_keywords_survive_the_second_creation_of_a_slotted_class(decorate: Any) -> None:
    """attrs and slotted dataclasses create a class twice, the second time without keywords."""

    @decorate
    class Placed(NotificationEvent, name="shop.placed", version=2, topic="orders", key="order_id"):
        order_id: int

    assert said(Placed) == ("shop.placed", 2, "orders", "order_id")
    assert Placed(7).order_id == 7


def test_topic_and_key_are_inherited_and_name_and_version_are_not() -> None:
    """A subclass is another message on the same stream, in the same order."""

    @attrs.frozen
    class OrderEvent(NotificationEvent, name="order", version=3, topic="orders", key="order_id"):
        order_id: int

    @attrs.frozen
    class Paid(OrderEvent): ...

    @attrs.frozen
    class Shipped(OrderEvent, topic="parcels"): ...

    assert said(Paid) == ("", 1, "orders", "order_id")
    assert said(Shipped) == ("", 1, "parcels", "order_id")


@pytest.mark.parametrize(
    ("keywords", "culprit"),
    [
        ({"name": ""}, "name=''"),
        ({"name": 7}, "name=7"),
        ({"name": "x" * (LONGEST + 1)}, "name='xxx"),
        ({"topic": ""}, "topic=''"),
        ({"topic": b"orders"}, "topic=b'orders'"),
        ({"key": ""}, "key=''"),
        ({"key": ("a", "b")}, "key=('a', 'b')"),
        ({"version": 0}, "version=0"),
        ({"version": True}, "version=True"),
        ({"version": "2"}, "version='2'"),
        ({"version": 1.0}, "version=1.0"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_class_keyword_of_the_wrong_kind_is_refused_with_class_and_keyword(
    keywords: dict[str, Any], culprit: str
) -> None:
    """The error names the class and what was written."""
    with pytest.raises(InvalidMessage) as caught:
        type(Message)("Placed", (NotificationEvent,), {}, **keywords)

    assert "Placed" in str(caught.value)
    assert culprit in str(caught.value)


def test_a_misspelt_class_keyword_is_a_type_error() -> None:
    """As anywhere in Python."""
    with pytest.raises(TypeError, match="keyword"):

        class Placed(NotificationEvent, topc="orders"): ...  # type: ignore[call-arg]


def test_other_keywords_reach_other_bases() -> None:
    """Messages cooperate with bases that take class keywords of their own."""

    class Coloured:
        colour = ""

        def __init_subclass__(cls, *, colour: str = "", **others: Any) -> None:
            super().__init_subclass__(**others)
            cls.colour = colour

    class Painted(DomainEvent, Coloured, name="painted", colour="red"): ...

    assert (traits(Painted).name, Painted.colour) == ("painted", "red")


def test_a_decorator_says_the_same_where_a_metaclass_refuses_keywords() -> None:
    """``@message(...)`` takes what class keywords take."""

    class Refusing(type):
        def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Any:
            return super().__new__(cls, name, bases, namespace)

    @message(name="placed", version=2, topic="orders", key="order_id")
    class Placed(NotificationEvent, metaclass=Refusing):
        order_id = 7

    assert said(Placed) == ("placed", 2, "orders", "order_id")


def test_the_decorator_counts_even_if_the_traits_were_read_before() -> None:
    """What was read is not kept beyond a change."""

    class Placed(NotificationEvent): ...

    before = traits(Placed)
    message(name="placed")(Placed)

    assert (before.name, traits(Placed).name) == ("", "placed")


def test_the_decorator_refuses_what_class_keywords_refuse() -> None:
    """One rule for both ways."""

    class Placed(NotificationEvent): ...

    with pytest.raises(InvalidMessage, match=r"Placed: version=0"):
        message(version=0)(Placed)


@pytest.mark.parametrize("base", [Command, Query, DomainEvent, NotificationEvent, ECSTEvent])
def test_bases_have_no_fields_and_no_dict(base: type[Message]) -> None:
    """Messages carry what their own class says, and nothing else."""

    @attrs.frozen
    class Small(base):  # type: ignore[valid-type, misc]
        number: int

    assert not hasattr(Small(1), "__dict__")
    assert [field.name for field in attrs.fields(Small)] == ["number"]


def test_the_two_integration_events_say_which_they_are() -> None:
    """A notification and a carried state are both integration events, and not each other."""
    assert issubclass(NotificationEvent, IntegrationEvent)
    assert issubclass(ECSTEvent, IntegrationEvent)
    assert not issubclass(NotificationEvent, ECSTEvent)
    assert not issubclass(DomainEvent, IntegrationEvent)


def test_a_generic_event_that_is_subclassed_has_traits_of_its_own() -> None:
    """The subclass has the name; the generic base lends topic and key."""

    @attrs.frozen
    class Changed(NotificationEvent, Generic[T], topic="changes"):
        to: T

    @attrs.frozen
    class NameChanged(Changed[str], name="name_changed"): ...

    assert said(NameChanged) == ("name_changed", 1, "changes", "")


def test_unset_is_false_has_a_short_repr_and_survives_pickling() -> None:
    """It is one object everywhere, so ``is UNSET`` works."""
    assert not UNSET
    assert repr(UNSET) == "UNSET"
    assert pickle.loads(pickle.dumps(UNSET)) is UNSET


def test_an_unknown_class_keyword_is_named_with_its_cure() -> None:
    """A misspelt one with the right one."""
    with pytest.raises(InvalidMessage, match=r"Misspelt: unknown class keyword 'topc'; did you mean topic\?"):

        class Misspelt(DomainEvent, topc="users"):  # type: ignore[call-arg]
            """Is misspelt."""
