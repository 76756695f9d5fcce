"""Names on the wire: found, compared, and translated both ways."""

from __future__ import annotations

import gc
from datetime import datetime, timezone
from typing import Any
from uuid import UUID, uuid4

import attrs
import pytest
from attrs import evolve, frozen

from simplecqrs import Command, ECSTEvent, Metadata, NotificationEvent
from simplecqrs.codec import JSONCodec
from simplecqrs.errors import InvalidMessage, InvalidPayload, UnknownMessage
from simplecqrs.messages import LONGEST, Message
from simplecqrs.metadata import uuid7
from simplecqrs.vocabulary import Vocabulary, class_name, order_key


@frozen
class Place(Command[int]):
    """A command."""

    sku: str


@frozen
class Placed(NotificationEvent, name="shop.placed", version=2, topic="orders", key="order_id"):
    """An event that says all about itself."""

    order_id: int


@frozen
class PlacedInHaste(Placed):
    """Says nothing of its own."""


@frozen
class Plain(ECSTEvent):
    """Says nothing."""

    number: int = 0


METADATA = Metadata(uuid7(), datetime.now(timezone.utc), "story", "cause", {"user": "7"})


def vocabulary(*classes: type[Message], **options: Any) -> Vocabulary:
    """Return the vocabulary of some classes."""
    return Vocabulary(classes, codec=JSONCodec(), **options)


def test_a_message_is_called_what_its_class_says_or_by_its_class() -> None:
    """The name of a base is never inherited."""
    words = vocabulary()

    assert [words.name(c) for c in (Placed, PlacedInHaste, Plain)] == ["shop.placed", "PlacedInHaste", "Plain"]


def test_the_topic_is_the_own_one_an_inherited_one_or_the_name() -> None:
    """In this order."""
    words = vocabulary()

    assert [words.topic(c) for c in (Placed, PlacedInHaste, Plain)] == ["orders", "orders", "Plain"]


def test_a_naming_names_classes_that_do_not_name_themselves() -> None:
    """As Django does, by app."""
    words = vocabulary(Placed, Plain, naming=lambda cls: f"app.{class_name(cls)}")

    assert [words.name(c) for c in (Placed, Plain)] == ["shop.placed", "app.Plain"]
    assert words.find("app.Plain") is Plain


def test_classes_and_their_subclasses_are_found_by_name() -> None:
    """Whoever subscribed to a base gets what derives from it."""
    words = vocabulary(Placed, Place)

    assert [words.find(n) for n in ("shop.placed", "PlacedInHaste", "Place")] == [Placed, PlacedInHaste, Place]


def test_a_subclass_that_is_defined_later_is_found_as_well() -> None:
    """Modules are imported at any time."""
    words = vocabulary(Placed)
    words.find("shop.placed")

    @frozen
    class PlacedLater(Placed): ...

    assert words.find("PlacedLater") is PlacedLater


def test_a_name_that_nobody_bears_is_named_in_the_error() -> None:
    """A LookupError; nothing is behind it."""
    with pytest.raises(UnknownMessage, match=r"no message is called 'shop\.paid' here") as caught:
        vocabulary(Placed).find("shop.paid")

    assert isinstance(caught.value, LookupError)
    assert caught.value.__context__ is None


def test_a_class_that_attrs_made_twice_is_one_message() -> None:
    """The first one may still be around; it has no fields."""
    gc.disable()
    try:

        class Base(NotificationEvent): ...

        @attrs.frozen
        class Twice(Base):
            number: int

        words = vocabulary(Base)

        assert words.find("Twice") is Twice
        assert words.problems() == []
    finally:
        gc.enable()


def test_two_classes_of_one_name_are_a_problem_with_the_cure() -> None:
    """Both are named."""

    @frozen
    class Other(NotificationEvent, name="shop.placed"): ...

    other = Other.__qualname__

    [problem] = vocabulary(Placed, Other).problems()

    assert problem.startswith(f"{__name__}.Placed and {__name__}.{other} are both called 'shop.placed'; give one")
    assert problem.endswith(f'class {other}(..., name="...")')


def test_only_what_is_stored_or_sent_is_compared() -> None:
    """Two commands of one name may live in one process."""

    @frozen
    class Other(Command[None], name="Place"): ...

    assert vocabulary(Place, Other, stored=[NotificationEvent]).problems() == []
    assert len(vocabulary(Place, Other, stored=[Command]).problems()) == 1


def test_subclasses_that_nobody_registered_are_not_compared() -> None:
    """Who handles a base class is not told about every class that some test defines."""

    class Base(NotificationEvent): ...

    @frozen
    class First(Base, name="same"): ...

    @frozen
    class Second(Base, name="same"): ...

    assert vocabulary(Base).problems() == []
    assert vocabulary(Base, Second).find("same") is Second
    with pytest.raises(UnknownMessage, match=r"'same' may be .*First or .*Second; give one of them a name"):
        vocabulary(Base).find("same")


def test_a_class_that_was_defined_twice_in_one_place_is_no_problem() -> None:
    """Notebooks and tests do that; the later one counts."""

    def make() -> type[NotificationEvent]:
        @frozen
        class Again(NotificationEvent): ...

        return Again

    first, second = make(), make()
    words = vocabulary(first, second)

    assert words.problems() == []
    assert words.find("Again") is second


def test_an_order_key_that_is_no_field_is_a_problem() -> None:
    """It would fail at the first event."""

    class Odd(NotificationEvent, key="order"): ...

    [problem] = vocabulary(Odd).problems()

    assert problem == f"{__name__}.{Odd.__qualname__} is ordered by key='order', but has no such field"


def test_a_base_may_leave_the_field_of_its_order_key_to_its_subclasses() -> None:
    """``topic`` and ``key`` are inherited to be said once."""

    class OrderEvent(NotificationEvent, topic="orders", key="order_id"):
        __slots__ = ()

    @frozen
    class Paid(OrderEvent):
        order_id: int

    assert vocabulary(OrderEvent).problems() == []
    assert order_key(Paid(7)) == "7"


def test_a_property_may_be_an_order_key() -> None:
    """What counts is that it can be read."""

    @frozen
    class Moved(NotificationEvent, key="place"):
        x: int
        y: int

        @property
        def place(self) -> str:
            return f"{self.x}/{self.y}"

    assert vocabulary(Moved).problems() == []
    assert order_key(Moved(1, 2)) == "1/2"


def test_a_name_that_is_too_long_is_a_problem() -> None:
    """Tables hold 200 characters."""
    words = vocabulary(Plain, naming=lambda cls: "x" * (LONGEST + 1))

    assert words.problems() == [f"{__name__}.Plain: its name is longer than {LONGEST} characters"]


@pytest.mark.parametrize(("value", "key"), [(7, "7"), ("a", "a"), (None, ""), (UUID(int=7), str(UUID(int=7)))], ids=str)
def test_the_order_key_is_text(value: Any, key: str) -> None:
    """None: no order is asked for."""
    assert order_key(Placed(value)) == key


def test_a_message_without_an_order_key_has_none() -> None:
    """It has no followers."""
    assert order_key(Plain()) == ""


def test_an_order_key_that_is_too_long_is_refused() -> None:
    """Where it is published."""
    with pytest.raises(InvalidMessage, match=r"Placed: the key order_id='xxx.*longer than 200"):
        order_key(Placed("x" * 201))  # type: ignore[arg-type]


def test_an_envelope_says_all_and_makes_the_same_message_again() -> None:
    """Message, metadata, name, version, topic, key, source."""
    words = vocabulary(Placed, source="shop")

    envelope = words.envelope(Placed(7), METADATA)

    assert (envelope.kind, envelope.name, envelope.version) == ("event", "shop.placed", 2)
    assert (envelope.topic, envelope.key, envelope.source) == ("orders", "7", "shop")
    assert envelope.metadata == METADATA
    assert words.decode(envelope) == Placed(7)


def test_a_command_makes_an_envelope_of_its_kind_with_the_key_that_is_given() -> None:
    """As when it is deferred."""
    words = vocabulary(Place)

    envelope = words.envelope(Place("a"), METADATA, key="customer-1")

    assert (envelope.kind, envelope.topic, envelope.key) == ("command", "Place", "customer-1")
    assert words.decode(envelope) == Place("a")


def test_a_newer_version_is_refused_and_an_older_one_is_read() -> None:
    """This release knows what was before it."""
    words = vocabulary(Placed)
    envelope = words.envelope(Placed(7), METADATA)

    assert words.decode(evolve(envelope, version=1)) == Placed(7)
    with pytest.raises(UnknownMessage, match=r"came in version 3; this release knows it up to 2: deploy consumers"):
        words.decode(evolve(envelope, version=3))


def test_a_payload_of_another_class_is_refused() -> None:
    """With its fields."""
    words = vocabulary(Placed)
    envelope = words.envelope(Placed(7), METADATA)

    with pytest.raises(InvalidPayload, match="order_id: required, and missing"):
        words.decode(evolve(envelope, payload=b"{}"))


def test_an_envelope_is_a_value_whose_payload_is_not_printed() -> None:
    """Logs hold no domain data."""
    words = vocabulary(Placed)
    envelope = words.envelope(Placed(123456789), METADATA)

    assert "123456789" not in repr(evolve(envelope, key=""))
    assert envelope == evolve(envelope)
    assert envelope != evolve(envelope, id=uuid4())
    with pytest.raises(AttributeError):
        envelope.topic = "other"  # type: ignore[misc]
