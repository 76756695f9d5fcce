"""Handing messages over: each to its handler, in a transaction of its own or in one that is open, and what follows."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

from attrs import define, field

from simplecqrs.counts import Counts
from simplecqrs.deadlines import begin_within, end_within
from simplecqrs.doubts import Doubts
from simplecqrs.envelope import Envelope
from simplecqrs.failing import Failing
from simplecqrs.log_fields import about_row, at_work, printable
from simplecqrs.policies import Policy, Unclaimed
from simplecqrs.queue import Row, Storage

__all__ = ["Handling", "Receive"]

log = logging.getLogger("simplecqrs.consumer")

#: Handles a message and tells whether it had a handler.
Receive = Callable[[Envelope], bool]


@define(kw_only=True)
class Handling:
    """
    Hand messages of one consumer over, as one worker does it.

    Args:
        receive: handles a message; what it writes shares the transaction in which the row is deleted.
        policy: what becomes of a message that failed; asked when it has failed.
        strict: a message without a handler is a dead letter, not only counted.
        timeout: seconds after which the database takes the lane from a handler that hangs.

    Attributes:
        doubts: whether others may have begun with a message.
        failing: deals with those that failed.
        is_dying: whether the process ends because of a message.
    """

    consumer: str
    storage: Storage
    receive: Receive
    policy: Callable[[Envelope], Policy]
    strict: bool
    timeout: float
    counts: Counts
    doubts: Doubts = field(factory=Doubts, init=False)
    failing: Failing = field(init=False)
    is_dying: bool = field(default=False, init=False)
    #: What was begun last in a transaction of its own, and when anything was.
    _tried: Row | None = field(default=None, init=False)
    _began: float = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self.failing = Failing(
            consumer=self.consumer, storage=self.storage, policy=self.policy, again=self._again, counts=self.counts,
            idle=self.timeout,
        )  # fmt: skip

    def hand_over(self, row: Row) -> bool:
        """Handle a message in the transaction that is open, and tell whether it had a handler.  Raises what it did."""
        self._began = time.monotonic()
        self.doubts.begin(row)
        at_work.row, deadline = row, begin_within(self.timeout)
        try:
            claimed = self.receive(row.envelope)
        except SystemExit as error:  # it would end all that this process does, however often it was started anew
            raise RuntimeError(f"the handler raised SystemExit({error})") from error
        except BaseException as error:
            self.is_dying = not isinstance(error, Exception)
            raise
        finally:
            end_within(deadline)
            at_work.row = None
        if self.strict and not claimed:
            raise Unclaimed(f"{self.consumer} has no handler for {printable(row.envelope.name)}")
        return claimed

    def take(self, taking: AbstractContextManager[Row | None]) -> Literal["gone", "failed", "handled"]:
        """Handle the row that is taken, in a transaction of its own, and deal with its failure."""
        try:
            return "handled" if self._run(taking) else "gone"
        except Exception as error:
            if self._tried is None:
                raise
            self.failed(self._tried, error)
            return "failed"

    @contextmanager
    def ours(self, row: Row) -> Generator[Row | None, None, None]:
        """Take a row that was read; None: it is gone."""
        with self.storage.take(row, idle=self.timeout) as ours:
            yield row if ours else None

    def done(self, row: Row, *, claimed: bool) -> None:
        """Count a message that is handled, and committed."""
        self.doubts.settled(row)
        if claimed:
            self.counts.handled += 1
            self.counts.waits.add((row.stored,))
        else:
            self.counts.unclaimed += 1
            log.info("%s has no handler for %s", self.consumer, printable(row.envelope.name), extra=about_row(row))

    def failed(self, row: Row, error: Exception) -> None:
        """Let the policy decide what becomes of a message whose transaction was rolled back; that settles it."""
        self.failing.deal(row, error, took=time.monotonic() - self._began)
        self.doubts.settled(row)

    def _run(self, taking: AbstractContextManager[Row | None]) -> bool:
        """Handle the row that is taken; False if it is not there."""
        self._tried = None
        with taking as row:
            if row is None:
                return False
            self._tried = row
            claimed = self.hand_over(row)
        self.done(row, claimed=claimed)
        return True

    def _again(self, row: Row) -> bool:
        return self._run(self.ours(row))
