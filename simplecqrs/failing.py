"""Messages whose handling failed: repeated at once, parked, discarded, made dead letters, or cause for a pause."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from attrs import define

from simplecqrs.backoff import Pause, Retry
from simplecqrs.counts import Counts
from simplecqrs.envelope import Envelope
from simplecqrs.errors import CommandRefused
from simplecqrs.log_fields import about_row, printable
from simplecqrs.policies import Policy, look_again, reason_of
from simplecqrs.queue import Failure, Held, Row, Storage

__all__ = ["Failing"]

log = logging.getLogger("simplecqrs.consumer")

#: Seconds before an attempt is repeated at once, at the most; the others of a deadlock shall have ended.
AT_ONCE = 0.01
KILLS = "the processes that handle it end, or hang until the database takes the lane from them"


@define(kw_only=True)
class Failing:
    """
    Deal with messages of one consumer that failed, each in a new transaction: what its handler did is rolled back.

    Args:
        policy: what becomes of a message that failed; asked when it has.
        again: handles a message once more and counts it, in a transaction of its own; False: another worker has it.
        idle: seconds after which the database takes the lane from a holder that does nothing.
        wait: called with the seconds before an attempt is repeated at once.
    """

    consumer: str
    storage: Storage
    policy: Callable[[Envelope], Policy]
    again: Callable[[Row], bool]
    counts: Counts
    idle: float
    wait: Callable[[float], object] = time.sleep

    def deal(self, row: Row, error: Exception, *, took: float = 0.0) -> None:
        """
        Let the policy decide what becomes of a message.

        Args:
            took: seconds from its beginning to its failure.
        """
        policy = self.policy(row.envelope)
        fate = policy.fate(error)
        if isinstance(fate, Retry) and fate.inline:
            failed = self._repeat(row, error, fate.inline)
            if failed is None:
                return
            error, fate = failed, policy.fate(failed)
        if isinstance(fate, Pause):
            self._pause(row, error, fate, took)
        elif fate == "discard":
            self._discard(row, error)
        elif fate == "await":
            self._await(row, error, policy)
        else:
            self._park(row, error, policy, fate if isinstance(fate, Retry) else None)

    def put_aside(self, held: Held, row: Row) -> None:
        """Park a message in which processes have ended: at first to be tried again, for they may have been stopped."""
        policy, attempts = self.policy(row.envelope), row.attempts + 1
        gone = row.parked and policy.retry.exhausted(attempts)
        failure = Failure(KILLS, attempts, None if gone else policy.retry.pause(attempts), hold=policy.holds)
        held.park(row, failure)
        self.counts.failed += 1
        self.counts.dead += gone
        log.error(
            "%s parked %s %s: %s", self.consumer, printable(row.envelope.name), row.envelope.id, KILLS,
            extra=about_row(row, attempts=attempts),
        )  # fmt: skip

    def _repeat(self, row: Row, error: Exception, times: int) -> Exception | None:
        """Repeat an attempt at once, and return with what it failed in the end."""
        for _ in range(times):
            log.info(
                "%s repeats %s %s at once: %s", self.consumer, printable(row.envelope.name), row.envelope.id, error,
                extra=about_row(row, attempts=row.attempts + 1),
            )  # fmt: skip
            self.wait(AT_ONCE * (0.5 + 0.5 * random.random()))
            try:
                self.again(row)
            except Exception as failed:  # noqa: BLE001 - the policy decides about each
                error = failed
            else:
                return None
        return error

    def _await(self, row: Row, error: Exception, policy: Policy) -> None:
        """Let a message wait for the release that can handle it; no attempt is counted until its grace is over."""
        if row.waited >= policy.grace:
            self._park(row, error, policy, policy.retry, waits=True)
            return
        pause = look_again(row.waited)
        with self._holding(row) as held:
            if held is not None:
                held.park(row, Failure(reason_of(error), row.attempts, pause, hold=policy.holds, waits=True))
        self.counts.awaited += 1
        fate = f"waits for another release for {policy.grace - row.waited:.0f} s, looked at in {pause:.1f} s"
        self._tell(logging.WARNING, row, error, held, fate)

    def _park(self, row: Row, error: Exception, policy: Policy, retry: Retry | None, *, waits: bool = False) -> None:
        """Put a message aside until its next attempt; without a retry, for good."""
        attempts, reason = row.attempts + 1, reason_of(error)
        pause = None if retry is None or retry.exhausted(attempts) else retry.pause(attempts)
        if pause is None and row.envelope.key and not policy.holds:
            reason += f"\nwhat follows under the key {printable(row.envelope.key)} went on without it"
        # A command that is refused was never in an order that we keep, so nothing waits behind it.
        holds = policy.holds and not isinstance(error, CommandRefused)
        with self._holding(row) as held:
            if held is not None:
                held.park(row, Failure(reason, attempts, pause, hold=holds, waits=waits))
                self.counts.dead += pause is None
        self.counts.failed += 1
        fate = "dead" if pause is None else f"tried again in {pause:.1f} s"
        self._tell(logging.WARNING if pause is not None else logging.ERROR, row, error, held, fate)

    def _discard(self, row: Row, error: Exception) -> None:
        with self._holding(row) as held:
            if held is not None:
                held.done([row])
        self.counts.discarded += 1
        self._tell(logging.WARNING, row, error, held, "discarded")

    def _pause(self, row: Row, error: Exception, pause: Pause, took: float) -> None:
        """Stop the whole consumer; the message stays where it is, and no attempt is counted."""
        seconds = None
        with self._holding(row) as held:
            if held is not None:
                seconds = held.pause(row, pause, reason_of(error), took=took)
        self.counts.paused += 1
        fate = "the consumer pauses already" if seconds is None else f"the consumer pauses for {seconds:.1f} s"
        self._tell(logging.WARNING, row, error, held, fate)

    def _holding(self, row: Row) -> AbstractContextManager[Held | None]:
        return self.storage.hold(self.consumer, lanes=[row.lane], limit=1, local=True, idle=self.idle)

    def _tell(self, level: int, row: Row, error: Exception, held: Held | None, fate: str) -> None:
        # Another worker that was quicker to take the lane tries the message itself; its failure counts then.
        log.log(
            level, "%s failed on %s %s, attempt %d, %s", self.consumer, printable(row.envelope.name), row.envelope.id,
            row.attempts + 1, fate if held is not None else "left to another worker", exc_info=error,
            extra=about_row(row, attempts=row.attempts + 1, error=type(error).__qualname__),
        )  # fmt: skip
