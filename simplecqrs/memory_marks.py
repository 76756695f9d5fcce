"""Who works which lane, and what it began with: kept beside transactions."""

from __future__ import annotations

from attrs import frozen

__all__ = ["Mark", "Marks"]

#: A queue's name and the number of a lane.
Place = tuple[str, int]


@frozen
class Mark:
    """
    What is written down of a lane.

    Args:
        owner: who worked it last; 0: it was left in order.
        head: the id of the row that the owner began with; 0: none that is still there.
        starts: how often it was begun.
    """

    owner: int = 0
    head: int = 0
    starts: int = 0

    def claimed(self, row: int, owner: int, *, most: int) -> tuple[Mark, int]:
        """Return what to write down when an owner begins with a row, and how often others did not come back from it."""
        died = self.starts if self.head == row and self.owner != owner else 0
        if died >= most:
            return Mark(owner), died
        return Mark(owner, row, died + 1), died


class Marks:
    """The marks of all lanes, in memory."""

    def __init__(self) -> None:
        self._marks: dict[Place, Mark] = {}

    def owner(self, place: Place) -> int:
        """Return who worked a lane last."""
        return self._marks.get(place, Mark()).owner

    def owners(self, queue: str) -> dict[int, int]:
        """Return who worked the lanes of a queue last."""
        return {place[1]: mark.owner for place, mark in self._marks.items() if place[0] == queue and mark.owner}

    def claim(self, place: Place, row: int, owner: int, *, most: int) -> int:
        """See ``Held.claim``."""
        self._marks[place], died = self._marks.get(place, Mark()).claimed(row, owner, most=most)
        return died

    def disclaim(self, place: Place, row: int, owner: int) -> None:
        """See ``Held.disclaim``."""
        mark = self._marks.get(place, Mark())
        if (mark.owner, mark.head) == (owner, row):
            self.forget(place)

    def forget(self, place: Place) -> None:
        """Forget what a lane was begun with."""
        self._marks[place] = Mark(self.owner(place))

    def release(self, queue: str, owner: int) -> None:
        """Say that an owner has left its lanes in order."""
        for place, mark in self._marks.items():
            if place[0] == queue and mark.owner == owner:
                self._marks[place] = Mark()
