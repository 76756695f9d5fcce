"""
The queue that both outbox and inbox are: rows in lanes, in order, deleted when done, parked when they fail.

A lane is a hash of topic and order key.  Whoever holds a lane's lock works its rows in the order of their ids.  A
row that fails is parked, and its key is blocked: what follows under that key waits behind it, in its order, while
other keys go on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol
from uuid import UUID
from zlib import crc32

from attrs import field, frozen

from simplecqrs.backoff import Pause
from simplecqrs.envelope import Envelope
from simplecqrs.letters import Backlog, Box, Inspection, Letter
from simplecqrs.transport import Garbage

__all__ = [
    "DATABASE",
    "DEFERRED",
    "LANES",
    "PASSES",
    "SAGAS",
    "Backlog",
    "Box",
    "Failure",
    "Held",
    "Inbox",
    "Inspection",
    "Letter",
    "Row",
    "Storage",
    "Stored",
    "Work",
    "lane_of",
    "lane_of_key",
]

#: Lanes of the outbox; a constant, since a change of the hash needs an empty table.
LANES = 16
#: How often a step holds lanes anew when all that it read had to be moved behind blocked keys.
PASSES = 1000
#: The queue of events that the relay moves into the project's own inboxes.
DATABASE = "database"
#: The consumer of deferred commands.
DEFERRED = "deferred"
#: The consumer that goes on with sagas, and hands events in to them.
SAGAS = "sagas"


def lane_of(envelope: Envelope, lanes: int = LANES) -> int:
    """Return the lane of a message: by topic and key; what has no key spreads over all lanes."""
    return lane_of_key(envelope.topic, envelope.key, envelope.id, lanes)


def lane_of_key(topic: str, key: str, message_id: UUID, lanes: int) -> int:
    """Return the lane of what is known of a message."""
    if not key:
        return message_id.int % lanes
    return crc32(f"{topic}\0{key}".encode()) % lanes


@frozen
class Row:
    """
    One message in a queue.

    Args:
        id: grows with each row; the order inside a lane.
        queue: a broker's name in the outbox, a consumer's name in the inbox.
        parked: whether it failed before, or waits behind one that did.
        attempts: how often it failed.
        stored: when it was stored, by ``time.monotonic`` of this process.
        waited: seconds that it has waited for another release.
    """

    id: int
    queue: str
    lane: int
    envelope: Envelope
    parked: bool = False
    attempts: int = 0
    stored: float = field(factory=time.monotonic, eq=False, repr=False)
    waited: float = 0.0


@frozen
class Failure:
    """
    Why a row could not be delivered or handled, and what is to become of it.

    Args:
        reason: for people; the first line is the cause that dead letters are grouped by.
        attempts: how often it has failed, this time included.
        pause: seconds until the next attempt, by the database's clock; None: it is dead.
        hold: what follows a dead one under its key waits; else it goes on.
        waits: it waits for another release; the row tells for how long, until it fails otherwise.
    """

    reason: str
    attempts: int
    pause: float | None
    hold: bool = True
    waits: bool = False


@frozen
class Work:
    """
    A lane that has something to do.

    Args:
        head: the id of its first new row; 0 if only a parked key is due.
        due: whether a parked key is due.
        owner: who worked it last; 0: nobody, or somebody who has left it in order.
    """

    lane: int
    head: int
    due: bool = False
    owner: int = 0


class Held(Protocol):
    """Lanes of a queue whose lock we hold."""

    def read(self, limit: int, max_bytes: int, /) -> Sequence[Row]:
        """
        Return rows that may be worked now, each key's in their order: parked ones that are due, then new ones.

        New rows of a blocked key are not among them: they are moved behind it.  At least one row is returned if
        there is one, whatever its size.  None at all means that rows were moved, and that lanes may be held anew.
        """
        ...

    def done(self, rows: Sequence[Row], /) -> int:
        """Delete just these rows and return how many were still there; a key that has none left is unblocked."""
        ...

    def claim(self, row: Row, owner: int, /, *, most: int) -> int:
        """
        Say who works this row's lane and begins with it; return how often others began with it and did not come back.

        This is committed at once, whatever becomes of the transaction: a message that ends its process leaves a
        trace.  Parking the row wipes it out, and so does an answer of ``most``, since the row is put aside then.
        While a lane stays with its owner nothing is written, except for a row that was parked.
        """
        ...

    def disclaim(self, row: Row, owner: int, /) -> None:
        """Say that an owner has come back from this row, though with a failure; committed at once, like ``claim``."""
        ...

    def park(self, row: Row, failure: Failure, /) -> None:
        """Put a row aside, what follows under its key behind it; or make a dead letter of it.  Gone: do nothing."""
        ...

    def pause(self, row: Row, pause: Pause, reason: str, /, *, took: float) -> float | None:
        """
        Let the whole queue pause: ``look`` finds no work until it is over.  The row stays where it is.

        Return the seconds; None: it pauses already.

        Args:
            reason: for people.
            took: seconds from the beginning of what has failed until now; if it had begun right after the last pause,
                this one is longer.
        """
        ...


class Storage(Protocol):
    """Where the rows of one box are kept."""

    def append(self, rows: Sequence[tuple[str, int, Envelope]], /) -> None:
        """Add ``(queue, lane, envelope)`` in this order, within the transaction that is open."""
        ...

    def look(self, queue: str, lanes: Sequence[int], /) -> Sequence[Work]:
        """Return those of these lanes that have work, in this order.  Cheap: it takes no lock, opens no transaction."""
        ...

    def hold(
        self, queue: str, /, *, lanes: Sequence[int], limit: int, local: bool, idle: float
    ) -> AbstractContextManager[Held | None]:
        """
        Lock up to ``limit`` of these lanes, the first ones whose lock is free; None if there is none.

        What is done inside is committed together at the end, and rolled back if an exception leaves it.

        Args:
            lanes: in the order of preference.
            local: what is done inside stays in this database, so that its lock may be held meanwhile.
            idle: seconds after which the database takes the lock from a holder that does nothing.
        """
        ...

    def take(self, row: Row, /, *, idle: float) -> AbstractContextManager[bool]:
        """Delete one row under its lane's lock, in a transaction that lasts as long; False if it is not there."""
        ...

    def take_first(self, queue: str, work: Work, /, *, idle: float) -> AbstractContextManager[Row | None]:
        """
        Delete the row that ``look`` found first in a lane, as ``take`` does, and yield it.

        None if it is not there any more, if others have the lane, if nobody has held it yet, or if its key is blocked.
        """
        ...

    def take_own(
        self, queue: str, owner: int, /, *, lanes: Sequence[int], idle: float
    ) -> AbstractContextManager[Row | None]:
        """
        Delete the first new row of one of these lanes that the owner worked last, as ``take_first`` does.

        For who was told of a message, and saves the look.  None says only that there is something to look for, or
        nothing at all: the queue may pause, or others have what is there.
        """
        ...

    def release(self, queue: str, owner: int, /) -> None:
        """Say that an owner has left its lanes in order: others may work them at once."""
        ...


@frozen
class Stored:
    """What became of a batch at the door of an inbox: how many were new, and how many had been seen before."""

    new: int
    seen: int


class Inbox(Protocol):
    """The door of a consumer's inbox; what passes is stored once."""

    def fetching(self, consumer: str, feed: str, /) -> AbstractContextManager[bool]:
        """Open a transaction and take the fetcher's lock of a feed; False if another fetcher has it."""
        ...

    def store(self, consumer: str, envelopes: Sequence[Envelope], /) -> Stored:
        """
        Put what was not seen before into the inbox, in this order, within the transaction that is open.

        The same source and id with other content becomes a dead letter that says so.
        """
        ...

    def bury(self, consumer: str, garbage: Sequence[Garbage], /) -> None:
        """Make dead letters of what could not be read, with its bytes."""
        ...
