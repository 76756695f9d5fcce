"""One connection to the peer: its links, what they carry, and the questions that they ask."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from attrs import define, field
from azure.servicebus._pyamqp import performatives as amqp
from azure.servicebus._pyamqp._encode import encode_payload
from azure.servicebus._pyamqp.endpoints import Source, Target
from azure.servicebus._pyamqp.error import AMQPError
from azure.servicebus._pyamqp.message import Message
from azure.servicebus._pyamqp.outcomes import Accepted, Modified, Rejected, Released

from tests.service_bus.frames import Wire, delivered, split
from tests.service_bus.questions import answer
from tests.service_bus.store import Entry, Subscription

if TYPE_CHECKING:
    from tests.service_bus.peer import Peer

SESSION_FILTER, LOCKED_UNTIL = b"com.microsoft:session-filter", b"com.microsoft:locked-until-utc"
OUTCOMES = {"accepted": Accepted, "released": Released, "modified": Modified, "rejected": Rejected}
#: The years 1 to 1970 in the unit of .NET.
EPOCH = 621355968000000000
#: Bytes of a frame that are not payload, at most.
OVERHEAD = 200


@define(eq=False)
class Link:
    """One end of a link; ``reads``: the client receives by it."""

    handle: int
    channel: int
    node: str
    reads: bool
    frame: list[Any]
    subscription: Subscription | None = None
    session: str = ""
    credit: int = 0
    sent: int = 0
    incoming: bytearray = field(factory=bytearray)
    first: list[Any] | None = None
    deadline: float = 0.0


class Connection:
    """What a client's connection has attached."""

    def __init__(self, sock: socket.socket, peer: Peer) -> None:
        self.wire = Wire(sock)
        self.peer = peer
        self.links: dict[tuple[int, int], Link] = {}
        self.waiting: list[Link] = []
        self._unsettled: dict[int, tuple[Subscription, bytes]] = {}
        self._next = 0
        self._frame_size = 512
        self._does = {
            0x10: self._open, 0x11: self._begin, 0x12: self._attach, 0x13: self._flow, 0x14: self._transfer,
            0x15: self._disposition, 0x16: self._detach, 0x17: self._end,
        }  # fmt: skip

    def run(self) -> None:
        """Serve until the client goes away."""
        if self.wire.shake_hands():
            for channel, code, fields in self.wire.frames():
                if code == 0x18:
                    self.wire.send(0, amqp.CloseFrame(None))
                    break
                self.peer.listen()
                with self.peer.store.lock:
                    self._does[code](channel, fields)
        with self.peer.store.lock:
            for link in list(self.links.values()):
                self._leave(link)

    def pump(self) -> None:
        """Hand over what there is to links that want it, and a session to who waits for one."""
        for link in list(self.waiting):
            self._grant(link)
        for link in list(self.links.values()):
            if link.session and not self._owns(link):
                error = AMQPError(b"com.microsoft:session-lock-lost", "the session is lost", None)
                self.wire.send(link.channel, amqp.DetachFrame(link.handle, True, error))
                del self.links[link.channel, link.handle]
            else:
                self._deliver(link)

    def reply(self, node: str, message: Message) -> None:
        """Send the answer to a question back, on the link beside the one that it came by."""
        encoded = bytearray()
        encode_payload(encoded, message)
        link = next(link for link in self.links.values() if link.node == node and link.reads)
        self._send(link, b"answer", bytes(encoded), settled=True)

    def _open(self, channel: int, fields: list[Any]) -> None:
        self._frame_size = fields[2]
        self.wire.send(0, amqp.OpenFrame("peer", None, 65536, 100, None, None, None, None, None, None))

    def _begin(self, channel: int, fields: list[Any]) -> None:
        self.wire.send(channel, amqp.BeginFrame(channel, 0, 2**31 - 1, 2**31 - 1, 1000, None, None, None))

    def _attach(self, channel: int, fields: list[Any]) -> None:
        terminus = fields[5] if fields[2] else fields[6]
        path = urlsplit(terminus[0].decode())
        node = (path.path.strip("/") if path.scheme else path.path).lower()
        link = Link(fields[1], channel, node, bool(fields[2]), fields)
        refusal = self.peer.refusal(node, reads=link.reads)
        if refusal is not None:
            self._refuse(link, *refusal)
            return
        if not node.endswith(("$cbs", "$management")):
            link.subscription = self.peer.store.subscription(node) if link.reads else None
        filters = (terminus[7] if len(terminus) > 7 else None) or {}
        if SESSION_FILTER not in filters:
            self._accept(link, Source(*_named(fields[5], Source)))
            return
        wanted = filters[SESSION_FILTER]
        link.session = wanted.decode() if wanted else ""
        link.deadline = time.monotonic() + (fields[13] or {}).get(b"com.microsoft:timeout", 65000) / 1000
        self.waiting.append(link)
        self._grant(link)

    def _grant(self, link: Link) -> None:
        assert link.subscription is not None
        session = link.subscription.accept(link, link.session or None)
        if session is None:
            if time.monotonic() > link.deadline:
                self.waiting.remove(link)
                self._refuse(link, b"com.microsoft:timeout", "no session within the time")
            return
        self.waiting.remove(link)
        link.session = session
        address = link.frame[5][0].decode()
        until = int(link.subscription.owners[session][1] * 10_000_000) + EPOCH
        source = Source(*_named([address], Source))._replace(filters={SESSION_FILTER: session})
        self._accept(link, source, {LOCKED_UNTIL: {"TYPE": "LONG", "VALUE": until}})

    def _accept(self, link: Link, source: Source, properties: dict[bytes, Any] | None = None) -> None:
        self.links[link.channel, link.handle] = link
        target = Target(*_named(link.frame[6], Target))
        self._answer_attach(link, source, target, properties)
        if not link.reads:
            self.wire.send(link.channel, _flow(link.handle, 1_000_000))

    def _refuse(self, link: Link, condition: bytes, text: str) -> None:
        self._answer_attach(link, None, None, None)
        self.wire.send(link.channel, amqp.DetachFrame(link.handle, True, AMQPError(condition, text, None)))

    def _answer_attach(self, link: Link, source: Any, target: Any, properties: dict[bytes, Any] | None) -> None:
        count, size = (0, None) if link.reads else (None, self.peer.max_bytes)
        answered = amqp.AttachFrame(
            link.frame[0], link.handle, not link.reads, link.frame[3], link.frame[4], source, target, None, None, count,
            size, None, None, properties,
        )  # fmt: skip
        self.wire.send(link.channel, answered)

    def _flow(self, channel: int, fields: list[Any]) -> None:
        link = self.links.get((channel, fields[4]))
        if link is None or not link.reads:
            return
        link.credit = max(0, (fields[5] or 0) + fields[6] - link.sent)
        self._deliver(link)
        if fields[8]:
            link.credit = 0
            self.wire.send(channel, _flow(link.handle, 0))

    def _deliver(self, link: Link) -> None:
        subscription = link.subscription
        while link.credit > 0 and subscription and (entry := subscription.take(link, link.session)):
            self._unsettled[self._next] = subscription, entry.tag
            self._send(link, entry.tag, delivered(entry.sent.sections, entry.failures, marks(entry)))

    def _send(self, link: Link, tag: bytes, payload: bytes, *, settled: bool = False) -> None:
        size = self._frame_size - OVERHEAD
        pieces = [payload[start : start + size] for start in range(0, len(payload), size)]
        for n, piece in enumerate(pieces):
            more = n < len(pieces) - 1
            number = self._next if n == 0 else None
            self.wire.send(
                link.channel,
                amqp.TransferFrame(
                    handle=link.handle, delivery_id=number, delivery_tag=tag if n == 0 else None, message_format=0,
                    settled=settled, more=more, rcv_settle_mode=None, state=None, resume=None, aborted=None,
                    batchable=None, payload=piece,
                ),
            )  # fmt: skip
        self._next += 1
        link.sent += 1
        link.credit -= 1

    def _transfer(self, channel: int, fields: list[Any]) -> None:
        link = self.links.get((channel, fields[0]))
        if link is None:
            return
        link.first = link.first or fields
        link.incoming += fields[11]
        if fields[5]:
            return
        first, payload = link.first, bytes(link.incoming)
        link.first, link.incoming = None, bytearray()
        if len(payload) > self.peer.max_bytes:
            error = AMQPError(b"amqp:link:message-size-exceeded", f"{len(payload)} bytes", None)
            self.wire.send(channel, amqp.DetachFrame(link.handle, True, error))
            return
        outcome = self._take(link, payload, first[3])
        if outcome is not None:
            self.wire.send(channel, amqp.DispositionFrame(True, first[1], None, True, outcome, None))

    def _take(self, link: Link, payload: bytes, format_code: int | None) -> Any:
        if link.node.endswith(("$cbs", "$management")):
            answer(self, link.node, payload)
            return Accepted()
        refusal = self.peer.stumble()
        if refusal is not None:
            return Rejected(AMQPError(refusal, "as told", None)) if refusal else None
        self.peer.store.topics[link.node].publish(split(payload, format_code))
        self.peer.pump()
        return Accepted()

    def _disposition(self, channel: int, fields: list[Any]) -> None:
        if not fields[0]:  # of the client's own transfers, which we settle
            return
        for number in range(fields[1], (fields[1] if fields[2] is None else fields[2]) + 1):
            if number not in self._unsettled:
                continue
            subscription, tag = self._unsettled.pop(number)
            (name,) = fields[4] or {"accepted": []}
            state: Any = OUTCOMES[name]()
            if not subscription.settle(tag, name):
                state = Rejected(AMQPError(b"com.microsoft:message-lock-lost", "the lock is lost", None))
            if not fields[3]:
                self.wire.send(channel, amqp.DispositionFrame(False, number, None, True, state, None))
        self.peer.pump()

    def _detach(self, channel: int, fields: list[Any]) -> None:
        link = self.links.get((channel, fields[0]))
        if link is not None:
            self.wire.send(channel, amqp.DetachFrame(link.handle, True, None))
            self._leave(link)

    def _end(self, channel: int, fields: list[Any]) -> None:
        self.wire.send(channel, amqp.EndFrame(None))

    def _leave(self, link: Link) -> None:
        """Forget a link: a session is free at once, while messages stay locked until their time is over."""
        self.links.pop((link.channel, link.handle), None)
        if link.subscription and self._owns(link):
            link.subscription.leave(link.session)

    def _owns(self, link: Link) -> bool:
        return link.subscription is not None and link.subscription.owners.get(link.session, (None,))[0] is link


def marks(entry: Entry) -> dict[bytes, Any]:
    """Return the annotations of a message that is handed over."""
    return {
        **({b"x-opt-partition-key": entry.sent.partition} if entry.sent.partition else {}),
        b"x-opt-sequence-number": {"TYPE": "LONG", "VALUE": entry.sequence},
        b"x-opt-enqueued-time": {"TYPE": "TIMESTAMP", "VALUE": int(entry.enqueued * 1000)},
        b"x-opt-locked-until": {"TYPE": "TIMESTAMP", "VALUE": int(entry.until * 1000)},
    }


def _flow(handle: int, credit: int) -> amqp.FlowFrame:
    return amqp.FlowFrame(0, 2**31 - 1, 0, 2**31 - 1, handle, 0, credit, 0, False, False, None)


def _named(values: Any, kind: Any) -> list[Any]:
    """Return what a terminus says of itself, filled up to all its fields, without what we need not repeat."""
    return [values[0] if values else None, *[None] * (len(kind._fields) - 1)]
