"""What compression, claim checks and signatures cost: an event into its envelope and back, against plain JSON."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from attrs import frozen

from benchmarks.measure import interleaved, median_ratio
from benchmarks.report import Line, show
from simplecqrs import NotificationEvent
from simplecqrs.codec import JSONCodec
from simplecqrs.metadata import new_metadata
from simplecqrs.packing import Claims, Compress, MemoryClaims, Packing, Signer
from simplecqrs.vocabulary import Vocabulary

__all__ = ["run"]


@frozen
class Item:
    """A line of an order."""

    sku: str
    quantity: int
    note: str


@frozen
class Ordered(NotificationEvent):
    """An event with a hundred lines, some 7 kB as JSON."""

    order_id: str
    lines: list[Item]


ORDERED = Ordered("7", [Item(f"sku-{n * 7919 % 1000}", n, f"deliver to door {n * 31 % 97}") for n in range(100)])
SIGNER = Signer({"a": "s" * 32})
PACKINGS = {
    "plain": Packing(),
    "zlib": Packing(compress=Compress()),
    "zlib, level 1": Packing(compress=Compress(level=1)),
    "zstd": Packing(compress=Compress(by="zstd")),
    "claim check, in memory": Packing(claims=Claims(MemoryClaims(), above=1024)),
    "plain, signed and verified": Packing(),
}


def through(name: str) -> tuple[Callable[[], Any], int]:
    """Return what makes an envelope and a message of it again, and how large its payload is."""
    vocabulary = Vocabulary([Ordered], codec=JSONCodec(), packing=PACKINGS[name])
    metadata = new_metadata(None, None)

    def signed() -> Any:
        envelope = SIGNER.sign(vocabulary.envelope(ORDERED, metadata))
        assert not SIGNER.problem(envelope)
        return vocabulary.decode(envelope)

    def plain() -> Any:
        return vocabulary.decode(vocabulary.envelope(ORDERED, metadata))

    call = signed if "signed" in name else plain
    assert call() == ORDERED
    return call, len(vocabulary.envelope(ORDERED, metadata).payload)


def run(*, full: bool) -> list[Line]:
    """Measure and print."""
    rounds, number = (60, 100) if full else (20, 50)
    calls = {name: through(name) for name in PACKINGS}
    times = interleaved(
        {name: repeated(number, call) for name, (call, _) in calls.items()}, rounds=rounds, clock=time.thread_time
    )
    lines = [
        Line(f"{name} : plain", median_ratio(times, name, "plain"), detail=f"{size:,} bytes")
        for name, (_, size) in calls.items()
    ]
    show("packing", lines, notes={"rounds": f"{rounds} of {number:,} calls each; medians of processor time"})
    return lines


def repeated(number: int, call: Callable[[], Any]) -> Callable[[], None]:
    """Return a subject that makes a call so many times."""

    def many() -> None:
        for _ in range(number):
            call()

    return many
