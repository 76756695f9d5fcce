"""Streams: items are handed out one by one, and what surrounds the handler is there only while it runs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any

from simplecqrs.dispatch import Dispatch, stack, top
from simplecqrs.messages import Message
from simplecqrs.pipeline import Call
from simplecqrs.steps import END, begin_items, close_items, each_step
from simplecqrs.transactions import Finish, Units

__all__ = ["all_at_once", "by_item", "drive"]


def drive(dispatch: Dispatch, call: Call, context: Context) -> Generator[Any, None, None]:
    """
    Hand out the items of a stream.

    It is on the thread's stack, and the context variables are its own, while its handler runs; while the caller holds
    an item, nothing of it is left.  Each step may happen in another thread.
    """
    run, items = context.run, None
    try:
        while True:
            dispatch.frames = frames = stack.frames
            frames.append(dispatch)
            try:
                if items is None:
                    items = run(begin_items, call, dispatch.message)
                item = run(next, items, END)
            finally:
                frames.pop()
            if item is END:
                items = None  # there is nothing to close
                return
            yield item
    finally:
        if items is not None:
            _close(dispatch, items, context)


def _close(dispatch: Dispatch, items: Iterator[Any], context: Context) -> None:
    dispatch.frames = frames = stack.frames
    frames.append(dispatch)
    try:
        context.run(close_items, items)
    finally:
        frames.pop()


def by_item(call: Call, units: Units, finish: Finish, before: Callable[[Message], None]) -> Call:
    """
    Put a unit of work round each step of a handler: an item is handed out after its commit.

    Args:
        before: may refuse to begin a unit, where it could not be committed.
    """

    def run(message: Message) -> Iterator[Any]:
        dispatch = top(stack.frames)

        @contextmanager
        def unit() -> Generator[None, None, None]:
            before(message)
            try:
                with units.open(dispatch):
                    yield
                    finish(dispatch)
            finally:
                dispatch.working = False

        return each_step(unit, lambda: call(message))

    return run


def all_at_once(call: Call, units: Units, finish: Finish) -> Call:
    """Put one unit of work round all steps of a handler: the first item is handed out after the commit."""

    def run(message: Message) -> Iterator[Any]:
        dispatch = top(stack.frames)
        found: list[Any] = []
        try:
            with units.open(dispatch):
                for item in begin_items(call, message):
                    finish(dispatch)
                    dispatch.working = True  # again: the handler goes on
                    found.append(item)
                finish(dispatch)
        finally:
            dispatch.working = False
        yield from found

    return run
