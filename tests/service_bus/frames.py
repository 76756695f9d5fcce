"""AMQP 1.0 on a socket, with the codec of the client library."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any

from attrs import frozen
from azure.servicebus._pyamqp import _decode as decoding
from azure.servicebus._pyamqp import performatives
from azure.servicebus._pyamqp._encode import encode_frame, encode_payload
from azure.servicebus._pyamqp.message import Header, Message

SASL, AMQP = b"AMQP\x03\x01\x00\x00", b"AMQP\x00\x01\x00\x00"
BATCH = 0x80013700
HEADER, ANNOTATIONS, PROPERTIES, DATA = 0x70, 0x72, 0x73, 0x75


@frozen
class Sent:
    """A message as it was sent: its sections, and of these what a broker looks at."""

    sections: bytes
    message_id: str
    session: str
    partition: str


class Wire:
    """Frames of one connection: read by whoever runs it, written by a thread of its own."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._file = sock.makefile("rb")
        self._out: SimpleQueue[bytes | None] = SimpleQueue()
        self._writer = Thread(target=self._write, daemon=True)
        self._writer.start()

    def shake_hands(self) -> bool:
        """Let the client in by the mechanism that it prefers; false if it went away."""
        if self._file.read(8) != SASL:
            return False
        self._out.put(SASL)
        self.send(0, performatives.SASLMechanism([b"MSSBCBS", b"ANONYMOUS"]), kind=b"\x01")
        if self._frame() is None:
            return False
        self.send(0, performatives.SASLOutcome(0, None), kind=b"\x01")
        self._out.put(AMQP)
        return self._file.read(8) == AMQP

    def frames(self) -> Iterator[tuple[int, int, list[Any]]]:
        """Yield channel, code and fields of what comes, until the connection ends."""
        while (frame := self._frame()) is not None:
            channel, body = frame
            if body:
                code, fields = decoding.decode_frame(memoryview(body))
                yield channel, code, fields

    def send(self, channel: int, performative: Any, *, kind: bytes = b"\x00") -> None:
        """Write a frame, when its turn comes."""
        header, body = encode_frame(performative, kind)
        self._out.put(header + struct.pack(">H", channel) + bytes(body or b""))

    def end(self) -> None:
        """Write what waits, if it can be, and end the connection."""
        self._out.put(None)
        self._writer.join(1)
        hang_up(self._sock)
        self._file.close()
        self._sock.close()

    def _frame(self) -> tuple[int, bytes] | None:
        start = self._file.read(8)
        if len(start) < 8:
            return None
        size, offset, _, channel = struct.unpack(">IBBH", start)
        body = self._file.read(size - 8)
        return (channel, body[offset * 4 - 8 :]) if len(body) == size - 8 else None

    def _write(self) -> None:
        try:
            while (data := self._out.get()) is not None:
                self._sock.sendall(data)
        except OSError:
            pass  # the reader finds out by itself
        hang_up(self._sock)


def hang_up(sock: socket.socket) -> None:
    """End a connection in both directions."""
    with suppress(OSError):  # it has ended
        sock.shutdown(socket.SHUT_RDWR)


def parts(encoded: bytes) -> Iterator[tuple[int, bytes, Any]]:
    """Yield code, bytes and value of the sections of a message."""
    rest = memoryview(encoded)
    while rest:
        after, value = decoding._DECODE_BY_CONSTRUCTOR[rest[3]](rest[4:])
        yield rest[2], bytes(rest[: len(rest) - len(after)]), value
        rest = after


def split(encoded: bytes, format_code: int | None) -> list[Sent]:
    """Return the messages in a transfer: one, or a batch."""
    if format_code == BATCH:
        return [message for code, _, value in parts(encoded) if code == DATA for message in split(bytes(value), 0)]
    kept, message_id, session, partition = b"", "", "", ""
    for code, raw, value in parts(encoded):
        if code == PROPERTIES:
            fields = [*value, *[None] * 13]
            message_id, session = _text(fields[0]), _text(fields[10])
        if code == ANNOTATIONS:
            partition = _text(value.get(b"x-opt-partition-key"))
        if code not in (HEADER, ANNOTATIONS):
            kept += raw
    return [Sent(kept, message_id, session, partition)]


def delivered(sections: bytes, failures: int, annotations: dict[bytes, Any]) -> bytes:
    """Return a message as a broker hands it over."""
    start = bytearray()
    encode_payload(start, Message(header=Header(delivery_count=failures), message_annotations=annotations))
    return bytes(start) + sections


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value or "")
