"""Work in another thread, and what it comes to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

__all__ = ["begun_in_thread"]

T = TypeVar("T")


def begun_in_thread(work: Callable[[], T], leave: Callable[[], object]) -> Future[T]:
    """
    Begin something in a thread of its own.

    Args:
        leave: called there at the end, to give back what the thread has opened.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - the test shall see it
            future.set_exception(error)
        finally:
            leave()

    threading.Thread(target=run, daemon=True).start()
    return future
