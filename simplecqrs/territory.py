"""Which lanes a worker goes to: its own first, and others' where nothing moves."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from attrs import define, field

from simplecqrs.queue import Work

__all__ = ["RIPE", "Territory"]

#: Seconds that a lane of somebody else has to lie with the same head before it is taken over.
#: Without it four healthy workers took lanes from each other all the time, at half the speed.
RIPE = 0.02
#: Seconds after which a lane in which nothing moves goes before our own: they may have work without end.
HUNGRY = 1.0


def _new_owner() -> int:
    return random.SystemRandom().randrange(1, 2**63)


@define
class Territory:
    """
    The lanes of one worker.

    Args:
        owner: by which the lanes know it.
        clock: seconds.

    Attributes:
        is_likely: whether a message that comes is likely to be in a lane of ours; so it was the last time.
    """

    owner: int = field(factory=_new_owner)
    clock: Callable[[], float] = time.monotonic
    is_likely: bool = field(default=False, init=False)
    _seen: dict[int, tuple[int, float]] = field(factory=dict[int, tuple[int, float]], init=False)

    def find(self, look: Callable[[], Sequence[Work]], wait: Callable[[float], object]) -> list[Work]:
        """Return what to try, in this order; if all of it belongs to others, look again when it is ripe."""
        works = look()
        lanes = self.choose(works)
        if works and not lanes:
            wait(RIPE)
            works = look()
            lanes = self.choose(works)
        found = {work.lane: work for work in works}
        return [found[lane] for lane in lanes]

    def choose(self, works: Sequence[Work]) -> list[int]:
        """Return the lanes to work now: our own first, then those that nobody has or whose head does not move."""
        now = self.clock()
        others = [work for work in works if work.owner != self.owner]
        self._seen = {work.lane: self._since(work, now) for work in others}
        age = {lane: now - since for lane, (_, since) in self._seen.items()}
        hungry = sorted((lane for lane in age if age[lane] >= HUNGRY), key=lambda lane: -age[lane])
        own = [work.lane for work in works if work.owner == self.owner]
        self.is_likely = bool(own) if works else self.is_likely
        free = [work.lane for work in others if work.owner == 0 and age[work.lane] < HUNGRY]
        ripe = [work.lane for work in others if work.owner != 0 and RIPE <= age[work.lane] < HUNGRY]
        return [*hungry, *own, *free, *ripe]

    def _since(self, work: Work, now: float) -> tuple[int, float]:
        known = self._seen.get(work.lane)
        return known if known is not None and known[0] == work.head else (work.head, now)
