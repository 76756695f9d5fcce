"""A broker whose deliveries several processes can look at."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from simplecqrs.envelope import Envelope
from simplecqrs.transport import ACCEPTED, Feed, Promise, Receipt


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
