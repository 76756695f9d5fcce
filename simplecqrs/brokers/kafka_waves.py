"""
Records on their way to Kafka, in waves.

A wave is what fits into one batch.  Nothing of it leaves before all of it is with the producer, so what it has for a
partition is one batch, which a broker takes or refuses as a whole.  The next wave begins when each batch of this one
was taken, so no record overtakes another of its key, whatever fails.  (Several batches under way do not have that: of
an idempotent producer's, the one behind a refused one may still be taken.)  A batch that is refused is sent again in
halves, one after the other, until the record that is to blame is alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from attrs import define, field

from simplecqrs.brokers.kafka_client import Client
from simplecqrs.brokers.kafka_records import Record
from simplecqrs.transport import ACCEPTED, Receipt, refused

__all__ = ["ABOUT_TOPICS", "Waves"]

#: Errors about a topic, and so about all that was sent to it.
ABOUT_TOPICS: Final = frozenset(
    ("_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION", "UNKNOWN_TOPIC_OR_PART", "TOPIC_EXCEPTION", "TOPIC_AUTHORIZATION_FAILED")
)
#: Errors about something in a batch.  All others say nothing about a record.
ABOUT_RECORDS: Final = frozenset(
    (
        "MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE", "INVALID_MSG_SIZE", "INVALID_RECORD", "INVALID_TIMESTAMP",
        "POLICY_VIOLATION", "UNSUPPORTED_FOR_MESSAGE_FORMAT",
    )
)  # fmt: skip
#: Seconds between two looks at whether waiting is of any use.
SLICE: Final = 0.1


@define(eq=False)
class Waves:
    """
    The records of one call.

    Args:
        client: the producer.
        records: by their places in the call; in their order.
        until: monotonic seconds; what is not acknowledged then is purged.

    Attributes:
        receipts: of those of which something is known.
        unsent: why the producer did not take a record, which therefore no broker has seen.
        silent: topics and partitions that have not answered.
        is_broken: the producer is to be used no more.
    """

    client: Client
    records: Mapping[int, Record]
    until: float
    receipts: dict[int, Receipt] = field(factory=dict[int, Receipt], init=False)
    unsent: dict[int, str] = field(factory=dict[int, str], init=False)
    silent: set[tuple[str, int]] = field(factory=set[tuple[str, int]], init=False)
    is_broken: bool = field(default=False, init=False)
    _stopped: set[tuple[str, bytes]] = field(factory=set[tuple[str, bytes]], init=False)
    _failed: dict[int, tuple[str, str, str, int]] = field(factory=dict[int, tuple[str, str, str, int]], init=False)

    def send(self, waves: Iterable[Sequence[int]]) -> None:
        """Send records, by their places, until something is wrong that concerns more than one."""
        all(self._send(wave) for wave in waves)
        self.client.topics.difference_update(topic for topic, _ in self.silent)  # they may be there no more

    def _send(self, places: Sequence[int]) -> bool:
        """Send a wave, in halves what was refused; tell whether it makes sense to go on."""
        self._failed.clear()
        produced = self._produce(places)
        if self.is_broken:
            return False
        if self._wait():
            self.receipts.update(dict.fromkeys(produced - self._failed.keys(), ACCEPTED))
        refusals = dict[tuple[str, int], list[int]]()
        for place in sorted(self._failed):
            name, reason, topic, partition = self._failed[place]
            if name in ABOUT_TOPICS:
                self._refuse(place, reason)
            elif name in ABOUT_RECORDS:
                refusals.setdefault((topic, partition), []).append(place)
            else:
                self._unanswered(name, reason, topic, partition)
        if self.silent or self.is_broken:
            return False
        batches = [[(place, self._failed[place][1]) for place in batch] for batch in refusals.values()]
        return all(self._explain(batch) for batch in batches)

    def _explain(self, batch: Sequence[tuple[int, str]]) -> bool:
        """Find the records on whose account a batch was refused."""
        if len(batch) == 1:
            self._refuse(*batch[0])
            return True
        half = len(batch) // 2
        return all(self._send([place for place, _ in part]) for part in (batch[:half], batch[half:]))

    def _refuse(self, place: int, reason: str) -> None:
        """Note a refusal, unless one of its key came before."""
        record = self.records[place]
        if record.key is None:
            self.receipts[place] = refused(reason)
        elif (record.topic, record.key) not in self._stopped:
            self.receipts[place] = refused(reason)
            self._stopped.add((record.topic, record.key))

    def _unanswered(self, name: str, reason: str, topic: str, partition: int) -> None:
        self.silent.add((topic, partition))
        if name == "_PURGE_INFLIGHT":  # what is under way must not arrive after what comes next
            self.is_broken = True
        elif name != "_PURGE_QUEUE":
            self.client.troubles.last = reason

    def _produce(self, places: Sequence[int]) -> set[int]:
        """Hand records to the producer, a key only until its first that is not taken; return those that were."""
        produce: Callable[..., None] = self.client.handle.produce
        complaints: tuple[type[Exception], ...] = (*self.client.errors, BufferError, TypeError, ValueError)
        records, complain, stopped = self.records, self._complain, self._stopped
        produced = set[int]()
        for place in places:
            topic, key, value, headers = records[place]
            if stopped and (topic, key) in stopped:  # nothing without a key is in there
                continue
            try:
                produce(topic, value, key, headers=headers, on_delivery=partial(complain, place))
                produced.add(place)
            except complaints as error:
                if not self._untaken(place, error):
                    break
        return produced

    def _untaken(self, place: int, error: Exception) -> bool:
        """Note why a record was not taken, and tell whether others may be."""
        record = self.records[place]
        reason: Any = error.args[0] if error.args else error
        name = reason.name() if hasattr(reason, "name") else type(error).__name__
        if name in ("BufferError", "_FATAL", "_QUEUE_FULL", "_STATE"):
            self._break(error)
            return False
        self.unsent[place] = reason.str() if hasattr(reason, "str") else f"{name}: {error}"
        if record.key is not None:
            self._stopped.add((record.topic, record.key))
        return True

    def _complain(self, place: int, error: Any, message: Any) -> None:
        """Take librdkafka's word on a record that was not stored; of others it says nothing."""
        self._failed[place] = error.name(), error.str(), message.topic(), message.partition()

    def _wait(self) -> bool:
        """
        Wait until nothing is under way; when the time is over, make sure that no more is sent.

        Return whether all that was not stored was complained of; else nothing is known of what was not.
        """
        flush, troubles = self.client.handle.flush, self.client.troubles
        try:
            while (left := self.until - time.monotonic()) > 0:
                if not flush(min(left, SLICE)) or troubles.hopeless:
                    break
            if len(self.client.handle):
                self.client.handle.purge()
                flush(SLICE)
            return not len(self.client.handle)
        except self.client.errors as error:
            self._break(error)
            return False

    def _break(self, error: Exception) -> None:
        """Give the producer up: it says that it is beyond help."""
        self.client.troubles.last = str(error)
        self.client.handle.purge(blocking=False)
        self.is_broken = True
