"""Iterating step by step, in the thread that asks or beside it, and closing what was iterated where that ran."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from attrs import frozen

from django_cqrs.schemas import CarriedSchemas

__all__ = ["Answer", "Aside", "Stepper", "Steps"]

log = logging.getLogger("django_cqrs")


@frozen
class Answer:
    """What a step gave: an item, the end, or an error."""

    item: object = None
    ended: bool = False
    error: BaseException | None = None


class Stepper(Protocol):
    """Takes steps when asked.  One thread uses it, and waits for each step before it asks for the next."""

    def ask(self) -> None:
        """Begin a step."""
        ...

    def answer(self, seconds: float | None, /) -> Answer | None:
        """Return what the step gave, or None if it takes longer than that."""
        ...

    def close(self) -> None:
        """Close what is iterated, after the step that goes on.  May be called again."""
        ...


class Steps:
    """
    Takes steps in the thread that waits for them, however long that is.

    All steps see the context in which this was made: language, time zone, correlation id.
    """

    def __init__(self, items: Iterable[object]) -> None:
        self._iterator = iter(items)
        self._open: list[Any] = [self._iterator] if self._iterator is items else [self._iterator, items]
        self._context = copy_context()

    def ask(self) -> None:
        """Do nothing: who waits for the step takes it."""

    def answer(self, _: float | None = None, /) -> Answer:
        """Take a step."""
        return self._context.run(self._step)

    def _step(self) -> Answer:
        try:
            return Answer(next(self._iterator))
        except StopIteration:
            return Answer(ended=True)
        except BaseException as error:  # noqa: BLE001 - for whoever asked, who may be in another thread
            return Answer(error=error)

    def close(self) -> None:
        """Close the iterator, and what it was made of."""
        while self._open:
            close = getattr(self._open.pop(0), "close", None)
            try:
                if close is not None:
                    self._context.run(close)
            except Exception:
                # Django would drop it: nobody hears what the closing of a response raises.
                log.exception("%s could not be closed", getattr(close, "__self__", close))


class Aside:
    """
    Takes steps in a thread of its own, so that the asking one need not wait for them.

    The thread begins with the first step, works only while a step is asked for, and has ended when ``close`` returns,
    its database connections with it.
    """

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._surrounding = CarriedSchemas()
        self._asked: SimpleQueue[bool] = SimpleQueue()
        self._answers: SimpleQueue[Answer] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def ask(self) -> None:
        """Let the thread take a step."""
        if self._thread is None:
            # A daemon: a server that dies with its request threads never calls close, and shall not hang for that.
            thread = threading.Thread(target=self._work, name="django_cqrs.stepping", daemon=True)
            thread.start()
            self._thread = thread
        self._asked.put(True)

    def answer(self, seconds: float | None, /) -> Answer | None:
        """Wait for the step."""
        try:
            return self._answers.get(timeout=seconds)
        except Empty:
            return None

    def close(self) -> None:
        """Wait for the step that goes on, and for the thread to close everything."""
        if self._thread is None:
            self._steps.close()
            return
        self._asked.put(False)
        self._thread.join()

    def _work(self) -> None:
        with self._surrounding:
            try:
                while self._asked.get():
                    self._answers.put(self._steps.answer())
            finally:
                self._steps.close()
