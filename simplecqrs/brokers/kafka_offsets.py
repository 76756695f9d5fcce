"""The offsets that a Kafka server keeps for a consumer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from simplecqrs.brokers.kafka_places import Place, read_ahead, write_ahead
from simplecqrs.errors import BrokerDown

__all__ = ["Offsets"]

#: Seconds after which offsets are committed again that have not changed: brokers forget them, by default in a week.
KEEP: Final = 6 * 3600.0


class Offsets:
    """
    The offsets of one topic.

    Args:
        handle: a consumer of the group.
        topic: its name on the server.
        spot: makes what the client library takes for a place: of topic, partition, offset and metadata.
        timeout: seconds that the server may take for an answer.

    Attributes:
        is_stuck: the client is not to be used any more.
    """

    def __init__(self, handle: Any, topic: str, *, spot: Callable[..., Any], timeout: float) -> None:
        self._handle = handle
        self._topic = topic
        self._spot = spot
        self._timeout = timeout
        self._kept = float("-inf")
        self.is_stuck = False

    def known(self, places: Mapping[int, Place], /) -> dict[int, tuple[int, set[int]]]:
        """Return for each partition what is stored: all below an offset, and some beyond."""
        spots = self._handle.committed([self._spot(self._topic, p) for p in places], timeout=self._timeout)
        known = dict[int, tuple[int, set[int]]]()
        for spot in spots:
            if spot.error is not None:
                raise BrokerDown(f"{self._topic}[{spot.partition}]: {spot.error.str()}")
            known[spot.partition] = max(spot.offset, 0), read_ahead(spot.metadata)
            places[spot.partition].is_new = spot.offset < 0
        if time.monotonic() - self._kept > KEEP:
            self._commit([spot for spot in spots if spot.offset >= 0])
        return known

    def commit(self, places: Mapping[int, Place], /) -> None:
        """Write down how far we are."""
        self._commit([self._spot(self._topic, p, it.done, write_ahead(it.ahead)) for p, it in places.items()])

    def range(self, partition: int) -> tuple[int, int]:
        """Return the first offset of a partition, and the one after its last."""
        first, end = self._handle.get_watermark_offsets(
            self._spot(self._topic, partition), timeout=self._timeout, cached=False
        )
        return first, end

    def end(self, partition: int) -> int:
        """Return the offset after the last one, as the last answer to a fetch had it; negative: there was none."""
        _, end = self._handle.get_watermark_offsets(self._spot(self._topic, partition), cached=True)
        return int(end)

    def at(self, partitions: Iterable[int], since: datetime | None) -> dict[int, int]:
        """Return for each partition the first offset of a time or later; None: the first that is there."""
        if since is None:
            return {partition: self.range(partition)[0] for partition in partitions}
        milliseconds = int(since.timestamp() * 1000)
        asked = [self._spot(self._topic, partition, milliseconds) for partition in partitions]
        found = dict[int, int]()
        for spot in self._handle.offsets_for_times(asked, timeout=self._timeout):
            if spot.error is not None:
                raise BrokerDown(f"{self._topic}[{spot.partition}]: {spot.error.str()}")
            found[spot.partition] = spot.offset if spot.offset >= 0 else self.range(spot.partition)[1]
        return found

    def _commit(self, spots: list[Any]) -> None:
        """
        Commit in a thread, for as long as we have time.

        By itself it waits for its coordinator for as long as that takes, and then for the answer.  Until then nothing
        else can be asked of the client, so that is given up.
        """
        if not spots:
            return
        outcome = list[Any]()
        thread = threading.Thread(target=_work, args=(self._handle, spots, outcome), daemon=True, name="kafka commit")
        thread.start()
        thread.join(self._timeout)
        if not outcome:
            self.is_stuck = True
            raise BrokerDown(f"{self._topic}: no answer to a commit of offsets in {self._timeout} s")
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        for spot in outcome[0]:
            if spot.error is not None:
                raise BrokerDown(f"{self._topic}[{spot.partition}]: {spot.error.str()}")
        self._kept = time.monotonic()


def _work(handle: Any, spots: list[Any], outcome: list[Any]) -> None:
    try:
        outcome.append(handle.commit(offsets=spots, asynchronous=False))
    except Exception as error:  # noqa: BLE001 - raised where it is waited for
        outcome.append(error)
