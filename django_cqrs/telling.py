"""Telling a browser of items: which frame is sent when, and in which thread the items are made."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from time import monotonic
from typing import Any

from attrs import define, field, frozen
from django.db import connections

from django_cqrs.frames import COMMENT, as_text, frame
from django_cqrs.stepping import Answer, Aside, Stepper, Steps

__all__ = ["Body", "Script", "no_reason", "running_number"]

log = logging.getLogger("django_cqrs")


def running_number(item: object, number: int) -> int:
    """Return the number of an item as its id."""
    return number


def no_reason(error: Exception) -> object:
    """Return what anybody may know of an error: that there was one."""
    return {"error": "failed"}


@frozen
class Script:
    """What is said: a frame for every item, and those around them."""

    event: Callable[[Any], str]
    data: Callable[[Any], str]
    ids: Callable[[Any, int], object] | None
    start: bytes
    complete: str
    failed: str
    error: Callable[[Exception], object]
    retry: bytes

    def opening(self) -> bytes:
        """Return the first frames; never nothing, since servers send headers only with the first of the body."""
        return (self.retry or b"".join(COMMENT)) + self.start

    def item(self, item: Any, number: int) -> bytes:
        """Return the frame of an item."""
        number_or_id = None if self.ids is None else self.ids(item, number)
        return frame(self.data(item), event=self.event(item), id=number_or_id)

    def ended(self, number: int) -> bytes:
        """
        Return the frame at the end.

        The end has the next running number, by which one who has seen it is told from one who saw the last item only.
        """
        end = number + 1 if self.ids is running_number else None
        return frame(as_text({"items": number}), event=self.complete, id=end)

    def broken(self, error: Exception) -> bytes:
        """Return the frame that ends what failed."""
        try:
            said = as_text(self.error(error))
        except Exception:
            log.exception("error= of sse_response failed; the client hears of a failure and no more")
            said = as_text(no_reason(error))
        return frame(said, event=self.failed)


@define(eq=False)
class Body:
    """The frames of one response, made while the server takes them."""

    steps: Steps
    script: Script
    number: int  # of the last item
    heartbeat: float | None
    max_seconds: float | None
    _frames: Generator[bytes, None, None] | None = field(default=None, init=False)

    def __iter__(self) -> Body:
        return self

    def __next__(self) -> bytes:
        if self._frames is None:
            self._frames = self._make()
        return next(self._frames)

    def close(self) -> None:
        """Close the items, whether they were begun or not."""
        if self._frames is not None:
            self._frames.close()
        self.steps.close()

    def _make(self) -> Generator[bytes, None, None]:
        yield self.script.opening()
        stepper = self._stepper()
        try:
            last = yield from self._items(stepper)
        finally:
            stepper.close()
        yield last

    def _stepper(self) -> Stepper:
        """
        Choose the thread in which the items are made.

        In another one, they would not see what a transaction that is open here has written.
        """
        if self.heartbeat is None or any(c.in_atomic_block for c in connections.all(initialized_only=True)):
            return self.steps
        connections.close_all()  # this thread needs none while it sends; with a pool, they are given back
        return Aside(self.steps)

    def _items(self, stepper: Stepper) -> Generator[bytes, None, bytes]:
        """Send the items, and return the last frame."""
        ends = None if self.max_seconds is None else monotonic() + self.max_seconds
        while True:
            answer = yield from self._next(stepper)
            if answer.ended:
                return self.script.ended(self.number)
            try:
                sent = self._frame(answer)
            except Exception as error:
                log.error("server-sent events ended after item %s: %r", self.number, error, exc_info=error)
                return self.script.broken(error)
            yield sent
            if ends is not None and monotonic() >= ends:
                return b": to be continued\n\n"

    def _next(self, stepper: Stepper) -> Generator[bytes, None, Answer]:
        stepper.ask()
        while (answer := stepper.answer(self.heartbeat)) is None:
            yield from COMMENT
        return answer

    def _frame(self, answer: Answer) -> bytes:
        if answer.error is not None:
            raise answer.error
        sent = self.script.item(answer.item, self.number + 1)
        self.number += 1
        return sent
