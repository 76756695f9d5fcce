"""Our CloudEvents and those of the cloudevents package: what one writes the other reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

import pytest
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings import amqp, http, kafka, rabbitmq
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from simplecqrs.brokers.cloudevents import CloudEventsBinary, CloudEventsStructured
from simplecqrs.brokers.formats import Parcel
from simplecqrs.envelope import Envelope
from simplecqrs.metadata import uuid7

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=timezone.utc)
ENVELOPE = Envelope(
    id=uuid7(),
    kind="command",
    name="PlaceOrder",
    version=3,
    topic="orders",
    key="Zoë/№ 1",
    source="https://shop.example/läden",
    time=MOMENT,
    correlation_id="c-1",
    causation_id="c-2",
    headers={"user": "Ünï 🎈", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
    payload=b'{"lines":[1,2.50],"name":"Zo\xc3\xab"}',
)
SEEN = {
    "specversion": "1.0",
    "id": str(ENVELOPE.id),
    "type": "PlaceOrder",
    "source": "https://shop.example/läden",
    "time": MOMENT,
    "datacontenttype": "application/json",
    "partitionkey": "Zoë/№ 1",
    "correlationid": "c-1",
    "causationid": "c-2",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "cqrskind": "command",
    "cqrsversion": "3",
}
FORMAT = JSONFormat()


def texts(headers: Mapping[str, bytes]) -> dict[str, str]:
    return {name: value.decode() for name, value in headers.items()}


def kafka_message(parcel: Parcel) -> kafka.KafkaMessage:
    headers = {**parcel.attributes, "content-type": parcel.content_type}
    return kafka.KafkaMessage({n: v.encode() for n, v in headers.items()}, None, parcel.body)


def kafka_parcel(message: kafka.KafkaMessage) -> Parcel:
    headers = texts(message.headers)
    return Parcel(message.value, headers.pop("content-type", ""), headers)


def amqp_message(parcel: Parcel) -> amqp.AMQPMessage:
    return amqp.AMQPMessage({"content-type": parcel.content_type}, dict(parcel.attributes), parcel.body)


def amqp_parcel(message: amqp.AMQPMessage) -> Parcel:
    texts = {name: str(value) for name, value in message.application_properties.items()}
    return Parcel(message.application_data, message.properties.get("content-type", ""), texts)


def rabbitmq_message(parcel: Parcel) -> rabbitmq.RabbitMQMessage:
    return rabbitmq.RabbitMQMessage(dict(parcel.attributes), parcel.content_type, parcel.body)


def rabbitmq_parcel(message: rabbitmq.RabbitMQMessage) -> Parcel:
    return Parcel(message.body, message.content_type or "", message.headers)


def http_message(parcel: Parcel) -> http.HTTPMessage:
    return http.HTTPMessage({"content-type": parcel.content_type, **parcel.attributes}, parcel.body)


def http_parcel(message: http.HTTPMessage) -> Parcel:
    headers = {name.lower(): value for name, value in message.headers.items()}
    return Parcel(message.body, headers.pop("content-type", ""), headers)


#: Of each binding: its prefix, what makes its message of a parcel and a parcel of its message, and what reads it.
BINDINGS: dict[str, tuple[str, Callable[[Parcel], Any], Callable[[Any], Parcel], Callable[..., BaseCloudEvent]]] = {
    "kafka": ("ce_", kafka_message, kafka_parcel, kafka.from_kafka),
    "amqp:": ("cloudEvents:", amqp_message, amqp_parcel, amqp.from_amqp),
    "amqp_": ("cloudEvents_", amqp_message, amqp_parcel, amqp.from_amqp),
    "rabbitmq": ("ce-", rabbitmq_message, rabbitmq_parcel, rabbitmq.from_rabbitmq),
}
DOCUMENTS = {**BINDINGS, "http": ("ce-", http_message, http_parcel, http.from_http)}
WRITERS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "kafka": (kafka.to_binary, kafka.to_structured),
    "amqp:": (amqp.to_binary, amqp.to_structured),
    "rabbitmq": (rabbitmq.to_binary, rabbitmq.to_structured),
    "http": (http.to_binary, http.to_structured),
}
DATA: list[tuple[Any, str | None, bytes]] = [
    ({"name": "Zoë", "n": [1, None]}, "application/json", b'{"name": "Zo\\u00eb", "n": [1, null]}'),
    ({"n": 1}, None, b'{"n": 1}'),
    (b"\x00\xff", "application/x-protobuf", b"\x00\xff"),
    ("<a/>", "text/xml", b"<a/>"),
]


def event(data: object, content_type: str | None) -> CloudEvent:
    attributes: dict[str, Any] = {
        "id": "order/7",
        "source": "/läden",
        "type": "com.example.placed",
        "time": MOMENT,
        "subject": "7",
        "partitionkey": "Zoë",
    }
    return CloudEvent(attributes | ({"datacontenttype": content_type} if content_type else {}), data)


@pytest.mark.parametrize("name", BINDINGS)
def test_the_package_reads_what_we_write_in_binary_mode(name: str) -> None:
    """It sees every attribute, and the data as JSON."""
    prefix, message, _, read = BINDINGS[name]

    seen = read(message(CloudEventsBinary(prefix=prefix).write(ENVELOPE)), FORMAT)

    attributes = dict(seen.get_attributes())
    assert json.loads(attributes.pop("cqrsheaders")) == {"user": "Ünï 🎈"}
    assert attributes == SEEN
    assert seen.get_data() == {"lines": [1, 2.5], "name": "Zoë"}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_package_reads_what_we_write_in_structured_mode(name: str) -> None:
    """It tells the mode by the content type, or by the lack of attributes, and sees the same."""
    _, message, _, read = DOCUMENTS[name]

    seen = read(message(CloudEventsStructured().write(ENVELOPE)), FORMAT)

    attributes = dict(seen.get_attributes())
    assert json.loads(attributes.pop("cqrsheaders")) == {"user": "Ünï 🎈"}
    assert attributes == SEEN
    assert seen.get_data() == {"lines": [1, 2.5], "name": "Zoë"}


@pytest.mark.parametrize("bytes_of", [b"", b"\x00\xff"])
def test_the_package_reads_bytes_in_structured_mode(bytes_of: bytes) -> None:
    """They are base64 there; no bytes are no data."""
    envelope = Envelope(
        id=uuid7(), kind="event", name="Shown", topic="t", time=MOMENT, content_type="image/png", payload=bytes_of
    )

    seen = kafka.from_kafka(kafka_message(CloudEventsStructured().write(envelope)), FORMAT)

    assert seen.get_data() == (bytes_of or None)
    assert seen.get_source() == "about:blank"


@pytest.mark.parametrize(("data", "content_type", "payload"), DATA)
@pytest.mark.parametrize("name", ["kafka", "amqp:", "rabbitmq"])
def test_we_read_what_the_package_writes_in_binary_mode(
    name: str, data: object, content_type: str | None, payload: bytes
) -> None:
    """Its id is no UUID, its time may be milliseconds, its prefix is its own."""
    parcel = BINDINGS[name][2](WRITERS[name][0](event(data, content_type), FORMAT))

    envelope = CloudEventsBinary(prefix="ce_").read(parcel, topic="orders", max_bytes=10_000)

    assert isinstance(envelope, Envelope)
    check(envelope, payload, content_type)


@pytest.mark.parametrize(("data", "content_type", "payload"), DATA)
@pytest.mark.parametrize("name", ["kafka", "amqp:", "rabbitmq", "http"])
def test_we_read_what_the_package_writes_in_structured_mode(
    name: str, data: object, content_type: str | None, payload: bytes
) -> None:
    """Whichever of the two readers gets it."""
    parcel = DOCUMENTS[name][2](WRITERS[name][1](event(data, content_type), FORMAT))

    for wire in (CloudEventsStructured(), CloudEventsBinary(prefix="ce_")):
        envelope = wire.read(parcel, topic="orders", max_bytes=10_000)
        assert isinstance(envelope, Envelope)
        check(envelope, payload, content_type)


def check(envelope: Envelope, payload: bytes, content_type: str | None) -> None:
    assert (envelope.name, envelope.source, envelope.key) == ("com.example.placed", "/läden", "Zoë")
    assert (envelope.time, envelope.kind) == (MOMENT, "event")
    assert envelope.headers == {"subject": "7", "cqrsorigin": "order/7"}
    assert envelope.content_type == (content_type or "application/json")
    assert envelope.payload == payload
