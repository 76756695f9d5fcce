"""Units of work around handlers."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from simplecqrs.dispatch import Dispatch, stack, top
from simplecqrs.messages import Message
from simplecqrs.pipeline import Call, Unswallowed
from simplecqrs.unit import OwnUnit, Published

__all__ = ["Finish", "Ship", "Transaction", "Units", "hand_up"]

#: From a message to a context manager, which may yield a Unit.
Transaction = Callable[[Any], AbstractContextManager[Any]]
#: Handles what was published in a dispatch.
Finish = Callable[[Dispatch], None]
Ship = Callable[[list[Published]], None]


class Units:
    """
    Opens units of work: the transaction's where there is one, else our own.

    Args:
        ship: takes the events that go out, in one call, when the outermost unit ends.
    """

    def __init__(self, transaction: Transaction | None, ship: Ship | None) -> None:
        self.transaction = transaction
        self._ship = ship

    def around(self, call: Call, finish: Finish, *, transactional: bool) -> Call:
        """Put a unit of work round a handler and the events that it publishes."""
        if transactional and self.transaction is not None:
            return self._in_transaction(call, finish)
        return self._in_own_unit(call, finish)

    def _in_own_unit(self, call: Call, finish: Finish) -> Call:
        def run(message: Message) -> Any:
            dispatch = stack.frames[-1]
            dispatch.working = True
            try:
                answer = call(message)
                if dispatch.published is not None:
                    finish(dispatch)
                    self.close(dispatch)
            except BaseException:
                dispatch.discard()
                raise
            dispatch.working = False
            return answer

        return run

    def _in_transaction(self, call: Call, finish: Finish) -> Call:
        def run(message: Message) -> Any:
            dispatch = top(stack.frames)
            with self.open(dispatch):
                answer = call(message)
                finish(dispatch)
            return answer

        return run

    @contextmanager
    def open(self, dispatch: Dispatch) -> Generator[None, None, None]:
        """Open the unit of work of a dispatch; what it has collected is shipped inside, before the commit."""
        if self.transaction is None:
            dispatch.working = True
            yield
            self.close(dispatch)
            return
        try:
            with Unswallowed(self.transaction(dispatch.message)) as unit:
                dispatch.working = True
                if unit is not None:
                    dispatch.unit = unit
                yield
                follow = self._settle(dispatch)
        except BaseException:
            dispatch.discard()
            raise
        for call in follow:
            call()

    def close(self, dispatch: Dispatch) -> None:
        """End our own unit of a dispatch: what it has collected goes to the unit around it, or out."""
        if dispatch.opened_unit is not None:
            for call in self._settle(dispatch):
                call()

    def _settle(self, dispatch: Dispatch) -> list[Callable[[], None]]:
        """Hand what our own unit has collected to the unit around it, or ship it; return what is to follow."""
        unit = dispatch.unit
        if not isinstance(unit, OwnUnit) or not (unit.outward or unit.after):
            return []
        dispatch.unit = None
        outer = _outer(dispatch)
        if outer is not None:
            hand_up(unit, outer)
            return []
        going_out = unit.going_out()
        if going_out and self._ship is not None:
            self._ship(going_out)
        return unit.after

    @contextmanager
    def trial(self, _: Message) -> Generator[None, None, None]:
        """Open a nested unit of work; if it is left by an exception, its writes and its events are gone."""
        dispatch = top(stack.frames)
        # The unit first: where there is one, something is to be done at the end, though nothing may be published.
        unit = dispatch.unit
        published = dispatch.published
        dispatch.published = []
        if isinstance(unit, OwnUnit):
            dispatch.unit = OwnUnit()
        try:
            with self._nested(dispatch) as brought:
                if brought is not None:
                    dispatch.unit = brought
                yield
        except BaseException:
            dispatch.published, dispatch.unit = published, unit
            raise
        if isinstance(unit, OwnUnit) and isinstance(dispatch.unit, OwnUnit):
            unit.absorb(dispatch.unit)
        dispatch.published, dispatch.unit = [*(published or ()), *dispatch.published], unit

    @contextmanager
    def _nested(self, dispatch: Dispatch) -> Generator[Any, None, None]:
        """Open a nested transaction; an event's is that of the message in whose unit it is handled."""
        if self.transaction is None or dispatch.query is not None:
            yield None
            return
        root = dispatch.origin.root if dispatch.origin is not None else None
        with Unswallowed(self.transaction((root or dispatch).message)) as unit:
            yield unit


def _outer(dispatch: Dispatch) -> Dispatch | None:
    """Return the nearest dispatch of the same mediator whose unit of work is open around this one."""
    outer = dispatch.parent
    while outer is not None and not (outer.working and outer.wiring is dispatch.wiring):
        outer = outer.parent
    return outer


def hand_up(unit: OwnUnit, parent: Dispatch) -> None:
    """Give what a nested unit has collected to the unit around it."""
    if isinstance(parent.unit, OwnUnit):
        parent.unit.absorb(unit)
        return
    for published in unit.outward:
        parent.unit.collect(published)
    for call in unit.after:
        parent.unit.after_commit(call)
