"""The message that a step's call passes the pipeline as, and its handler."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from attrs import define, field

from simplecqrs.deadlines import begin_within, end_within
from simplecqrs.dispatch import Dispatch, stack
from simplecqrs.errors import InvalidSaga, OutsideDispatch
from simplecqrs.guarding import guarded
from simplecqrs.handlers import Bind, Combined, Trial
from simplecqrs.messages import Command
from simplecqrs.saga.records import Action
from simplecqrs.saga.step import SyncSagaStep, is_step_class

if TYPE_CHECKING:
    from simplecqrs.saga.definition import Saga

__all__ = ["RunStep", "StepCalls", "current_step", "methods_of"]

#: A SyncSagaStep's method that each action calls.
METHODS = {"act": "act", "fallback": "act", "undo act": "compensate", "undo fallback": "compensate"}


@define(eq=False)
class RunStep(Command[Any]):
    """
    One call of a saga's step, as middlewares see it.  Each saga has a subclass of its own, ``saga.<its name>``.

    Args:
        saga: the name of the definition.
        action: ``act``, ``fallback``, ``undo act`` or ``undo fallback``.
        attempt: counted from 1, for each action.
        unknown: whether an attempt before this one ended without an outcome: it may have happened.
        finish: stores what the step has returned, in its unit of work; None: that is done after it.

    Attributes:
        acted: whether the step was called, and has returned.
        returned: by the step.
    """

    saga: str
    saga_id: UUID
    step: str
    action: Action
    attempt: int
    unknown: bool
    state: Any
    finish: Callable[[Any, Any], None] | None = field(default=None, repr=False)
    acted: bool = field(default=False, init=False)
    returned: Any = field(default=None, init=False, repr=False)

    @property
    def key(self) -> str:
        """
        Return the idempotency key of this call: the same for each attempt, another one for each action of a step.

        Hand it to what is outside of this database, so that it does once what it is asked for twice.
        """
        return f"{self.saga}:{self.saga_id}:{self.step}:{self.action}"

    @property
    def undoes(self) -> str:
        """Return the key of the call that this one undoes; empty if it undoes nothing."""
        return self.key.replace(":undo ", ":") if self.action.startswith("undo") else ""


def current_step() -> RunStep:
    """
    Return the step that is being called in this thread: its ``saga_id``, its ``attempt``, its ``key``.

    Raises:
        OutsideDispatch: if none is.
    """
    for frame in reversed(stack.frames):
        message = _message_of(frame)
        if isinstance(message, RunStep):
            return message
    raise OutsideDispatch("no step of a saga is being called in this thread; current_step() is for what steps do")


def _message_of(frame: Any) -> Any:
    if type(frame) is tuple:
        return frame[0]  # pyright: ignore[reportUnknownVariableType]
    return frame.message if isinstance(frame, Dispatch) else None


class StepCalls(Combined[Any, Any]):
    """The handler of a saga's ``RunStep``: calls the step, and has what it came to stored in the same unit of work."""

    def __init__(self, saga: Saga[Any]) -> None:
        self.saga = saga
        self._links = {
            (step.name, action): link
            for step in saga.by_name.values()
            for action in METHODS
            if (link := methods_of(step.call_of(action), METHODS[action])) is not None
        }
        self.links = tuple(self._links.values())
        self.takes = (saga.state,)

    def problems(self, bus: Any, /) -> list[str]:
        """Return what is wrong with the saga, each with its cure."""
        return self.saga.problems(bus.sagas.codec)

    def build(self, bind: Bind, _: Trial, /, *, is_stream: bool) -> Callable[[Any], Any]:
        """Return a call that calls the step that the message is about."""
        steps, state = self.saga.by_name, self.saga.state
        calls = {
            (name, action): (bind(link), steps[name].breaker if action == "act" else None, steps[name].timeout)
            for (name, action), link in self._links.items()
        }

        def run(message: RunStep) -> Any:
            call, breaker, timeout = calls[message.step, message.action]
            token = begin_within(timeout)
            try:
                if breaker is None:
                    returned = call(message.state)
                else:
                    step = steps[message.step]
                    with guarded(breaker, step.falls_back_on, step.act):
                        returned = call(message.state)
            finally:
                end_within(token)
            message.acted = True
            if returned is not None:
                if not isinstance(returned, state):
                    raise _no_state(message, state, returned)
                message.returned = returned
            if message.finish is not None:
                message.finish(message.state, returned)
            return returned

        return run


def _no_state(message: RunStep, state: type[Any], returned: object) -> InvalidSaga:
    return InvalidSaga(
        f"{message.action} of the step {message.step!r} of the saga {message.saga!r} returned {returned!r}; it is to "
        f"return a {state.__qualname__}, the new state, or None"
    )


def methods_of(call: Any, method: str) -> Any:
    """Return what is to be bound: a function as it is; of a SyncSagaStep, a handler class whose handle is a method."""
    if is_step_class(call):
        return _as_handler(call, method)
    return call if callable(call) else None


def _as_handler(step: type[SyncSagaStep[Any]], method: str) -> type[Any]:
    from simplecqrs.handlers import SyncRequestHandler

    name = f"{step.__name__}.{method}"
    return type(name, (step, SyncRequestHandler), {"__slots__": (), "handle": getattr(step, method)})
