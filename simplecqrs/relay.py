"""The relay: takes batches out of an outbox and gives them to a broker."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence

from attrs import field, frozen

from simplecqrs.backoff import Retry
from simplecqrs.errors import BrokerDown
from simplecqrs.queue import LANES, PASSES, Failure, Held, Row, Storage
from simplecqrs.transport import Publisher, Receipt

__all__ = ["Relay", "Shipped"]

log = logging.getLogger("simplecqrs.relay")

MiB = 1024 * 1024


@frozen
class Shipped:
    """What one step of a relay did; false if there was nothing to do."""

    read: int = 0
    accepted: int = 0
    refused: int = 0

    def __bool__(self) -> bool:
        return self.read > 0


@frozen(kw_only=True)
class Relay:
    """
    Ship what waits in one queue of an outbox.

    Any number of relays may work on one queue: each takes the lanes that nobody else holds.

    Args:
        queue: the broker's name.
        storage: the outbox.
        publisher: the broker.
        batch: rows at a time.
        max_bytes: payload bytes at a time.
        deadline: seconds that the broker may take for a batch; far below ``idle``.
        idle: seconds after which the database takes the lanes from a relay that hangs.
        retry: for events that the broker refuses.
        local: the broker is this database itself.
    """

    queue: str
    storage: Storage
    publisher: Publisher
    batch: int = 1000
    max_bytes: int = 4 * MiB
    deadline: float = 2.0
    idle: float = 15.0
    retry: Retry = field(factory=Retry)
    local: bool = False

    @property
    def name(self) -> str:
        """Name the relay in log lines."""
        return f"relay {self.queue}"

    @property
    def asides(self) -> dict[str, int]:
        """Count what a person at the terminal may want to know besides."""
        return {"events that nobody subscribed to": getattr(self.publisher, "unclaimed", 0)}

    def step(self) -> Shipped:
        """
        Ship one batch.

        Raises:
            BrokerDown: if nothing was accepted and nothing refused; nothing is changed then.
        """
        for _ in range(PASSES):
            shipped = self._ship()
            if shipped is not None:
                return shipped
        return Shipped()

    def _ship(self) -> Shipped | None:
        """Ship one batch; None if rows had only to be moved behind their blocked keys, so that there may be more."""
        lanes = random.sample(range(LANES), LANES)
        with self.storage.hold(self.queue, lanes=lanes, limit=LANES, local=self.local, idle=self.idle) as held:
            if held is None:
                return Shipped()
            rows = held.read(self.batch, self.max_bytes)
            if not rows:
                return None
            receipts = self.publisher.publish([row.envelope for row in rows], deadline=self.deadline)
            return self._mark(held, rows, receipts)

    def _mark(self, held: Held, rows: Sequence[Row], receipts: Sequence[Receipt]) -> Shipped:
        """Delete what was accepted, park what was refused; what is unknown stays and is sent again."""
        accepted = [row for row, receipt in zip(rows, receipts, strict=True) if receipt.status == "accepted"]
        refused = [(row, receipt) for row, receipt in zip(rows, receipts, strict=True) if receipt.status == "refused"]
        if not accepted and not refused:
            raise BrokerDown(f"{self.queue} acknowledged none of {len(rows)} events within {self.deadline} s")
        if accepted:
            held.done(accepted)
        for row, receipt in refused:
            self._park(held, row, receipt.reason)
        return Shipped(len(rows), len(accepted), len(refused))

    def _park(self, held: Held, row: Row, reason: str) -> None:
        attempts = row.attempts + 1
        pause = None if self.retry.exhausted(attempts) else self.retry.pause(attempts)
        held.park(row, Failure(reason, attempts, pause))
        fate = "is dead" if pause is None else f"is tried again in {pause:.1f} s"
        log.warning("%s refused %s %s: %s; it %s", self.queue, row.envelope.name, row.envelope.id, reason, fate)
