"""The relay: takes batches out of an outbox and gives them to a broker."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Sequence

from attrs import define, field, frozen

from simplecqrs.backoff import Retry
from simplecqrs.bisection import Bisection
from simplecqrs.counts import Counts
from simplecqrs.envelope import Envelope
from simplecqrs.errors import BrokerDown
from simplecqrs.log_fields import about_row, named, printable
from simplecqrs.pacing import Pace
from simplecqrs.queue import LANES, PASSES, Failure, Held, Row, Storage
from simplecqrs.registration import OnDead
from simplecqrs.transport import UNKNOWN, Destination, Receipt, order_of

__all__ = ["Relay", "Shipped"]

log = logging.getLogger("simplecqrs.relay")

MiB = 1024 * 1024
#: Lanes that a relay takes while there is more than it can ship at once: others may take the rest.
SHARE = 4
#: Seconds that a broker may take to answer a ping.
PING = 1.0


@frozen
class Shipped:
    """What one step of a relay did; false if there was nothing to do."""

    read: int = 0
    accepted: int = 0
    refused: int = 0
    dead: int = field(default=0, eq=False)
    #: When those were stored that were accepted.
    stored: Sequence[float] = field(default=(), eq=False, repr=False)

    def __bool__(self) -> bool:
        return self.read > 0


@define(kw_only=True)
class Relay:
    """
    Ship what waits in one queue of an outbox.

    Any number of relays may work on one queue: each takes lanes that nobody else holds.

    Args:
        queue: the broker's name.
        storage: the outbox.
        publisher: the broker.
        batch: rows at a time; it begins with fewer.
        max_bytes: payload bytes at a time.
        deadline: seconds that the broker may take for a batch; far below ``idle``.
        idle: seconds after which the database takes the lanes from a relay that hangs.
        retry: for events that the broker refuses.
        on_dead: what a dead event does to those that follow under its key: they wait for an operator, or go on.
        local: the broker is this database itself.
    """

    queue: str
    storage: Storage
    publisher: Destination
    batch: int = 1000
    max_bytes: int = 4 * MiB
    deadline: float = 2.0
    idle: float = 15.0
    retry: Retry = field(factory=Retry)
    on_dead: OnDead = "hold"
    local: bool = False
    counts: Counts = field(factory=Counts)
    _pace: Pace = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._pace = Pace(self.batch)

    @property
    def name(self) -> str:
        """Name the relay in log lines."""
        return f"relay {self.queue}"

    @property
    def asides(self) -> dict[str, int]:
        """Count what a person at the terminal may want to know besides."""
        unclaimed, expired = getattr(self.publisher, "unclaimed", 0), getattr(self.publisher, "expired", 0)
        return {"events that nobody subscribed to": unclaimed, "expired": expired}

    def step(self) -> Shipped:
        """
        Ship one batch.

        Raises:
            BrokerDown: if the broker took nothing and refused nothing; nothing is changed then.
        """
        for _ in range(PASSES):
            shipped = self._ship()
            if shipped is not None:
                return shipped
        return Shipped()

    def _ship(self) -> Shipped | None:
        """Ship one batch; None if rows had only to be moved behind their blocked keys, so that there may be more."""
        works = self.storage.look(self.queue, random.sample(range(LANES), LANES))
        if not works:
            return Shipped()
        lanes, share = [work.lane for work in works], SHARE if self._pace.full else LANES
        with self.storage.hold(self.queue, lanes=lanes, limit=share, local=self.local, idle=self.idle) as held:
            if held is None:
                return Shipped()
            rows = held.read(self._pace.rows, self.max_bytes)
            if not rows:
                return None
            # What has failed before goes by itself: others are not to be sent again on its account.
            rows = [row for row in rows if row.parked] or rows
            shipped = self._mark(held, rows, self._publish([row.envelope for row in rows]))
        self._count(shipped)
        return shipped

    def _count(self, shipped: Shipped) -> None:
        """Count what is committed now."""
        self.counts.published += shipped.accepted
        self.counts.failed += shipped.refused
        self.counts.dead += shipped.dead
        if shipped.stored:
            self.counts.waits.add(shipped.stored)

    def _publish(self, envelopes: Sequence[Envelope]) -> Sequence[Receipt]:
        """Hand over a batch; search it for the cause if batch after batch is not taken by a broker that answers."""
        receipts, trouble = self._try(envelopes)
        rest = _unexplained(envelopes, receipts)
        if not rest:
            self._pace.taken(len(envelopes))
            return receipts
        is_up = self._is_up()
        if is_up and self._pace.cut_short():
            return self._search(rest, envelopes, receipts)
        if all(receipt.status == "unknown" for receipt in receipts):
            raise trouble or BrokerDown(f"{self.queue} acknowledged none of {len(envelopes)} in {self.deadline} s")
        return receipts

    def _is_up(self) -> bool:
        try:
            self._ping()
        except BrokerDown:
            self._pace.down()
            return False
        return True

    def _search(
        self, rest: Sequence[Envelope], envelopes: Sequence[Envelope], receipts: Sequence[Receipt]
    ) -> Sequence[Receipt]:
        """Send once more, in halves, what the broker did not take."""
        log.warning(
            "%s answers, but does not take all that it is sent; searching for the cause", self.queue,
            extra=named(queue=self.queue),
        )  # fmt: skip
        until = time.monotonic() + self.idle / 3  # the last event may still be tried three times
        found = Bisection(lambda some: self._try(some)[0], self._ping, until).search(rest)
        if any(receipt.status == "refused" for receipt in found):
            self._pace.found()
        by_id = {id(e): receipt for e, receipt in zip(rest, found, strict=True)}
        return [by_id.get(id(e), receipt) for e, receipt in zip(envelopes, receipts, strict=True)]

    def _try(self, envelopes: Sequence[Envelope]) -> tuple[Sequence[Receipt], BrokerDown | None]:
        try:
            return self.publisher.publish(envelopes, deadline=self.deadline), None
        except BrokerDown as error:
            return [UNKNOWN] * len(envelopes), error

    def _ping(self) -> None:
        self.publisher.ping(deadline=PING)

    def _mark(self, held: Held, rows: Sequence[Row], receipts: Sequence[Receipt]) -> Shipped:
        """Delete what was accepted, park what was refused; what is unknown stays and is sent again."""
        accepted = [row for row, receipt in zip(rows, receipts, strict=True) if receipt.status == "accepted"]
        refused = [(row, receipt) for row, receipt in zip(rows, receipts, strict=True) if receipt.status == "refused"]
        if accepted:
            held.done(accepted)
        dead = sum([self._park(held, row, receipt.reason) for row, receipt in refused])
        return Shipped(len(rows), len(accepted), len(refused), dead, [row.stored for row in accepted])

    def _park(self, held: Held, row: Row, reason: str) -> bool:
        """Put an event aside until its next attempt, or for good; tell whether it is dead."""
        attempts = row.attempts + 1
        pause = None if self.retry.exhausted(attempts) else self.retry.pause(attempts)
        held.park(row, Failure(reason, attempts, pause, hold=self.on_dead == "hold"))
        fate = "is dead" if pause is None else f"is tried again in {pause:.1f} s"
        log.warning(
            "%s refused %s %s: %s; it %s", self.queue, printable(row.envelope.name), row.envelope.id,
            printable(reason), fate, extra=about_row(row, attempts=attempts),
        )  # fmt: skip
        return pause is None


def _unexplained(envelopes: Sequence[Envelope], receipts: Sequence[Receipt]) -> list[Envelope]:
    """Return what was not taken, except what only waits behind an event of its key that was refused."""
    stopped = {order_of(e) for e, receipt in zip(envelopes, receipts, strict=True) if receipt.status == "refused"}
    unknown = [e for e, receipt in zip(envelopes, receipts, strict=True) if receipt.status == "unknown"]
    return [e for e in unknown if not e.key or order_of(e) not in stopped]
