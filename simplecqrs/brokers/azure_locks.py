"""The locks of messages that were received from Azure Service Bus and are not settled yet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

__all__ = ["LockLost", "Locks"]


class LockLost(Exception):
    """Raised when a message, or a session, is ours no longer: its lock is over, or its connection is."""


class Locks:
    """
    Keeps locks from running out, which would bring messages again, and make dead letters of them in the end.

    A lock is renewed when less than half of its time is left.
    """

    def __init__(self) -> None:
        self._seconds = 0.0  # that a lock lasts, as far as is known

    def keep(self, receiver: Any, messages: Sequence[Any]) -> None:
        """Renew what is due.  Raises LockLost if it is too late for one."""
        if not messages:
            return
        now = datetime.now(timezone.utc)
        session = receiver.session
        if session is not None:
            self._keep(now, session.locked_until_utc, session.renew_lock)
            return
        for message in messages:
            self._keep(now, message.locked_until_utc, lambda message=message: receiver.renew_message_lock(message))

    def check(self, messages: Sequence[Any]) -> None:
        """Raise LockLost if the time of one is over."""
        now = datetime.now(timezone.utc)
        for message in messages:
            until = message.locked_until_utc
            if until is not None and until <= now:
                raise LockLost("a lock ran out before its message was handed on")

    def _keep(self, now: datetime, until: datetime | None, renew: Any) -> None:
        if until is None:
            return
        left = (until - now).total_seconds()
        self._seconds = max(self._seconds, left)
        if left <= 0:
            raise LockLost("a lock ran out")
        if left < self._seconds / 2:
            renew()
