"""How databases tell that no row can appear below an id any more, though ids are given before they are committed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field
from django.db import connections

from django_cqrs.databases.port import Place

__all__ = ["InnoDBSafeIds", "NoSafeIds", "PostgreSQLSafeIds"]

LAST = "SELECT pg_sequence_last_value(pg_get_serial_sequence(%s, 'id')::regclass)"
#: An appender takes this lock before its ids are given, and lets go of it when they are to be seen.
APPENDERS = (
    "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND relation = %s::regclass"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND mode = 'RowExclusiveLock'"
)


class NoSafeIds:
    """SQLite: what is deleted is gone, and a search passes over nothing."""

    def sample(self, done: Mapping[int, int], /, *, now: float) -> Mapping[int, int]:
        """Return nothing."""
        return {}


@define
class PostgreSQLSafeIds:
    """All ids that were given when nobody who wrote then writes any more: exact, whatever else is going on."""

    alias: str
    place: Place
    _safe: int = field(default=0, init=False)
    _last: int = field(default=0, init=False)
    _writing: set[str] = field(factory=set, init=False)

    def sample(self, done: Mapping[int, int], /, *, now: float) -> Mapping[int, int]:
        """Return what is safe of what is done."""
        if not self._writing:
            self._last = int(self._ask(LAST)[0] or 0)
            self._writing = {str(holder) for holder in self._ask(APPENDERS)}  # in a later statement: it saw more
        else:
            self._writing &= {str(holder) for holder in self._ask(APPENDERS)}
        if not self._writing:
            self._safe = self._last
        return {lane: min(row, self._safe) for lane, row in done.items()}

    def _ask(self, sql: str) -> list[Any]:
        with connections[self.alias].cursor() as cursor:
            cursor.execute(sql, [self.place.hot])
            return [value for (value,) in cursor.fetchall()]


#: Seconds after which an id that was given is in the index, where a dirty read sees it.  InnoDB gives all ids of an
#: INSERT when it begins; one of many rows takes a while.
SETTLED = 5.0


@define
class InnoDBSafeIds:
    """What was done some seconds ago, but not beyond a row that somebody is still writing: a dirty read sees those."""

    alias: str
    place: Place
    _known: dict[int, tuple[int, float]] = field(factory=dict, init=False)
    _safe: dict[int, int] = field(factory=dict, init=False)

    def sample(self, done: Mapping[int, int], /, *, now: float) -> Mapping[int, int]:
        """Return what is safe of what is done; nothing new in a test's transaction, which cannot read dirtily."""
        if connections[self.alias].in_atomic_block:
            return dict(self._safe)
        settled = {lane: row for lane, (row, since) in self._known.items() if now - since >= SETTLED}
        for lane, row in done.items():
            if lane in settled or lane not in self._known:
                self._known[lane] = (row, now)
        if settled:
            first = self._first(list(settled))
            for lane, row in settled.items():
                self._safe[lane] = max(self._safe.get(lane, 0), min(row, first.get(lane, row + 1) - 1))
        return dict(self._safe)

    def _first(self, lanes: list[int]) -> dict[int, int]:
        """Return the first row of each lane, committed or not, above what was safe so far."""
        hot = f"{self.place.hot} FORCE INDEX ({self.place.hot}_lane)"  # else it goes through what other lanes have
        one = f"(SELECT lane, id FROM {hot} WHERE queue = %s AND lane = %s AND id > %s ORDER BY id LIMIT 1)"
        places = [value for lane in lanes for value in (self.place.queue, lane, self._safe.get(lane, 0))]
        with connections[self.alias].cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")
            cursor.execute(" UNION ALL ".join([one] * len(lanes)), places)
            return dict(cursor.fetchall())
