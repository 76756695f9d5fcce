"""The codecs against cattrs with the same library used directly: an event with five lines, there and back."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import datetime, timezone
from decimal import Decimal
from importlib import import_module
from typing import Any
from uuid import UUID, uuid4

from attrs import frozen

from benchmarks.measure import interleaved, median_ratio
from benchmarks.report import Line, show
from simplecqrs import NotificationEvent
from simplecqrs.codec import Codec, JSONCodec
from simplecqrs.codec.msgspec import MsgspecCodec
from simplecqrs.codec.orjson import OrjsonCodec

__all__ = ["run"]

CODECS: dict[str, type[Codec]] = {"json": JSONCodec, "orjson": OrjsonCodec, "msgspec": MsgspecCodec}


@frozen
class Item:
    """A line of an order."""

    sku: str
    quantity: int
    price: Decimal


@frozen
class Ordered(NotificationEvent):
    """An event with five lines."""

    order_id: UUID
    customer: str
    at: datetime
    total: Decimal
    lines: list[Item]
    note: str | None = None


ORDERED = Ordered(
    uuid4(), "Ada", datetime.now(timezone.utc), Decimal("10.00"),
    [Item(f"sku{n}", n, Decimal("2.50")) for n in range(5)],
)  # fmt: skip


def directly(library: str) -> Callable[[], Any]:
    """Return what encodes and decodes by cattrs alone."""
    converter = import_module(f"cattrs.preconf.{library}").make_converter()
    for kind in (UUID, Decimal):
        converter.register_unstructure_hook(kind, str)
        converter.register_structure_hook(kind, lambda value, cls: cls(value))
    return lambda: converter.loads(converter.dumps(ORDERED), Ordered)


def through(codec: Codec) -> Callable[[], Any]:
    """Return what encodes and decodes by a codec of ours."""
    return lambda: codec.decode(Ordered, codec.encode(ORDERED))


def run(*, full: bool) -> list[Line]:
    """Measure and print."""
    rounds, number = (60, 2_000) if full else (30, 500)
    subjects = {name: repeated(number, through(codec())) for name, codec in CODECS.items()}
    subjects |= {f"{name} directly": repeated(number, directly(name)) for name in CODECS}
    times = interleaved(subjects, rounds=rounds, clock=time.thread_time)
    lines = []
    for name, codec in CODECS.items():
        mine, theirs = (statistics.median(times[which]) / number * 1e6 for which in (name, f"{name} directly"))
        what = f"{codec.__name__}, there and back : cattrs with {name}"
        ratio = median_ratio(times, name, f"{name} directly")
        lines.append(Line(what, ratio, 1.3, detail=f"{mine:.1f} us : {theirs:.1f} us"))
    show("codec", lines, notes={"rounds": f"{rounds} of {number:,} calls each; medians of processor time"})
    return lines


def repeated(number: int, call: Callable[[], Any]) -> Callable[[], None]:
    """Return a subject that makes a call so many times."""
    assert call() == ORDERED

    def many() -> None:
        for _ in range(number):
            call()

    return many
