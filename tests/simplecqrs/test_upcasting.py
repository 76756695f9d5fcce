"""Older versions of a message become what the class is now, step by step."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from attrs import evolve, frozen

from simplecqrs import Metadata, NotificationEvent
from simplecqrs.codec import Codec, JSONCodec
from simplecqrs.envelope import Envelope
from simplecqrs.errors import InvalidPayload, NotConfigured, UnknownMessage
from simplecqrs.messages import Message
from simplecqrs.metadata import uuid7
from simplecqrs.upcasting import Upcasters
from simplecqrs.vocabulary import Vocabulary


@frozen
class Placed(NotificationEvent, version=3):
    """Once its customer was a name, then a first and a last name."""

    order_id: int
    first: str
    last: str
    country: str


METADATA = Metadata(uuid7(), datetime.now(timezone.utc), "story")
CURRENT = Placed(7, "Ada", "Lovelace", "uk")
upcasters = Upcasters()


@upcasters.upcasts(Placed, version=1)
def split_the_name(fields: dict[str, Any]) -> dict[str, Any]:
    """From version 1 to 2."""
    first, last = fields.pop("name").split()
    return {**fields, "first": first, "last": last}


@upcasters.upcasts(Placed, version=2)
def add_the_country(fields: dict[str, Any]) -> dict[str, Any]:
    """From version 2 to 3."""
    return {**fields, "country": "uk"}


class Opaque:
    """A codec that gives no plain data."""

    content_type = "application/x-opaque"

    def encode(self, message: Message, /) -> bytes:
        return b""

    def decode(self, kind: type[Any], payload: bytes, /) -> Any:
        raise InvalidPayload("never")


def words(upcasters: Upcasters, codec: Codec | None = None) -> Vocabulary:
    """Return the vocabulary of the event."""
    return Vocabulary([Placed], codec=codec or JSONCodec(), upcasters=upcasters)


def received(version: int, payload: bytes) -> Envelope:
    """Return the event as it comes in a version."""
    return evolve(words(upcasters).envelope(CURRENT, METADATA), version=version, payload=payload)


OLD = {
    1: b'{"order_id": 7, "name": "Ada Lovelace"}',
    2: b'{"order_id": 7, "first": "Ada", "last": "Lovelace"}',
    3: b'{"order_id": 7, "first": "Ada", "last": "Lovelace", "country": "uk"}',
}


@pytest.mark.parametrize("version", OLD)
def test_every_version_becomes_the_current_one(version: int) -> None:
    """By a chain of upcasters, each from one version to the next."""
    assert words(upcasters).problems() == []
    assert words(upcasters).decode(received(version, OLD[version])) == CURRENT


def test_a_version_from_the_future_is_never_guessed() -> None:
    """Consumers are deployed first."""
    with pytest.raises(UnknownMessage, match="version 4; this release knows it up to 3"):
        words(upcasters).decode(received(4, OLD[3]))


def test_an_upcaster_is_returned_unchanged_and_can_be_tested_alone() -> None:
    """It is a function from dict to dict."""
    assert split_the_name({"name": "A B"}) == {"first": "A", "last": "B"}


def test_a_second_upcaster_of_a_version_is_refused_at_once() -> None:
    """Both are named."""
    with pytest.raises(NotConfigured, match=r"<lambda> cannot upcast version 1 of Placed: .*split_the_name does so"):
        upcasters.upcasts(Placed, version=1)(lambda fields: fields)


@pytest.mark.parametrize("version", [0, 3, 4, "1"], ids=repr)
def test_a_version_that_is_not_below_that_of_the_class_is_refused_at_once(version: Any) -> None:
    """The class says the version after the change."""
    with pytest.raises(NotConfigured, match="the class is of version 3; give it the version after the change: version"):
        Upcasters().upcasts(Placed, version=version)(add_the_country)


def test_an_async_upcaster_is_refused_at_once() -> None:
    """It would return no dict."""

    async def later(fields: dict[str, Any]) -> dict[str, Any]:
        return fields

    with pytest.raises(NotConfigured, match="it is async; write def"):
        Upcasters().upcasts(Placed, version=1)(later)  # type: ignore[type-var]


def test_a_gap_in_the_chain_is_found_at_start_up_and_when_it_is_met() -> None:
    """The cure is told."""
    gappy = Upcasters()
    gappy.upcasts(Placed, version=1)(split_the_name)

    assert words(gappy).problems() == ["Placed has no upcaster from version 2: write one, @upcasts(Placed, version=2)"]
    with pytest.raises(UnknownMessage, match="came in version 1; nothing leads on from version 2"):
        words(gappy).decode(received(1, OLD[1]))


def test_a_version_before_the_first_upcaster_is_unknown() -> None:
    """Nothing is guessed."""
    short = Upcasters()
    short.upcasts(Placed, version=2)(add_the_country)

    assert words(short).problems() == []
    with pytest.raises(UnknownMessage, match="came in version 1; nothing leads on from version 1"):
        words(short).decode(received(1, OLD[1]))


def test_an_upcaster_that_fails_is_named() -> None:
    """The payload is wrong, or the upcaster; a person will see."""
    with pytest.raises(InvalidPayload, match=r"split_the_name failed on version 1 of Placed: KeyError: 'name'"):
        words(upcasters).decode(received(1, b'{"order_id": 7}'))


def test_an_upcaster_that_forgets_to_return_is_named() -> None:
    """It returned None."""
    forgetful = Upcasters()
    forgetful.upcasts(Placed, version=2)(lambda fields: fields.clear())  # type: ignore[arg-type,return-value]

    with pytest.raises(InvalidPayload, match="returned NoneType for version 2 of Placed; return the dict"):
        words(forgetful).decode(received(2, OLD[2]))


def test_what_upcasters_make_is_checked_as_any_payload() -> None:
    """Every bad field is named."""
    odd = Upcasters()
    odd.upcasts(Placed, version=2)(lambda fields: {**fields, "country": 7})

    with pytest.raises(InvalidPayload, match="country: str expected, not int"):
        words(odd).decode(received(2, OLD[2]))


def test_an_old_payload_that_is_no_object_is_an_invalid_payload() -> None:
    """Upcasters never see it."""
    with pytest.raises(InvalidPayload, match="an object with its fields was expected"):
        words(upcasters).decode(received(1, b"[1]"))


def test_upcasters_need_a_codec_that_gives_plain_data() -> None:
    """Found at start-up."""
    [problem] = words(upcasters, Opaque()).problems()

    assert "Placed has upcasters, but Opaque gives no plain data for them" in problem
    assert words(Upcasters(), Opaque()).problems() == []


def test_upcasters_of_another_place_can_be_included() -> None:
    """As registrations can."""
    all_of_them = Upcasters()
    all_of_them.include(upcasters)

    assert words(all_of_them).decode(received(1, OLD[1])) == CURRENT


def test_without_upcasters_an_older_version_is_read_as_it_is() -> None:
    """New fields have defaults."""
    with pytest.raises(InvalidPayload, match="country: required, and missing"):
        words(Upcasters()).decode(received(2, OLD[2]))
