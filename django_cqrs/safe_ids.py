"""
The ids below which a lane needs no looking: all rows up to them are gone, and none can appear there any more.

Where many rows were deleted and something keeps the database from tidying up, such as a transaction that is held open,
a search for the first row of a lane goes through all that is dead.  This is a matter of speed only: one lane after the
other is searched from its beginning all the time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile

from attrs import define, field

from django_cqrs.databases import Place, dialect
from django_cqrs.databases.port import SafeIdSource
from simplecqrs.log_fields import named

__all__ = ["Progress", "SafeIds"]

log = logging.getLogger("django_cqrs")

#: Seconds between two samples while there is work, and between two lanes that are searched from their beginning.
SAMPLE, SWEEP = 1.0, 10.0


@define
class Progress:
    """What was read of lanes, in its order, and what of it is gone."""

    _read: dict[int, list[int]] = field(factory=dict, init=False)
    _gone: set[int] = field(factory=set, init=False)

    def read(self, lane: int, row: int) -> None:
        """Note a row, unless it was read before."""
        ids = self._read.setdefault(lane, [])
        if not ids or row > ids[-1]:
            ids.append(row)

    def gone(self, rows: Sequence[int]) -> None:
        """Note that rows were deleted, or moved."""
        self._gone.update(rows)

    def ends(self) -> dict[int, int]:
        """Return for each lane the last id up to which all that was read is gone."""
        gone = {lane: list(takewhile(self._gone.__contains__, ids)) for lane, ids in self._read.items()}
        return {lane: ids[-1] for lane, ids in gone.items() if ids}


@define
class SafeIds:
    """
    The safe ids of one queue, as one worker knows them.

    Args:
        alias: of the database.
        place: the queue.
        clock: seconds.
    """

    alias: str
    place: Place
    clock: Callable[[], float] = time.monotonic
    _source: SafeIdSource = field(init=False)
    _done: dict[int, int] = field(factory=dict, init=False)
    _safe: dict[int, int] = field(factory=dict, init=False)
    _offered: dict[int, int] = field(factory=dict, init=False)
    _sampled: float = field(default=0.0, init=False)
    _swept: float = field(init=False)
    _sweeping: int | None = field(default=None, init=False)
    _has_worked: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._source = dialect(self.alias).safe_ids(self.place)
        self._swept = self.clock()

    def of(self, lanes: Sequence[int]) -> dict[int, int]:
        """Return for each lane the id after which to look for its rows."""
        return {lane: 0 if lane == self._sweeping else self._safe.get(lane, 0) for lane in lanes}

    def refresh(self, lanes: Sequence[int]) -> None:
        """Before a look: ask the database, at most once a second and only after work; choose a lane to sweep."""
        now = self.clock()
        if self._has_worked and now - self._sampled >= SAMPLE:
            self._sampled, self._has_worked = now, False
            self._offered = dict(self._source.sample(self._done, now=now))
        self._sweeping = None
        if self._safe and now - self._swept >= SWEEP:
            self._swept = now
            self._sweeping = sorted(lanes)[int(now / SWEEP) % len(lanes)]

    def worked(self, done: Mapping[int, int]) -> None:
        """Note for lanes the last id up to which all rows that we saw are gone, once that is committed."""
        if done:
            self._has_worked = True
            self._done.update(done)

    def looked(self, heads: Mapping[int, int]) -> int:
        """
        After a look: note the first row of each lane, or 0; what the database offers holds if nothing is below it.

        A row may have appeared after its lane was read, and before the database was asked.  One that is below the
        safe id should not be there.  It may be after the database was restored: all is looked through anew then.
        Return the number of lanes that have such a row.
        """
        late = {lane: row for lane, row in heads.items() if 0 < row <= self._safe.get(lane, 0)}
        offered, self._offered = self._offered, {}
        self._sweeping = None
        self._safe.update((lane, row) for lane, row in offered.items() if lane in heads and not 0 < heads[lane] <= row)
        if late:
            log.warning(
                "%s: rows came below safe ids, by lane: %s", self.place.name, late, extra=named(queue=self.place.queue)
            )
            self._done.clear()
            self._safe.clear()
            self._source = dialect(self.alias).safe_ids(self.place)
        return len(late)
