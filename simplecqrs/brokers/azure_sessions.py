"""A subscription of Azure Service Bus that asks for sessions, as a consumer reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from simplecqrs.brokers.azure_feed import AzureFeed
from simplecqrs.brokers.azure_locks import LockLost
from simplecqrs.transport import Delivery

__all__ = ["NoSession", "SessionFeed"]

#: Batches after which a session is left, though it may hold more: others are to have their turn.
TURN: Final = 10


class NoSession(Exception):
    """Raised when no session has anything, or others hold all that have."""


class _Left(LockLost):
    """Raised to leave a session."""


class SessionFeed(AzureFeed):
    """
    One subscription with sessions, as one consumer reads it: one session after the other.

    Who holds a session holds all of its messages, so within it, and so within an order key, they come in order.  Each
    session takes a connection of its own: the client library can do no better.
    """

    _batches = 0

    def fetch(self, limit: int, /) -> Sequence[Delivery]:
        """Return what was fetched before and not acknowledged, or what is in this session, or else in the next one."""
        for _ in range(2):
            try:
                deliveries = super().fetch(limit)
            except NoSession:
                return []
            if deliveries:
                return deliveries
        return []

    def _receive(self, receiver: Any, limit: int) -> None:
        if self._batches < TURN:
            super()._receive(receiver, limit)
        self._batches += 1
        if not self._waiting:
            self._batches = 0
            raise _Left("left for the next session")

    def _is_next(self, receiver: Any, number: int) -> bool:
        return True

    def _tell(self, error: LockLost) -> None:
        if not isinstance(error, _Left):
            super()._tell(error)
