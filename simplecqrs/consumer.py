"""A consumer: takes messages off a broker into its inbox, and out of the inbox into handlers."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from typing import Literal

from attrs import define, field, frozen

from simplecqrs.backoff import Retry
from simplecqrs.envelope import Envelope
from simplecqrs.errors import InvalidPayload, UnknownMessage
from simplecqrs.queue import LANES, PASSES, Failure, Inbox, Row, Storage, Stored
from simplecqrs.registration import OnDead
from simplecqrs.transport import Delivery, Feed, Garbage

__all__ = ["Consumer", "Counts", "Fetcher", "Policy"]

log = logging.getLogger("simplecqrs.consumer")

MiB = 1024 * 1024

#: Handles a message and tells whether it had a handler.
Receive = Callable[[Envelope], bool]


@frozen
class Policy:
    """What becomes of a message whose handling failed."""

    retry: Retry = field(factory=Retry)
    on_dead: OnDead = "hold"


@define
class Counts:
    """What a consumer has done since it started."""

    handled: int = 0
    failed: int = 0
    unclaimed: int = 0
    fetched: int = 0
    seen: int = 0


@frozen(kw_only=True)
class Fetcher:
    """
    Take what a broker has for a consumer into its inbox.

    Any number of fetchers may run; a feed is fetched by one at a time.  A batch is committed before it is
    acknowledged: a crash in between brings it again, and the door drops it.
    """

    consumer: str
    inbox: Inbox
    feeds: Sequence[Feed]
    batch: int = 500
    counts: Counts = field(factory=Counts)

    @property
    def name(self) -> str:
        """Name the fetcher in log lines."""
        return f"fetcher {self.consumer}"

    @property
    def asides(self) -> dict[str, int]:
        """Count what a person at the terminal may want to know besides."""
        return {"seen before": self.counts.seen}

    def step(self) -> int:
        """Fetch a batch from each feed and return how many messages came.  Raises BrokerDown."""
        return sum(self._fetch(feed) for feed in self.feeds)

    def _fetch(self, feed: Feed) -> int:
        with self.inbox.fetching(self.consumer, feed.name) as ours:
            deliveries = feed.fetch(self.batch) if ours else ()
            if not deliveries:
                return 0
            stored = self._store(deliveries)
        self.counts.fetched += stored.new
        self.counts.seen += stored.seen
        if stored.seen:
            log.info("%s dropped %d messages that it had seen before", self.consumer, stored.seen)
        feed.acknowledge(deliveries)
        return len(deliveries)

    def _store(self, deliveries: Sequence[Delivery]) -> Stored:
        stored = self.inbox.store(self.consumer, [d.content for d in deliveries if isinstance(d.content, Envelope)])
        garbage = [d.content for d in deliveries if isinstance(d.content, Garbage)]
        if garbage:
            self.inbox.bury(self.consumer, garbage)
            log.error("%s: %d messages could not be read; first: %s", self.consumer, len(garbage), garbage[0].error)
        return stored


@frozen(kw_only=True)
class Consumer:
    """
    Handle what waits in a consumer's inbox: per message one transaction, under its lane's lock.

    Any number of workers may run: each works a lane that nobody else holds, for up to ``run`` messages.

    Args:
        consumer: its name; its queue in the inbox bears it.
        receive: handles a message; what it writes shares the transaction in which the row is deleted.
        policy: what becomes of a message that failed; asked when it has failed.
        strict: a message without a handler is a dead letter, not only counted.
        timeout: seconds after which the database takes the lane from a handler that hangs.
        stopping: asked between two messages of a run; if true, the run ends.
    """

    consumer: str
    storage: Storage
    receive: Receive
    policy: Callable[[Envelope], Policy] = lambda _: Policy()
    lanes: int = LANES
    run: int = 50
    max_bytes: int = 4 * MiB
    strict: bool = False
    timeout: float = 300.0
    stopping: Callable[[], bool] = lambda: False
    counts: Counts = field(factory=Counts)

    @property
    def name(self) -> str:
        """Name the worker in log lines."""
        return f"consumer {self.consumer}"

    @property
    def asides(self) -> dict[str, int]:
        """Count what a person at the terminal may want to know besides."""
        return {"failed": self.counts.failed, "without a handler": self.counts.unclaimed}

    def step(self) -> int:
        """Work one lane for a run of messages and return how many were settled, handled or not."""
        for _ in range(PASSES):
            settled = self._work_lane()
            if settled is not None:
                return settled
        return 0

    def _work_lane(self) -> int | None:
        """Work one lane; None if its rows had only to be moved behind their blocked keys, so that others are next."""
        order = random.sample(range(self.lanes), self.lanes)
        tried: Row | None = None
        try:
            with self.storage.hold(self.consumer, lanes=order, limit=1, local=True, idle=self.timeout) as held:
                rows = held.read(self.run, self.max_bytes) if held is not None else ()
                if held is None or not rows:
                    return 0 if held is None else None
                held.done(rows[:1])
                tried = rows[0]
                claimed = self._handle(tried)
        except Exception as error:
            # What fails at the commit is the handler's as well: a deferred constraint, a lane lost to the timeout.
            if tried is None:
                raise
            return self._park(tried, error)
        self._count(tried, claimed=claimed)
        return 1 + self._go_on(rows[1:])

    def _go_on(self, rows: Sequence[Row]) -> int:
        """Handle the rest of a run, one transaction each; any surprise ends it."""
        settled = 0
        for row in rows:
            tried: Row | None = None
            if self.stopping():
                break
            try:
                with self.storage.take(row, idle=self.timeout) as ours:
                    if not ours:
                        break
                    tried = row
                    claimed = self._handle(row)
            except Exception as error:
                if tried is None:
                    raise
                return settled + self._park(row, error)
            self._count(row, claimed=claimed)
            settled += 1
        return settled

    def _handle(self, row: Row) -> bool:
        claimed = self.receive(row.envelope)
        if self.strict and not claimed:
            raise _Unclaimed(f"{self.consumer} has no handler for {row.envelope.name}")
        return claimed

    def _count(self, row: Row, *, claimed: bool) -> None:
        if claimed:
            self.counts.handled += 1
        else:
            self.counts.unclaimed += 1
            log.info("%s has no handler for %s", self.consumer, row.envelope.name)

    def _park(self, row: Row, error: Exception) -> Literal[1]:
        """Put a failed message aside in a new transaction: what its handler did is rolled back."""
        failure = self._failure(row, error)
        with self.storage.hold(self.consumer, lanes=[row.lane], limit=1, local=True, idle=self.timeout) as held:
            if held is not None:
                held.park(row, failure)
        self.counts.failed += 1
        # Another worker that was quicker to take the lane tries the message itself; its failure counts then.
        fate = "left to another worker" if held is None else _fate(failure)
        log.log(
            logging.WARNING if failure.pause is not None else logging.ERROR,
            "%s failed on %s %s, attempt %d, %s", self.consumer, row.envelope.name, row.envelope.id,
            failure.attempts, fate, exc_info=error,
        )  # fmt: skip
        return 1

    def _failure(self, row: Row, error: Exception) -> Failure:
        policy = self.policy(row.envelope)
        attempts = row.attempts + 1
        hopeless = isinstance(error, (InvalidPayload, _Unclaimed))
        pause = None if hopeless or policy.retry.exhausted(attempts) else policy.retry.pause(attempts)
        hold = policy.on_dead == "hold"
        reason = f"{UnknownMessage.__name__ if isinstance(error, _Unclaimed) else type(error).__name__}: {error}"[:2000]
        if pause is None and row.envelope.key and not hold:
            reason += f"\nwhat follows under the key {row.envelope.key} went on without it"
        return Failure(reason, attempts, pause, hold=hold)


class _Unclaimed(UnknownMessage):
    """Raised for a message without a handler, which no retry will give one."""


def _fate(failure: Failure) -> str:
    return "dead" if failure.pause is None else f"tried again in {failure.pause:.1f} s"
