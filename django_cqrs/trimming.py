"""Trimming what brokers keep: streams whose entries all consumers have acknowledged, if they are old enough."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from attrs import evolve, frozen

from django_cqrs.brokers import INBOXES, broker
from django_cqrs.conf import settings
from django_cqrs.models import Subscription
from django_cqrs.places import places_of
from django_cqrs.purging import REST
from simplecqrs.errors import CQRSError
from simplecqrs.letters import CAP
from simplecqrs.log_fields import named
from simplecqrs.transport import Trimmed, Trims

__all__ = ["StreamTrim", "complaints", "trim"]

log = logging.getLogger("django_cqrs")

#: Entries that a broker deletes at a time.
CHUNK = 10_000
DAY = 24 * 3600.0


@frozen
class StreamTrim:
    """
    What became of a topic.

    Args:
        broker: its name.
        error: why nothing was trimmed.
    """

    broker: str
    topic: str
    trimmed: Trimmed
    error: str = ""


def trim(
    *,
    seconds: float,
    days: float | None = None,
    dry_run: bool = False,
    chunk: int = CHUNK,
    rest: Callable[[float], object] | None = None,
) -> Iterator[StreamTrim]:
    """
    Trim the streams of all topics that somebody has subscribed to, and tell of each; what fails stops no other.

    Args:
        seconds: how long each may take.
        days: for how long all is kept, instead of STREAM_DAYS.
        dry_run: only count, up to a cap.
        chunk: entries at a time.
        rest: waits so many seconds between two chunks.
    """
    days = settings().stream_days if days is None else days
    if not days:
        return
    wait = rest or threading.Event().wait
    for (name, topic), consumers in _declared().items():
        try:
            found = broker(name)
            if not isinstance(found, Trims):
                continue  # it has a retention of its own
            if dry_run:
                trimmed = found.trim(topic, consumers, keep=days * DAY, limit=CAP, dry_run=True)
            else:
                trimmed = _trim(found, topic, consumers, keep=days * DAY, seconds=seconds, chunk=chunk, wait=wait)
            yield StreamTrim(name, topic, trimmed)
        except CQRSError as error:
            log.error("%s: %s was not trimmed: %s", name, topic, error, extra=named(queue=name, topic=topic))
            yield StreamTrim(name, topic, Trimmed(0), str(error))


def complaints(streams: Sequence[StreamTrim]) -> None:
    """Raise CQRSError if some were not trimmed."""
    failed = [stream for stream in streams if stream.error]
    if failed:
        raise CQRSError("; ".join(stream.error for stream in failed))


def _declared() -> dict[tuple[str, str], list[str]]:
    """Return who has subscribed to which topic of which broker, in whatever schema."""
    found: dict[tuple[str, str], list[str]] = {}
    for place in places_of([INBOXES]):
        with place.entered():
            rows = Subscription.objects.using(INBOXES).filter(broker__in=list(settings().brokers))
            for name, topic, consumer in rows.order_by("broker", "topic").values_list("broker", "topic", "consumer"):
                found.setdefault((name, topic), []).append(consumer)
    return {stream: list(dict.fromkeys(consumers)) for stream, consumers in found.items()}


def _trim(
    broker: Trims, topic: str, consumers: Sequence[str], *, keep: float, seconds: float, chunk: int,
    wait: Callable[[float], object],
) -> Trimmed:  # fmt: skip
    """Trim in chunks until it is done, or the time is over."""
    ends, total = time.monotonic() + seconds, 0
    while True:
        began = time.monotonic()
        trimmed = broker.trim(topic, consumers, keep=keep, limit=chunk)
        total += trimmed.entries
        pause = REST * (time.monotonic() - began)
        if trimmed.whole or time.monotonic() + pause >= ends:
            return evolve(trimmed, entries=total)
        wait(pause)
