"""Plans: what is to be done with events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from simplecqrs.dispatch import Wiring
from simplecqrs.pipeline import Call

if TYPE_CHECKING:
    from simplecqrs.timing import Timed

__all__ = ["EventPlan"]


class EventPlan:
    """
    What is to be done with events of one type, or with one event that has times of its own.

    Attributes:
        now: the handlers that run where it is published, called.
        later: those that run after the commit, called.
        outward: whether it goes to the publisher as well.
        handlers: of ``now``, to name them.
        times: when the one event is due, and when it expires.
    """

    __slots__ = ("handlers", "later", "now", "outward", "times", "wiring")

    def __init__(
        self,
        wiring: Wiring,
        now: list[Call],
        later: list[Call],
        *,
        outward: bool,
        handlers: Sequence[Any] = (),
        times: Timed | None = None,
    ) -> None:
        self.wiring = wiring
        self.now = now
        self.later = later
        self.outward = outward
        self.handlers = handlers
        self.times = times
