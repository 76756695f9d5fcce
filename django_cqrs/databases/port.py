"""What outbox and inbox ask of a database: locks, time, and values as its driver takes and gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from attrs import frozen

from simplecqrs.queue import Box

__all__ = ["Dialect", "Marks", "Place", "SafeIdSource"]


@frozen
class Place:
    """
    Where the rows of one queue are.

    Args:
        queue: a broker's name in the outbox, a consumer's name in the inbox.
        hot: the table of rows that never failed.
        parked: the table of rows that did, or that wait behind one.
        blocked: the table of keys that have parked rows.
    """

    box: Box
    queue: str
    hot: str
    parked: str
    blocked: str

    @property
    def name(self) -> str:
        """Return what locks of this queue are called."""
        return f"{self.hot}:{self.queue}"


class Marks(Protocol):
    """Who works which lane, and what it began with; written beside the transaction that holds the lane."""

    def owner(self, place: Place, /) -> tuple[str, list[Any]]:
        """Return an expression for who worked the lane ``c.lane`` last, 0 or NULL if nobody did; and its parameters."""
        ...

    def claim(self, place: Place, lane: int, row: int, owner: int, /, *, most: int) -> int:
        """See ``Held.claim``."""
        ...

    def disclaim(self, place: Place, lane: int, row: int, owner: int, /) -> None:
        """See ``Held.disclaim``."""
        ...

    def forget(self, place: Place, lane: int, /) -> None:
        """Forget what a lane was begun with."""
        ...

    def release(self, place: Place, owner: int, /) -> None:
        """Say that an owner has left its lanes in order."""
        ...


class SafeIdSource(Protocol):
    """Tells the ids below which a lane can get no more rows."""

    def sample(self, done: Mapping[int, int], /, *, now: float) -> Mapping[int, int]:
        """
        Return for lanes an id up to which all rows are gone and none will appear.

        Args:
            done: for each lane the last id up to which all rows that could be seen are gone.
            now: seconds of a clock that only moves on.
        """
        ...


class Dialect(Protocol):
    """
    A database, through Django's connection of one alias.

    Statements that all of them understand are not here: they are where they are needed.
    """

    #: An expression: the time of the statement in the database's own clock, in UTC.
    now: str
    #: An expression with one parameter: the time that is so many seconds from now.
    later: str
    #: An expression with a column for ``{}``: the seconds since then.
    since: str
    #: An expression with a column for ``{}``: a time as the driver reads it soonest; see ``moment``.
    moments: str
    #: The order of ids, after ``of_lane``.
    order: str
    #: An expression that is another one on another server, and on a replica that was promoted; empty: nobody can tell.
    server: str

    @property
    def marks(self) -> Marks:
        """Return the marks of the lanes."""
        ...

    def holding(
        self, place: Place, lanes: Sequence[int], /, *, limit: int, local: bool, idle: float
    ) -> AbstractContextManager[Sequence[tuple[int, bool]]]:
        """
        Lock up to ``limit`` of these lanes; yield them, each with whether a parked key of it is due.

        Reading is left to a later statement: one that was begun before the lock was there may see rows that the last
        holder has deleted since.

        Args:
            local: what is done inside stays in this database, so that its lock may be held meanwhile.
            idle: seconds after which the database takes the lock from a holder that does nothing.
        """
        ...

    def taking(self, place: Place, lane: int, /, *, table: str, row: int, idle: float) -> AbstractContextManager[bool]:
        """Open a transaction, delete one row under its lane's lock, and yield whether both were to be had."""
        ...

    def taking_first(
        self, place: Place, lane: int, /, *, row: int, columns: str, idle: float
    ) -> AbstractContextManager[Sequence[Any] | None]:
        """
        Take a new row whose key is not blocked, as ``taking`` does; yield its id and columns.

        Whoever looked before has seen nothing ahead of it, so that no earlier read under the lock is needed.
        """
        ...

    def taking_own(
        self, place: Place, floors: Mapping[int, int], owner: int, /, *, columns: str, idle: float
    ) -> AbstractContextManager[Sequence[Any] | None]:
        """
        Take the first new row of a lane that this owner worked last, as ``taking_first`` does; none while it pauses.

        Args:
            floors: for each lane, the id up to which it has no rows.
        """
        ...

    def repeat(self, sql: str, parameters: Sequence[Any], /) -> Any:
        """
        Execute a statement that is made for each message; return a cursor, to be read before the next one.

        Args:
            parameters: texts, which are the same each time, and numbers and lists of numbers, which are not.
        """
        ...

    def lanes(self, floors: Mapping[int, int], /) -> tuple[str, list[Any]]:
        """Return a query of lanes, each with the id up to which it has no rows, and its parameters."""
        ...

    def fetching(self, name: str, /) -> AbstractContextManager[bool]:
        """Open what a feed is fetched in; yield False if another fetcher has it."""
        ...

    def safe_ids(self, place: Place, /) -> SafeIdSource:
        """Return what tells the safe ids of a queue."""
        ...

    def writing(self) -> AbstractContextManager[bool]:
        """Open a transaction of ours that writes; yield False if somebody else keeps the only lock to write."""
        ...

    def insert_new(
        self, table: str, key: Sequence[str], columns: Sequence[str], rows: Sequence[Sequence[Any]], /
    ) -> Sequence[Sequence[Any]]:
        """
        Insert rows whose key is not there yet, and return the keys of those that were inserted.

        Args:
            key: the first of the columns.

        Raises:
            OperationalError: if somebody else inserts the same at this moment; the transaction may be tried again.
        """
        ...

    def first_of_lanes(
        self, hot: str, index: str, lanes: Sequence[int], /, *, columns: str, rows: int, weight: int
    ) -> str:
        """
        Return what stands behind FROM to read the first new rows of lanes as ``o``, in any order.

        Its parameters are the queue and the id after which to read, for each lane.

        Args:
            hot: the table.
            index: by which it is to be read.
            columns: besides ``id``.
            rows: of each lane, at most.
            weight: bytes of payload of each lane; the row that exceeds them is the last one.
        """
        ...

    def of_lane(self, hot: str, index: str, lane: str, /) -> str:
        """
        Return what stands behind FROM for the rows ``o`` of one lane, up to a condition that may be followed by others.

        It lets them be found by the index, whatever the statistics say, if they are ordered by ``order``.

        Args:
            lane: an expression.
        """
        ...

    def uuid_parameter(self, value: UUID, /) -> Any:
        """Return a UUID as a plain cursor takes it."""
        ...

    def uuid(self, value: Any, /) -> UUID:
        """Return a UUID as it comes from a plain cursor."""
        ...

    def moment(self, value: Any, /) -> datetime:
        """Return an aware time as it comes from a plain cursor."""
        ...

    def is_closed(self, raw: Any, /) -> bool:
        """Tell whether the driver has given up a connection."""
        ...
