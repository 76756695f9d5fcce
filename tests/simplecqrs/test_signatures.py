"""Signed messages: who has no key can neither write nor change one."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from attrs import evolve

from simplecqrs.brokers.cloudevents import CloudEventsBinary, CloudEventsStructured
from simplecqrs.brokers.diator import Diator
from simplecqrs.brokers.python_cqrs import PythonCQRS
from simplecqrs.brokers.wire import read_fields, write_fields
from simplecqrs.envelope import SIGNATURE, Envelope
from simplecqrs.errors import NotConfigured
from simplecqrs.fetcher import Fetcher
from simplecqrs.memory import MemoryBroker
from simplecqrs.memory_queue import MemoryQueue
from simplecqrs.metadata import uuid7
from simplecqrs.packing import Signer, signing, verifying
from simplecqrs.transport import Delivery, Garbage

OLD, NEW = "o" * 32, "n" * 32
SIGNER = Signer({"new": NEW, "old": OLD})
SENT = Envelope(
    id=UUID("01930000-0000-7000-8000-000000000001"), kind="event", name="shop.Sold", version=2, topic="sales",
    key="ada", source="shop", time=datetime(2026, 11, 21, 12, 30, tzinfo=timezone.utc),
    correlation_id="c", causation_id="d", headers={"tenant": "x", "Größe": "ä", "empty": ""},
    content_type="application/json", payload=b'{"a": 1}',
)  # fmt: skip


def test_what_was_signed_is_believed() -> None:
    """The signature is a header more, and nothing else changes."""
    signed = SIGNER.sign(SENT)

    assert SIGNER.problem(signed) == ""
    assert evolve(signed, headers=SENT.headers) == SENT
    assert signed.headers[SIGNATURE].startswith("hmac-sha256:new:")


CHANGES: dict[str, dict[str, Any]] = {
    "id": {"id": uuid7()},
    "kind": {"kind": "command"},
    "name": {"name": "shop.Solt"},
    "version": {"version": 1},
    "key": {"key": "adb"},
    "source": {"source": "shot"},
    "time": {"time": SENT.time + timedelta(microseconds=1)},
    "correlation": {"correlation_id": ""},
    "causation": {"causation_id": None},
    "content type": {"content_type": "application/json+zlib"},
    "payload": {"payload": b'{"a": 2}'},
    "a header": {"headers": {**SENT.headers, "tenant": "y"}},
    "one more header": {"headers": {**SENT.headers, "expirytime": "2026-11-21T00:00:00Z"}},
    "one header less": {"headers": {"tenant": "x"}},
    "the same letters in another place": {"name": "shop.Sol", "key": "dada"},
    "the same letters in another header": {"headers": {"tenantx": "", "Größe": "ä", "empty": ""}},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_is_changed_is_noticed(change: dict[str, Any]) -> None:
    """Parts are told apart by their lengths, so letters cannot move from one to the next."""
    signature = {SIGNATURE: SIGNER.sign(SENT).headers[SIGNATURE]}
    changed = evolve(SENT, **change)

    problem = SIGNER.problem(evolve(changed, headers={**changed.headers, **signature}))

    assert problem == "it is not what was signed with the key 'new'"


def test_the_bytes_that_are_signed_are_these() -> None:
    """Whoever signs in another language can do the same."""
    parts = [
        "simplecqrs 1", str(SENT.id), "event", "shop.Sold", "2", "ada", "shop", "2026-11-21T12:30:00.000000+00:00", "c",
        "d", "application/json", "3", "Größe", "ä", "empty", "", "tenant", "x", '{"a": 1}',
    ]  # fmt: skip
    signed = b"".join(len(part.encode()).to_bytes(8, "big") + part.encode() for part in parts)

    digest = hmac.new(NEW.encode(), signed, hashlib.sha256).hexdigest()

    assert SIGNER.sign(SENT).headers[SIGNATURE] == f"hmac-sha256:new:{digest}"


def test_a_time_is_the_same_in_every_zone_and_the_topic_is_only_a_place() -> None:
    """Databases and brokers tell the first as they like; the second is renamed where messages are mirrored."""
    signed = SIGNER.sign(evolve(SENT, time=SENT.time.astimezone(timezone(timedelta(hours=5)))))

    assert SIGNER.problem(evolve(signed, time=SENT.time, topic="europe.sales")) == ""


def test_keys_are_changed_without_a_message_that_is_not_believed() -> None:
    """The new one is accepted everywhere before it signs; the old one is, until what it has signed has arrived."""
    old, both, other_order, new = (
        Signer(keys) for keys in ({"old": OLD}, {"old": OLD, "new": NEW}, {"new": NEW, "old": OLD}, {"new": NEW})
    )

    assert (
        both.problem(old.sign(SENT))
        == other_order.problem(both.sign(SENT))
        == new.problem(other_order.sign(SENT))
        == ""
    )
    assert new.problem(old.sign(SENT)) == "it is signed with the key 'old', which is not known here"


def test_a_key_of_the_same_name_is_not_the_same_key() -> None:
    """Somebody may have guessed how it is called."""
    assert SIGNER.problem(Signer({"new": "x" * 32}).sign(SENT)) == "it is not what was signed with the key 'new'"


SIGNATURES = {
    "": "it is signed by ''",
    "none": "it is signed by 'none'",
    "hmac-sha256": "it is signed with the key ''",
    "hmac-sha256:new:": "it is not what was signed",
    "hmac-sha256:new:ä\ud800": "it is not what was signed",
    "hmac-md5:new:00": "it is signed by 'hmac-md5'",
}


@pytest.mark.parametrize("signature", SIGNATURES, ids=ascii)
def test_what_is_no_signature_is_no_crash(signature: str) -> None:
    """Strangers may write anything."""
    forged = evolve(SENT, headers={SIGNATURE: signature})

    assert SIGNER.problem(forged).startswith(SIGNATURES[signature])


def test_signing_again_replaces_the_signature() -> None:
    """What one service passes on may have come signed by another one."""
    again = SIGNER.sign(Signer({"other": "x" * 40}).sign(SENT))

    assert again == SIGNER.sign(SENT)


def test_what_a_message_causes_does_not_inherit_its_signature() -> None:
    """Its other headers go on."""
    assert SIGNER.sign(SENT).metadata.headers == SENT.headers


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({}, "there is no key to sign with"),
        ({"a": "geheim"}, "the key 'a' is no text of 32 bytes or more"),
        ({"a": 7}, "the key 'a' is no text of 32 bytes or more"),
        ({"geheim:": "x" * 32}, "the names of keys have up to 64 letters"),
    ],
    ids=["none", "short", "number", "name"],
)
def test_keys_that_cannot_be_are_refused_without_being_shown(keys: Any, complaint: str) -> None:
    """With the way to make one."""
    with pytest.raises(NotConfigured, match=complaint) as caught:
        Signer(keys)

    assert "geheim" not in str(caught.value)
    assert NEW not in repr(SIGNER)


@pytest.mark.parametrize("wire", [CloudEventsBinary(), CloudEventsStructured()], ids=["binary", "structured"])
@pytest.mark.parametrize("payload", [b'{"a":  1e2}', b'{"a": 1', b"\x00\xff", b""], ids=repr)
def test_a_signature_holds_in_every_format(wire: Any, payload: bytes) -> None:
    """Bytes arrive as they were, down to the blanks in a document."""
    signed = SIGNER.sign(evolve(SENT, payload=payload))

    read = wire.read(wire.write(signed), topic="sales", max_bytes=10_000)

    assert isinstance(read, Envelope)
    assert SIGNER.problem(read) == ""


@pytest.mark.parametrize("wire", [PythonCQRS(), Diator()], ids=["python-cqrs", "diator"])
def test_a_signature_holds_in_the_formats_of_others(wire: Any) -> None:
    """Where the broker has attributes beside the body; their own consumers do not look at them."""
    signed = SIGNER.sign(evolve(SENT, payload=b'{"a":1}'))

    read = wire.read(wire.write(signed), topic="sales", max_bytes=10_000)

    assert isinstance(read, Envelope)
    assert SIGNER.problem(read) == ""


def test_a_signature_holds_in_the_fields_of_redis() -> None:
    """Which are JSON beside the payload."""
    fields = {name.encode(): value.encode() for name, value in write_fields(SIGNER.sign(SENT)).items()}

    read = read_fields(fields, SENT.payload, topic="sales", max_bytes=10_000)

    assert isinstance(read, Envelope)
    assert SIGNER.problem(read) == ""


class Station:
    """A broker that anybody can write to, and a consumer who believes only what was signed."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.inbox = MemoryQueue("inbox")
        feeds = [verifying(feed, SIGNER) for feed in self.broker.feeds("mailing", ["sales"])]
        self.fetcher = Fetcher(consumer="mailing", inbox=self.inbox, feeds=feeds)

    def send(self, *envelopes: Envelope, by: Signer | None = None) -> None:
        publisher = self.broker if by is None else signing(self.broker, by)
        publisher.publish(envelopes, deadline=1)
        self.fetcher.step()

    @property
    def stored(self) -> Sequence[Envelope]:
        with self.inbox.hold("mailing", lanes=range(16), limit=16, local=True, idle=1) as held:
            return [row.envelope for row in held.read(100, 10_000)] if held is not None else []


def test_what_is_signed_passes_the_door_and_the_rest_is_dead_with_its_bytes() -> None:
    """Unsigned, signed by a stranger, or changed on the way; all acknowledged, and told apart by the reason."""
    station = Station()
    changed = evolve(SIGNER.sign(evolve(SENT, id=uuid7())), payload=b'{"a": 1000000}')

    station.send(SENT, by=SIGNER)
    station.send(evolve(SENT, id=uuid7()))
    station.send(evolve(SENT, id=uuid7()), by=Signer({"his": "x" * 32}))
    station.send(changed)

    assert [envelope.id for envelope in station.stored] == [SENT.id]
    letters = station.inbox.letters()
    assert [letter.reason for letter in letters] == [
        "not to be believed: it is not signed",
        "not to be believed: it is signed with the key 'his', which is not known here",
        "not to be believed: it is not what was signed with the key 'new'",
    ]
    assert [letter.payload for letter in letters] == [SENT.payload, SENT.payload, changed.payload]
    assert [letter.name for letter in letters] == ["shop.Sold"] * 3
    assert station.fetcher.step() == 0


def test_a_forged_message_cannot_take_the_place_of_a_real_one() -> None:
    """Its id is not remembered, or the real one would be dropped; its key is not blocked."""
    station = Station()

    station.send(evolve(SENT, payload=b"{}"))
    station.send(SENT, by=SIGNER)

    assert [envelope.payload for envelope in station.stored] == [SENT.payload]
    assert station.inbox.blocked() == []


def test_garbage_stays_garbage_and_feed_and_publisher_are_what_they_were() -> None:
    """Only envelopes are looked at."""
    broker = MemoryBroker()
    broker.litter("sales", Garbage("no id", b"{"))
    [feed] = broker.feeds("mailing", ["sales"])

    assert verifying(feed, SIGNER).fetch(1) == [Delivery("0", Garbage("no id", b"{"))]
    assert verifying(feed, SIGNER).name == "sales"
    assert signing(broker, SIGNER).promise == "memory"
