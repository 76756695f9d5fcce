"""Events level by level: all that one level caused is the next one, and failures are dealt with by one policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from simplecqrs.ambient import fresh_stack
from simplecqrs.dispatch import Dispatch, stack
from simplecqrs.errors import HandlersFailed
from simplecqrs.failures import Failure
from simplecqrs.generations import endless
from simplecqrs.handlers import describe
from simplecqrs.log_context import current_fields
from simplecqrs.pipeline import Call
from simplecqrs.transactions import hand_up
from simplecqrs.unit import OwnUnit, Published
from simplecqrs.workers import NOT_BEGUN, Raised, Workers

if TYPE_CHECKING:
    import logging

__all__ = ["EventErrors", "Levels"]

#: What becomes of failures of event handlers.
EventErrors = Literal["raise", "collect", "log"]
Scope = Callable[[Dispatch], AbstractContextManager[None]]


class Levels:
    """
    Handle events breadth first, the handlers of a level side by side, each in a unit of its own.

    Args:
        after_commit: takes an event that has handlers after the commit.
        scope: opens the scope of a handler's dependencies: threads share none.
        errors: ``"raise"``: begin no more handlers, and raise the first failure; ``"collect"``: run all of them, then
            raise a ``HandlersFailed``; ``"log"``: run all of them, and log what failed.
    """

    def __init__(
        self,
        workers: Workers,
        after_commit: Callable[[Dispatch, Published], None],
        scope: Scope,
        *,
        errors: EventErrors,
        max_generations: int,
    ) -> None:
        self._workers = workers
        self._after_commit = after_commit
        self._scope = scope
        self._errors = errors
        self._max_generations = max_generations

    def handle_all(self, root: Dispatch) -> None:
        """Handle what was published in a dispatch, and what that causes; one level has ended when the next begins."""
        root.working = False
        failures: list[Failure] = []
        level = root.take()
        while level:
            for published in level:
                if published.generation > self._max_generations:
                    raise endless(published, self._max_generations)
                published.root = root
                _ = published.metadata  # made once, before threads ask for it
            level = self._handle(root, level, failures)
        if failures and self._errors == "collect":
            raise HandlersFailed(failures)

    def _handle(self, root: Dispatch, level: list[Published], failures: list[Failure]) -> list[Published]:
        """Handle a level and return the next one."""
        handling = [(p, *pair) for p in level for pair in zip(p.plan.now, p.plan.handlers, strict=True)]
        calls = [partial(self._call, root, published, call) for published, call, _ in handling]
        outcomes = self._workers.run(calls, stop=self._errors == "raise")
        failed = [
            Failure(published.event, handler, outcome.error)
            for (published, _, handler), outcome in zip(handling, outcomes, strict=True)
            if isinstance(outcome, Raised) and isinstance(outcome.error, Exception)
        ]
        self._deal_with(failed)
        failures += failed
        return self._next_level(root, level, iter(outcomes))

    def _next_level(self, root: Dispatch, level: list[Published], outcomes: Iterator[Any]) -> list[Published]:
        """Hand what handlers have published to the root, in the order that one after the other would have had."""
        following: list[Published] = []
        for published in level:
            for _ in published.plan.now:
                following += _taken(next(outcomes), root)
            if published.plan.later:
                self._after_commit(root, published)
        return following

    def _call(self, root: Dispatch, published: Published, call: Call) -> Dispatch:
        """Call a handler in a unit of its own, in this thread; return the dispatch, with what it has published."""
        is_elsewhere = stack.frames is not root.frames
        with fresh_stack():
            dispatch = Dispatch.of_event(published, None)
            dispatch.opened_unit = None
            if is_elsewhere:
                dispatch.resolve = None
            stack.frames.append(dispatch)
            try:
                with self._scope(dispatch):
                    call(published.event)
            finally:
                dispatch.working = False
            return dispatch

    def _deal_with(self, failed: list[Failure]) -> None:
        """Raise the first failure, and log those that nobody would see otherwise."""
        raised = failed[0] if failed and self._errors == "raise" else None
        for failure in failed:
            if failure is not raised and self._errors != "collect":
                name = type(failure.event).__qualname__
                extra = {**current_fields(), "cqrs_event": name}
                _log().error("%s failed with %s", describe(failure.handler), name, exc_info=failure.error, extra=extra)
        if raised is not None:
            raise raised.error


def _taken(outcome: Any, root: Dispatch) -> list[Published]:
    """Hand what a handler has published to the unit of its root."""
    if outcome is NOT_BEGUN or isinstance(outcome, Raised):
        return []
    dispatch: Dispatch = outcome
    caused = dispatch.take()
    if isinstance(dispatch.opened_unit, OwnUnit):
        hand_up(dispatch.opened_unit, root)
    return caused


def _log() -> logging.Logger:
    """Return our logger; imported late, since ``logging`` is a quarter of what importing us would cost."""
    from logging import getLogger

    return getLogger("simplecqrs")
