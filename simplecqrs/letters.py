"""What operators see of the queues: backlogs, dead letters, blocked keys; and the port by which they act."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Protocol

from attrs import asdict, field, frozen

__all__ = ["ANY", "CAP", "LONGEST_CAUSE", "Backlog", "BlockedKey", "Box", "Inspection", "Letter", "Wanted", "cause_of"]

Box = Literal["outbox", "inbox"]

#: Counts may stop here: to count millions of rows is a burden that nobody on call wants.
CAP = 10_001
#: Characters of the first line of a reason that letters are grouped by.
LONGEST_CAUSE = 200


def cause_of(reason: str) -> str:
    """Return the first line of a reason, which letters are grouped by."""
    return reason.partition("\n")[0][:LONGEST_CAUSE]


@frozen(kw_only=True)
class Wanted:
    """
    Which letters or blocked keys are meant; what is None is any.

    Args:
        cause: how the cause begins.
        whole_cause: all of it, as it stands in its group.
        since: dead, or blocked, then or later.
    """

    box: Box | None = None
    queue: str | None = None
    cause: str | None = None
    whole_cause: str | None = None
    topic: str | None = None
    key: str | None = None
    name: str | None = None
    since: datetime | None = None

    def fits(self, found: Letter | BlockedKey, /) -> bool:
        """Tell whether a letter or a blocked key is meant; a key has no name, so that any name fits."""
        same = all(
            asked is None or getattr(found, what, asked) == asked
            for what, asked in asdict(self).items()
            if what not in {"cause", "since", "whole_cause"}
        )
        is_late = self.since is None or found.since >= self.since
        is_it = self.whole_cause is None or found.cause == self.whole_cause
        return same and is_late and is_it and found.cause.startswith(self.cause or "")


ANY = Wanted()


@frozen
class Backlog:
    """
    How much waits in one queue; numbers may stop at ``CAP``.

    Args:
        oldest: seconds that the first one has waited.
        next_due: seconds until the next scheduled one is due.
        lanes: in which something waits that never failed.
    """

    box: Box
    queue: str
    pending: int
    parked: int
    blocked: int
    dead: int
    oldest: float | None = None
    scheduled: int = 0
    next_due: float | None = None
    lanes: int = 0


@frozen(kw_only=True)
class Letter:
    """A message that was given up, or that is parked, as an operator sees it."""

    id: int
    box: Box
    queue: str
    dead: bool
    name: str
    topic: str
    key: str
    message_id: str
    reason: str
    attempts: int
    since: datetime
    next_at: datetime | None = None
    headers: str = ""
    content_type: str = ""
    payload: bytes = field(default=b"", repr=False)

    @property
    def cause(self) -> str:
        """Return the first line of the reason, which letters are grouped by."""
        return cause_of(self.reason)


@frozen(kw_only=True)
class BlockedKey:
    """
    A key whose messages wait, or a message without a key that waits alone.

    Args:
        id: by which its retry is brought forward.
        reason: why its head failed last.
        attempts: how often its head has failed.
        since: when it was blocked.
        next_at: when its head is tried again; None: it waits for an operator.
        waiting: parked rows, the head included unless it is dead; may stop at ``CAP``.
    """

    id: int
    box: Box
    queue: str
    topic: str
    key: str
    reason: str
    attempts: int
    since: datetime
    next_at: datetime | None
    waiting: int

    @property
    def is_pause(self) -> bool:
        """Tell whether it is no key, but the whole queue that pauses."""
        return not self.topic and not self.key and self.next_at is not None

    @property
    def cause(self) -> str:
        """Return the first line of the reason."""
        return cause_of(self.reason)


class Inspection(Protocol):
    """What an operator asks of the queues and may do to what was given up."""

    def backlogs(self) -> Sequence[Backlog]:
        """Return how much waits in each queue of both boxes."""
        ...

    def letters(
        self, wanted: Wanted = ANY, /, *, after: int = 0, limit: int = 100, payloads: bool = True
    ) -> Sequence[Letter]:
        """
        Return some of what is dead, the oldest first.

        Args:
            after: begin behind the letter of this number: the last one of the page before.
            limit: the most that are returned.
            payloads: with their bytes; without, the payload is empty.
        """
        ...

    def blocked(self, wanted: Wanted = ANY, /, *, limit: int = 100) -> Sequence[BlockedKey]:
        """Return some of the keys that are blocked, those that have been so for longest first; ``name`` is ignored."""
        ...

    def retry(self, letter: int, /) -> bool:
        """Give a dead letter its attempts anew, ahead of what waits behind it.  False if there is none."""
        ...

    def skip(self, letter: int, /) -> bool:
        """Drop a dead letter for good and let what waits behind it go on.  False if there is none."""
        ...

    def hasten(self, blocked: int, /) -> bool:
        """
        Make a blocked key due now; its attempts stay.

        False if there is none, or if it waits for a dead letter: that one is to be retried or skipped.
        """
        ...
