"""Whether somebody may have begun with the message that is being handled, and did not come back."""

from __future__ import annotations

import threading

from attrs import define, field

from simplecqrs.queue import Row

__all__ = ["Doubts", "tried"]


class _Handling(threading.local):
    before = False
    failures = 0


#: ``tried.before`` tells it of the message that a consumer hands over in this thread.  It is true as well of some that
#: nobody has begun with, when a lane comes from another worker.  ``tried.failures`` is how often it was parked.
tried = _Handling()


@define
class Doubts:
    """
    What one worker knows of the messages that it hands over.

    Args:
        is_foreign: whether the lane that is worked was another worker's, who has not said that it left it in order.
    """

    is_foreign: bool = False
    _open: set[int] = field(factory=set[int], init=False)

    def begin(self, row: Row) -> None:
        """Note that a message is being handed over, and let ``tried`` tell of it."""
        tried.failures = row.attempts
        tried.before = self.is_foreign or row.attempts > 0 or row.id in self._open
        self._open.add(row.id)

    def settled(self, row: Row) -> None:
        """Note that what became of a message is committed."""
        self._open.discard(row.id)
