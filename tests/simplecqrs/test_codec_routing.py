"""Each message class may have a codec of its own."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest
from attrs import evolve, frozen

from simplecqrs import DomainEvent, Metadata, NotificationEvent
from simplecqrs.codec import JSONCodec
from simplecqrs.errors import NotConfigured, UnknownMessage
from simplecqrs.messages import Message
from simplecqrs.metadata import uuid7
from simplecqrs.vocabulary import Vocabulary


@frozen
class Placed(NotificationEvent, name="shop.placed"):
    """An event."""

    number: int = 0


@frozen
class PlacedInHaste(Placed, name="shop.hasty"):
    """Derives from it."""


@frozen
class Logged(DomainEvent, name="audit.logged"):
    """Another."""

    number: int = 0


class Backwards:
    """A codec of a format of its own."""

    def __init__(self, content_type: str = "application/x-backwards", *problems: str) -> None:
        self.content_type = content_type
        self._problems = list(problems)

    def encode(self, message: Message, /) -> bytes:
        return JSONCodec().encode(message)[::-1]

    def decode(self, kind: type[Any], payload: bytes, /) -> Any:
        return JSONCodec().decode(kind, payload[::-1])

    def problems(self, kind: type[Message], /) -> list[str]:
        return self._problems


METADATA = Metadata(uuid7(), datetime.now(timezone.utc), "story")
ODD = Backwards()


def words(codecs: Any) -> Vocabulary:
    """Return the vocabulary of the three events."""
    return Vocabulary([Placed, PlacedInHaste, Logged], codec=JSONCodec(), codecs=codecs)


def formats(codecs: Any) -> list[str]:
    """Return in which formats the three events are written; all are read again."""
    found = words(codecs)
    envelopes = [found.envelope(message, METADATA) for message in (Placed(1), PlacedInHaste(2), Logged(3))]
    assert [found.decode(e) for e in envelopes] == [Placed(1), PlacedInHaste(2), Logged(3)]
    return [e.content_type.removeprefix("application/") for e in envelopes]


def test_a_class_has_its_codec_and_so_have_its_subclasses() -> None:
    """Others have the default."""
    assert formats({Placed: ODD}) == ["x-backwards", "x-backwards", "json"]
    assert formats({Placed: ODD, PlacedInHaste: JSONCodec()}) == ["x-backwards", "json", "json"]


def test_a_pattern_of_names_has_its_codec() -> None:
    """The most specific one counts; a class counts more."""
    assert formats({"audit.*": ODD}) == ["json", "json", "x-backwards"]
    assert formats({"*": ODD, "shop.*": JSONCodec(), "shop.hasty": ODD}) == ["json", "x-backwards", "x-backwards"]
    assert formats({"shop.*": ODD, Placed: JSONCodec()}) == ["json", "json", "json"]


def test_what_was_written_by_the_default_codec_before_is_still_read() -> None:
    """Queues are not empty when a codec changes."""
    before = words({}).envelope(Placed(7), METADATA)

    assert words({Placed: ODD}).decode(before) == Placed(7)


def test_parameters_of_a_content_type_do_not_matter() -> None:
    """JSON is UTF-8."""
    envelope = evolve(words({}).envelope(Placed(7), METADATA), content_type="Application/JSON; charset=utf-8")

    assert words({}).decode(envelope) == Placed(7)


def test_a_format_that_nobody_reads_is_named_with_those_that_are_read() -> None:
    """It is unknown, not guessed."""
    envelope = evolve(words({}).envelope(Placed(7), METADATA), content_type="text/xml")

    with pytest.raises(UnknownMessage, match=r"shop\.placed came as text/xml; this project reads application/json$"):
        words({}).decode(envelope)
    with pytest.raises(UnknownMessage, match=r"reads application/x-backwards and application/json$"):
        words({Placed: ODD}).decode(envelope)


@pytest.mark.parametrize(
    ("codecs", "told"),
    [
        ({Placed: JSONCodec}, r"the codec of Placed, <class .*JSONCodec'>, has no .*; make one: JSONCodec\(\.\.\.\)"),
        ({"shop.*": json}, r"the codec of shop\.\*, <module 'json'.*, has no content_type, encode and decode$"),
        ({int: JSONCodec()}, r"<class 'int'> is neither a message class nor a pattern of names"),
        ({7: JSONCodec()}, r"7 is neither a message class nor a pattern of names"),
    ],
    ids=["a class", "a module", "no message class", "no name"],
)
def test_a_wrong_registration_is_refused_at_once(codecs: Any, told: str) -> None:
    """The culprit and the cure."""
    with pytest.raises(NotConfigured, match=told):
        words(codecs)


def test_what_a_codec_knows_to_be_wrong_is_told_at_start_up() -> None:
    """As a class that it was not given the schema of."""
    codec = Backwards("x/y", "Placed: no schema; add it")

    assert words({Placed: codec}).problems() == ["Placed: no schema; add it", "Placed: no schema; add it"]
