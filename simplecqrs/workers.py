"""Calls side by side: in a bounded number of threads, and none is left behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from contextvars import copy_context
from functools import partial
from typing import Any

from simplecqrs.dispatch import stack

__all__ = ["NOT_BEGUN", "Raised", "Workers"]


class Raised:
    """The outcome of a call that raised."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


#: The outcome of a call that was not begun, because another one had raised.
NOT_BEGUN = object()


class Workers:
    """
    Run calls side by side.

    Args:
        limit: how many run at a time, at most.
        in_thread: called by who begins threads; what it returns surrounds the life of each of them.
    """

    def __init__(self, limit: int, in_thread: Callable[[], AbstractContextManager[object]]) -> None:
        self._limit = limit
        self._in_thread = in_thread

    def run(self, calls: Sequence[Callable[[], Any]], *, stop: bool) -> list[Any]:
        """
        Return the outcome of each call, in their order, when all that were begun have ended.

        They see a copy of the context variables, and no message being handled.  In a thread of ours, and where there
        is but one call, they run one after the other: threads of threads would not be bounded.

        Args:
            stop: begin no more once one has raised.

        Raises:
            BaseException: what a call has raised that is no Exception.
        """
        outcomes: list[Any] = [NOT_BEGUN] * len(calls)
        waiting = deque(range(len(calls)))
        work = partial(_work, calls, waiting, outcomes, stop=stop)
        threads = min(self._limit, len(calls))
        if threads < 2 or stack.is_worker:
            work()
        else:
            self._in_threads(work, threads, waiting)
        for outcome in outcomes:
            if isinstance(outcome, Raised) and not isinstance(outcome.error, Exception):
                raise outcome.error
        return outcomes

    def _in_threads(self, work: Callable[[], None], threads: int, waiting: deque[int]) -> None:
        from concurrent.futures import ThreadPoolExecutor

        surrounding = self._in_thread()

        def run() -> None:
            stack.is_worker = True
            with surrounding:
                work()

        with ThreadPoolExecutor(threads, thread_name_prefix="simplecqrs-event") as pool:
            try:
                running = [pool.submit(copy_context().run, run) for _ in range(threads)]
                for future in running:
                    future.result()
            except BaseException:  # interrupted while waiting: what runs ends, what waits does not begin
                waiting.clear()
                raise


def _work(calls: Sequence[Callable[[], Any]], waiting: deque[int], outcomes: list[Any], *, stop: bool) -> None:
    """Make the calls that wait, until none is left; several threads do this at a time."""
    while waiting:
        try:
            number = waiting.popleft()
        except IndexError:  # another thread was quicker
            return
        try:
            outcomes[number] = calls[number]()
        except BaseException as error:  # noqa: BLE001 - it is the caller's to raise
            outcomes[number] = Raised(error)
            if stop or not isinstance(error, Exception):
                waiting.clear()
