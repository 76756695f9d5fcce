"""What is missing in a Kafka topic, or in a cluster that came back as it was before."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any, Final

from simplecqrs.brokers.kafka_offsets import Offsets
from simplecqrs.brokers.kafka_places import Place

__all__ = ["Watch", "read_mark"]

MARK: Final = re.compile(r"(\d{1,9}):(\d{1,18})")
HELP: Final = "see docs/recovery.md"

log = logging.getLogger("simplecqrs.brokers.kafka")


def read_mark(mark: str) -> dict[int, int]:
    """Return the offsets that a mark says, by partition."""
    return {int(found[1]): int(found[2]) for found in MARK.finditer(mark)}


class Watch:
    """
    Says what is missing, and counts it.

    Attributes:
        lost: how many messages at least; where nobody can count them, one.
    """

    def __init__(self, topic: str, group: str) -> None:
        self.lost = 0
        self._topic = topic
        self._group = group

    def mark(self, places: Mapping[int, Place]) -> str:
        """Write down how far the consumer is: a partition and an offset each."""
        return " ".join(f"{p}:{place.done}" for p, place in places.items() if place.done)

    def compare(self, mark: str, places: Mapping[int, Place], offsets: Offsets) -> None:
        """Sound an alarm if partitions are shorter than they were."""
        for partition, offset in read_mark(mark).items():
            end = offsets.range(partition)[1] if partition in places else 0
            if end < offset:
                text = "%s[%d] ends at %d, and %s has stored all up to %d: it was emptied, or is as it was before; %s"
                self._alarm(1, text, self._topic, partition, end, self._group, offset, HELP)

    def tell(self, partition: int, place: Place, first: int, end: int) -> None:
        """Sound an alarm: something is missing; not if the consumer is new, and never was to read it."""
        where = f"{self._topic}[{partition}]"
        if place.next > end:
            text = "%s ends at %d, before the place of %s, %d: it was made anew, or cut; it is read from its beginning"
            self._alarm(1, text, where, end, self._group, place.next)
        elif not place.is_new:
            gone = first - place.next
            text = "%s: %d messages are gone that %s had not stored, from %d to %d: its retention was too short"
            self._alarm(gone, text, where, gone, self._group, place.next, first - 1)

    def _alarm(self, lost: int, text: str, *facts: Any) -> None:
        self.lost += lost
        log.error(text, *facts, extra={"cqrs_queue": self._group, "cqrs_feed": self._topic})
