"""Marks in a table, written through a connection of their own: the lane's transaction may never end well."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from django.db import connections

from django_cqrs.databases.port import Place
from django_cqrs.locks import LANE
from django_cqrs.models import LaneMark
from django_cqrs.schemas import carry
from simplecqrs.memory_marks import Mark

__all__ = ["TableMarks"]

TABLE = LaneMark._meta.db_table
OF_LANE = "WHERE box = %s AND queue = %s AND lane = %s"


class TableMarks:
    """See ``Marks``.  In a test's transaction nothing is marked: nobody else would see it."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def owner(self, place: Place, /) -> tuple[str, list[Any]]:
        """Look into the table."""
        return f"(SELECT m.owner FROM {TABLE} m WHERE m.box = %s AND m.queue = %s AND m.lane = c.lane)", [
            place.box,
            place.queue,
        ]

    def claim(self, place: Place, lane: int, row: int, owner: int, /, *, most: int) -> int:
        """See ``Held.claim``: read, and write what follows; the lane's lock keeps others out."""
        if not self._is_held():
            return 0
        of_lane = [place.box, place.queue, lane]
        with self._beside() as cursor:
            cursor.execute(f"SELECT owner, head, starts FROM {TABLE} {OF_LANE}", of_lane)
            known = cursor.fetchone()
            mark, died = Mark(*(known or (0, 0, 0))).claimed(row, owner, most=most)
            written = [mark.owner, mark.head, mark.starts, *of_lane]
            if known:
                cursor.execute(f"UPDATE {TABLE} SET owner = %s, head = %s, starts = %s {OF_LANE}", written)
            else:
                columns = "owner, head, starts, box, queue, lane"
                cursor.execute(f"INSERT INTO {TABLE} ({columns}) VALUES (%s, %s, %s, %s, %s, %s)", written)
        return died

    def disclaim(self, place: Place, lane: int, row: int, owner: int, /) -> None:
        """See ``Held.disclaim``."""
        if not self._is_held():
            return
        with self._beside() as cursor:
            cursor.execute(
                f"UPDATE {TABLE} SET head = 0 {OF_LANE} AND owner = %s AND head = %s",
                [place.box, place.queue, lane, owner, row],
            )

    def forget(self, place: Place, lane: int, /) -> None:
        """Forget it with the transaction that is open."""
        if not self._is_held():
            return
        with connections[self._alias].cursor() as cursor:
            cursor.execute(f"UPDATE {TABLE} SET head = 0 {OF_LANE} AND head <> 0", [place.box, place.queue, lane])

    def release(self, place: Place, owner: int, /) -> None:
        """Set the owner's lanes free."""
        with connections[self._alias].cursor() as cursor:
            cursor.execute(
                f"UPDATE {TABLE} SET owner = 0, head = 0 WHERE box = %s AND queue = %s AND owner = %s",
                [place.box, place.queue, owner],
            )

    def _is_held(self) -> bool:
        return getattr(connections[self._alias], LANE, None) is True

    @contextmanager
    def _beside(self) -> Generator[Any, None, None]:
        """
        Open a connection for the moment.

        Lanes change hands rarely, so it is not worth keeping; with Django's pool it comes from there.
        """
        beside = connections[self._alias].copy()
        carry(connections[self._alias], beside)
        try:
            with beside.cursor() as cursor:
                yield cursor
        finally:
            beside.close()
