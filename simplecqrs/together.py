"""The messages that are handled in the transaction of their lane: one, or several, each in a savepoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from attrs import define, field

from simplecqrs.queue import Held, Row, Storage

__all__ = ["Together"]

#: Seconds after which a batch takes no more: others wait for its locks, and a watchdog for its end.
LONGEST = 1.0


@define
class Together:
    """
    Handle rows in one transaction.

    Args:
        handle: handles one and tells whether it had a handler.
        stopping: asked between two of them.

    Attributes:
        tried: the rows that this is about, once the first one is begun.
        handled: those that went well, and whether they had a handler.
        failed: the one that did not, and why; it ends the batch, what came before it stays.
    """

    storage: Storage
    handle_one: Callable[[Row], bool]
    stopping: Callable[[], bool]
    tried: Sequence[Row] = field(default=(), init=False)
    handled: list[tuple[Row, bool]] = field(factory=list[tuple[Row, bool]], init=False)
    failed: tuple[Row, Exception] | None = field(default=None, init=False)

    def handle(self, held: Held, rows: Sequence[Row]) -> None:
        """
        Handle them and delete those that went well.

        Raises:
            Exception: what the handler of a single one raised; its transaction is to be rolled back.
        """
        if len(rows) == 1:
            held.done(rows)
            self.tried = rows
            self.handled.append((rows[0], self.handle_one(rows[0])))
            return
        until = time.monotonic() + LONGEST
        self.tried = rows
        for row in rows:
            if self.failed or (self.handled and (self.stopping() or time.monotonic() > until)):
                break
            self._handle_in_savepoint(row)
        done = [row for row, _ in self.handled]
        if held.done(done) != len(done):
            raise RuntimeError("rows of a lane that we hold were deleted by somebody else")

    def _handle_in_savepoint(self, row: Row) -> None:
        try:
            with self.storage.savepoint():
                claimed = self.handle_one(row)
        except Exception as error:  # noqa: BLE001 - the consumer parks it with its reason
            self.failed = row, error
        else:
            self.handled.append((row, claimed))
