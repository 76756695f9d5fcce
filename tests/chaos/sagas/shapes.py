"""Every shape of a small saga, and how each has to end, whoever dies meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from attrs import asdict, evolve, frozen

__all__ = ["Shape", "shapes"]


@frozen
class Shape:
    """
    A saga of a few steps, and what goes wrong in it.

    Args:
        steps: how many it has.
        pivot: the place of its pivot; None: none is said, so the last step is it.
        failing: the place of the step that fails: for ever before the pivot, twice after it.
        fallback: what that step has, and what becomes of it.
        undo: what becomes of undoing the step before it.
        once: the place of a step that may not be asked twice.
        waits: the place of a step that waits for an event.
        together: the first two steps run in parallel.
    """

    steps: int
    pivot: int | None = None
    failing: int | None = None
    fallback: Literal["none", "works", "fails"] = "none"
    undo: Literal["works", "fails once", "fails"] = "works"
    once: int | None = None
    waits: int | None = None
    together: bool = False

    @property
    def name(self) -> str:
        """Return what its saga is called: its steps, and what is special."""
        plain = asdict(Shape(self.steps))
        said = {key: value for key, value in asdict(self).items() if value != plain[key]}
        words = [key if value is True else f"{key}-{value}".replace(" ", "-") for key, value in said.items()]
        return "_".join([f"shape-{self.steps}", *words])

    @property
    def last_way_back(self) -> int:
        """Return the place of the last step that can still turn it round."""
        return self.steps - 1 if self.pivot is None else self.pivot

    @property
    def fails(self) -> bool:
        """Tell whether a step is given up, unless its fallback works."""
        return self.failing is not None and self.failing <= self.last_way_back

    @property
    def turns_round(self) -> bool:
        """Tell whether what it has done is undone."""
        return self.fails and self.fallback != "works"

    @property
    def status(self) -> str:
        """Return how it ends."""
        if not self.turns_round:
            return "COMPLETED"
        return "FAILED" if self.undo == "fails" else "COMPENSATED"

    def has_undo(self, place: int) -> bool:
        """Tell whether a step has something that undoes it."""
        return place not in {self.pivot, self.waits} and place <= self.last_way_back


def shapes(most: int = 4) -> Iterator[Shape]:
    """Give every shape of up to so many steps; those with something more have up to three."""
    for steps in range(1, most + 1):
        plain = list(_plain(steps))
        yield from plain
        if 2 <= steps <= 3:
            for shape in plain:
                yield from _special(shape)


def _plain(steps: int) -> Iterator[Shape]:
    for pivot in (None, *range(steps)):
        yield Shape(steps, pivot)
        for failing in range(steps):
            yield from _failing(Shape(steps, pivot, failing))


def _failing(shape: Shape) -> Iterator[Shape]:
    yield evolve(shape, fallback="works")
    yield shape
    if not shape.fails:
        return
    yield evolve(shape, fallback="fails")
    if shape.failing:
        yield evolve(shape, undo="fails once")
        yield evolve(shape, undo="fails")


def _special(shape: Shape) -> Iterator[Shape]:
    """Give a shape again with a step that may not be asked twice, one that waits, and two at the same time."""
    yield evolve(shape, once=0)
    if shape.failing is not None and shape.failing != 0:
        yield evolve(shape, once=shape.failing)
    if shape.pivot is None and shape.failing != 0 and shape.undo == "works":
        yield evolve(shape, waits=0)
    if shape.pivot not in {0, 1} and shape.undo == "works":
        yield evolve(shape, together=True)
