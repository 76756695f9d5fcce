"""A broker whose deliveries several processes can look at."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from simplecqrs.envelope import Envelope
from simplecqrs.errors import BrokerDown
from simplecqrs.transport import ACCEPTED, UNKNOWN, Feed, Promise, Receipt, refused


class FileBroker:
    """Write a line per envelope: process, id, topic, key, payload; nothing reads it but tests."""

    promise: Promise = "stored"

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
        """Append all lines in one write, which others do not interrupt."""
        lines = [f"{os.getpid()} {e.id} {e.topic} {e.key} {e.payload.decode()}\n" for e in envelopes]
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, "".join(lines).encode())
        os.close(descriptor)
        return [ACCEPTED] * len(envelopes)

    def ping(self, *, deadline: float) -> None:
        """Answer."""

    def feeds(self, consumer: str, topics: Sequence[str], /) -> Sequence[Feed]:
        """Return none."""
        return ()


class PickyBroker(FileBroker):
    """Refuse what says "refused", until a file beside the other one says that it is mended; be down if one says so."""

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
        """Take what is good; a key stops at its first that is not."""
        self.ping(deadline=deadline)
        stopped: set[tuple[str, str]] = set()
        receipts = [self._receipt(envelope, stopped) for envelope in envelopes]
        taken = [e for e, receipt in zip(envelopes, receipts, strict=True) if receipt is ACCEPTED]
        super().publish(taken, deadline=deadline)
        return receipts

    def ping(self, *, deadline: float) -> None:
        """Answer unless it is down."""
        if self._path.with_suffix(".down").exists():
            raise BrokerDown("nobody is there")

    def _receipt(self, envelope: Envelope, stopped: set[tuple[str, str]]) -> Receipt:
        place = (envelope.topic, envelope.key)
        if place in stopped:
            return UNKNOWN
        if b"refused" not in envelope.payload or self._path.with_suffix(".mended").exists():
            return ACCEPTED
        if envelope.key:
            stopped.add(place)
        return refused("not to my taste")
