"""A worker goes to its own lanes, and to others' where nothing moves."""

from __future__ import annotations

from simplecqrs.queue import Work
from simplecqrs.territory import HUNGRY, RIPE, Territory

MINE, YOURS = 7, 8


class Clock:
    """Seconds that move when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_own_lanes_come_first_then_those_that_nobody_has() -> None:
    """In the order in which they were looked at."""
    territory = Territory(MINE, Clock())

    assert territory.choose([Work(1, 10), Work(2, 20, owner=MINE), Work(3, 30), Work(4, 40, owner=MINE)]) == [
        2,
        4,
        1,
        3,
    ]


def test_a_lane_of_somebody_else_is_left_to_him_for_a_moment() -> None:
    """Then it is taken over, unless its head has moved meanwhile."""
    clock = Clock()
    territory = Territory(MINE, clock)
    assert territory.choose([Work(1, 10, owner=YOURS), Work(2, 20, owner=YOURS)]) == []

    clock.now += 2 * RIPE
    assert territory.choose([Work(1, 10, owner=YOURS), Work(2, 21, owner=YOURS)]) == [1]

    clock.now += 2 * RIPE
    assert territory.choose([Work(2, 21, owner=YOURS)]) == [2]


def test_a_lane_that_was_idle_meanwhile_ripens_anew() -> None:
    """What was seen of it before does not count."""
    clock = Clock()
    territory = Territory(MINE, clock)
    territory.choose([Work(1, 10, owner=YOURS)])
    clock.now += 2 * RIPE
    territory.choose([])

    assert territory.choose([Work(1, 10, owner=YOURS)]) == []


def test_a_lane_in_which_nothing_moves_does_not_starve_behind_our_own() -> None:
    """Ours may have work without end; that of nobody, or of somebody who has died, goes first then."""
    clock = Clock()
    territory = Territory(MINE, clock)
    works = [Work(1, 10, owner=MINE), Work(2, 20), Work(3, 30, owner=YOURS)]
    assert territory.choose(works) == [1, 2]
    clock.now += HUNGRY / 2
    assert territory.choose([*works, Work(4, 40)]) == [1, 2, 4, 3]

    clock.now += HUNGRY / 2

    assert territory.choose([*works, Work(4, 40)]) == [2, 3, 1, 4]


def test_owners_are_numbers_that_a_database_can_keep_and_never_the_same() -> None:
    """Nobody is 0."""
    owners = {Territory().owner for _ in range(100)}

    assert len(owners) == 100
    assert all(0 < owner < 2**63 for owner in owners)
