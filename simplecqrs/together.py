"""The messages that are handled in the transaction of their lane, one or several: all of them, or none."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from attrs import define, field

from simplecqrs.queue import Held, Row

__all__ = ["Together"]

#: Seconds after which a batch takes no more: others wait for its locks, and a watchdog for its end.
LONGEST = 1.0


@define
class Together:
    """
    Handle rows in one transaction, without a savepoint for each: what one of them raises takes back all.

    Args:
        handle_one: handles one and tells whether it had a handler.
        stopping: asked between two of them.

    Attributes:
        read: the rows of the lane; None: it belongs to somebody else; empty: they were only moved.
        tried: the rows that were begun.
        handled: those that went well, and whether they had a handler.
        is_done: whether all that were begun went well, so that only the commit was left.
    """

    handle_one: Callable[[Row], bool]
    stopping: Callable[[], bool]
    read: Sequence[Row] | None = field(default=None, init=False)
    tried: Sequence[Row] = field(default=(), init=False)
    handled: list[tuple[Row, bool]] = field(factory=list[tuple[Row, bool]], init=False)
    is_done: bool = field(default=False, init=False)

    def handle(self, held: Held, most: int) -> None:
        """
        Handle the first ones of what was read, up to so many, and delete those that went well.

        Raises:
            Exception: what the handler of one of them raised; the transaction is to be rolled back.
        """
        rows = (self.read or ())[:most]
        if len(rows) == 1:
            held.done(rows)
            self._handle_next(rows)
        else:
            until = time.monotonic() + LONGEST
            while len(self.handled) < len(rows):
                self._handle_next(rows)
                if self.stopping() or time.monotonic() > until:
                    break
            if held.done(self.tried) != len(self.tried):
                raise RuntimeError("rows of a lane that we hold were deleted by somebody else")
        self.is_done = True

    def _handle_next(self, rows: Sequence[Row]) -> None:
        number = len(self.handled)
        self.tried = rows[: number + 1]
        self.handled.append((rows[number], self.handle_one(rows[number])))
