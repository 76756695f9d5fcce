"""An iterator taken step by step: begun, asked for its next item, closed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from types import GeneratorType
from typing import Any, Final

from simplecqrs.errors import InvalidHandler
from simplecqrs.pipeline import Call

__all__ = ["END", "begin_items", "close_items", "each_step"]

#: What ``next(items, END)`` gives after the last item.
END: Final = object()


def each_step(
    manager: Callable[[], AbstractContextManager[object]], begin: Callable[[], Iterator[Any]]
) -> Generator[Any, None, None]:
    """
    Enter a context for each step of an iterator, its beginning and its closing included.

    So it is never open while the caller holds an item.
    """
    items: Iterator[Any] | None = None
    while True:
        with manager():
            if items is None:
                items = begin_items(lambda _: begin(), None)
            item = next(items, END)
        if item is END:
            return
        try:
            yield item
        except BaseException:  # closed early
            with manager():
                close_items(items)
            raise


def begin_items(call: Call, message: Any) -> Iterator[Any]:
    """Call what answers a stream, and refuse an answer that cannot be iterated."""
    answer = call(message)
    if type(answer) is GeneratorType:  # nearly always
        return answer  # pyright: ignore[reportUnknownVariableType]
    if isinstance(answer, (str, bytes)) or not hasattr(answer, "__iter__"):
        raise InvalidHandler(
            f"the handler of {type(message).__qualname__}, a stream, returned {answer!r}, which is no iterator; yield "
            "the items"
        )
    return iter(answer)


def close_items(items: Any) -> None:
    """End an iterator early."""
    close = getattr(items, "close", None)  # a list's iterator has none
    if close is not None:
        close()
