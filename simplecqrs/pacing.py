"""How many rows a relay takes at a time: few at first and after an outage, twice as many while that goes well."""

from __future__ import annotations

from attrs import define, field

__all__ = ["Pace"]

#: Rows of the first batch: the first event is out soon, however much waits.
FIRST = 100
#: Rows of the batch by which a broker that was down is tried.
PROBE = 10
#: Batches that the broker does not take to their end, though it answers, before one is searched for the cause.
PATIENCE = 3
#: Batches in a row that it takes, in between, after which that was chance.  Till then they do not grow: the cause may
#: be in a lane that this relay does not hold each time, and each time that it does, what goes with it is sent again.
CALM = 20


@define
class Pace:
    """
    The size of a relay's next batch.

    Args:
        most: rows at a time, at most.
    """

    most: int
    rows: int = field(init=False)
    full: bool = field(default=False, init=False)
    _short: int = field(default=0, init=False)
    _taken: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.rows = min(FIRST, self.most)

    def taken(self, read: int) -> None:
        """Note that the broker has taken a batch to its end."""
        self.full = read >= self.rows
        self._taken += 1
        if self._short and self._taken < CALM:
            return
        self._short = 0
        if self.full:
            self.rows = min(self.rows * 2, self.most)

    def cut_short(self) -> bool:
        """Note that it answers and has not taken all of a batch; tell whether it is time to search for the cause."""
        self._short += 1
        self._taken = 0
        # Down to one: a search in ten that all take their time is over before it has come to the one that is to blame.
        self.rows = max(self.rows // 2, 1)
        return self._short >= PATIENCE

    def found(self) -> None:
        """Note that the search has found the cause."""
        self._short = 0
        self.rows = min(FIRST, self.most)

    def down(self) -> None:
        """Note that it does not answer."""
        self._short = 0
        self.full = False
        self.rows = min(PROBE, self.most)
