"""The questions that the client asks beside its messages: tokens, locks, and what lies at the front."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from uuid import UUID

from azure.servicebus._pyamqp._decode import decode_payload
from azure.servicebus._pyamqp.message import Message, Properties

from tests.service_bus.frames import delivered
from tests.service_bus.store import Subscription

if TYPE_CHECKING:
    from tests.service_bus.links import Connection


def answer(connection: Connection, node: str, payload: bytes) -> None:
    """Answer one request of a pair of links."""
    request = decode_payload(memoryview(payload))
    properties = request.application_properties or {}
    if node.endswith("$cbs"):
        status = 202 if connection.peer.lets_in(request.value) else 401
        reply(connection, node, request, {b"status-code": status, b"status-description": "as the token says"})
        return
    subscription = connection.peer.store.subscription(node.removesuffix("/$management"))
    assert subscription is not None
    operation = properties[b"operation"].decode().removeprefix("com.microsoft:")
    status, value, condition = OPERATIONS[operation](subscription, request.value)
    facts: dict[bytes, Any] = {b"statusCode": status, b"statusDescription": operation}
    if condition:
        facts[b"errorCondition"] = {"TYPE": "SYMBOL", "VALUE": condition}
    reply(connection, node, request, facts, value)


def reply(
    connection: Connection, node: str, request: Message, facts: dict[bytes, Any], value: dict[bytes, Any] | None = None
) -> None:
    """Send an answer that names its question."""
    facts = {name: _typed(fact) for name, fact in facts.items()}
    asked = Properties(correlation_id=request.properties.message_id)
    connection.reply(node, Message(properties=asked, application_properties=facts, value=value or {b"done": True}))


def _typed(fact: Any) -> Any:
    return {"TYPE": "INT", "VALUE": fact} if isinstance(fact, int) else fact


def _peek(subscription: Subscription, asked: dict[bytes, Any]) -> tuple[int, dict[bytes, Any] | None, bytes]:
    from tests.service_bus.links import marks

    entries = subscription.peek(asked[b"from-sequence-number"], asked[b"message-count"])
    messages = [{b"message": delivered(entry.sent.sections, entry.failures, marks(entry))} for entry in entries]
    return (200, {b"messages": messages}, b"") if messages else (204, None, b"")


def _renew(subscription: Subscription, asked: dict[bytes, Any]) -> tuple[int, dict[bytes, Any] | None, bytes]:
    ends = [subscription.renew(_tag(token)) for token in asked[b"lock-tokens"]]
    if None in ends:
        return 410, None, b"com.microsoft:message-lock-lost"
    times = [{"TYPE": "TIMESTAMP", "VALUE": int((end or 0) * 1000)} for end in ends]
    return 200, {b"expirations": {"TYPE": "ARRAY", "VALUE": times}}, b""


def _renew_session(subscription: Subscription, asked: dict[bytes, Any]) -> tuple[int, dict[bytes, Any] | None, bytes]:
    session = asked[b"session-id"].decode()
    if session not in subscription.owners:
        return 410, None, b"com.microsoft:session-lock-lost"
    until = time.time() + subscription.lock_seconds
    subscription.owners[session] = subscription.owners[session][0], until
    return 200, {b"expiration": {"TYPE": "TIMESTAMP", "VALUE": int(until * 1000)}}, b""


def _settle(subscription: Subscription, asked: dict[bytes, Any]) -> tuple[int, dict[bytes, Any] | None, bytes]:
    status = asked[b"disposition-status"].decode()
    done = [subscription.settle(_tag(token), status) for token in asked[b"lock-tokens"]]
    return (200, None, b"") if all(done) else (410, None, b"com.microsoft:message-lock-lost")


def _tag(token: UUID) -> bytes:
    return token.bytes_le


OPERATIONS = {
    "peek-message": _peek,
    "renew-lock": _renew,
    "renew-session-lock": _renew_session,
    "update-disposition": _settle,
}
