"""Kills processes while they work, and starts others in their place."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from attrs import define

from tests.chaos.children import Child, wait_until

__all__ = ["Post", "kill_in_turn", "kill_side_by_side"]


@define
class Post:
    """A place that is always to be filled by a process; ``points`` tell that it works."""

    start: Callable[[], Child]
    points: tuple[str, ...]
    child: Child

    @classmethod
    def fill(cls, start: Callable[[], Child], *points: str) -> Post:
        """Start a process at a new post."""
        return cls(start, points, start())

    def kill(self, after: float) -> None:
        """Kill the process so long after it has begun to work, and start another."""
        wait_until(lambda: self.child.has_come_to(*self.points), seconds=60, what=f"that {self.child.name} works")
        threading.Event().wait(after)
        self.child.kill()
        self.child = self.start()


def kill_in_turn(posts: list[Post], kills: int, rnd: random.Random) -> None:
    """Kill so often, each post in its turn, at random moments."""
    for number in range(kills):
        posts[number % len(posts)].kill(rnd.uniform(0, 0.15))


def kill_side_by_side(one: list[Post], other: list[Post], kills: int, rnd: random.Random) -> None:
    """Kill so often among each of them, at the same time."""
    killer = threading.Thread(target=kill_in_turn, args=(one, kills, rnd))
    killer.start()
    kill_in_turn(other, kills, rnd)
    killer.join()
