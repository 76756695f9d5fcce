"""The straight way of a request: frame, unit of work and handler as one function, where nothing else is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simplecqrs.dispatch import Dispatch, Wiring, new_dispatch, stack, top
from simplecqrs.handlers import Handler
from simplecqrs.messages import Message
from simplecqrs.pipeline import Call

__all__ = ["straight_call", "straight_publishing_call"]


def straight_call(handler: Call, wiring: Wiring, finish: Callable[[Dispatch], None]) -> Call:
    def run(message: Message) -> Any:
        frames = stack.frames
        frame = (message, wiring)  # somebody who asks for more replaces it by a dispatch
        frames.append(frame)
        try:
            answer = handler(message)
        except BaseException:
            frames.pop()
            raise
        last = frames.pop()
        if last is not frame:
            _on_top(finish, last)
        return answer

    return run


def _on_top(finish: Callable[[Dispatch], None], dispatch: Dispatch) -> None:
    dispatch.frames.append(dispatch)
    try:
        finish(dispatch)
    finally:
        dispatch.frames.pop()


def straight_publishing_call(
    handler: Handler, wiring: Wiring, finish: Callable[[Dispatch], None], *, is_query: bool
) -> Call:
    def run(message: Message) -> Any:
        frames = stack.frames
        dispatch = new_dispatch(frames, message, wiring)
        if frames or is_query:
            dispatch.nest(top(frames) if frames else None)
        frames.append(dispatch)
        try:
            answer = handler(message, dispatch.publish)
            if dispatch.published is not None:
                finish(dispatch)
            return answer
        finally:
            dispatch.working = False
            frames.pop()

    return run
