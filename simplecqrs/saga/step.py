"""A saga's steps: what each does, and how it is undone."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Concatenate, Final, Generic, TypeGuard, TypeVar

from attrs import field, frozen, validators

from simplecqrs.ambient import publish_here
from simplecqrs.backoff import Retry
from simplecqrs.errors import InvalidSaga, OutcomeUnknown
from simplecqrs.guarding import Breaker
from simplecqrs.handlers import describe
from simplecqrs.messages import Event

__all__ = ["NO_COMPENSATION", "NoCompensation", "Parallel", "Step", "SyncSagaStep", "WaitFor", "wait_for"]

#: Seconds that a step may take: for so long nobody takes over from a worker that was lost.
LONGEST_TIMEOUT: Final = 7 * 24 * 3600.0

S = TypeVar("S")
E = TypeVar("E", bound=Event)


class NoCompensation(enum.Enum):
    """The type of ``NO_COMPENSATION``."""

    NO_COMPENSATION = "NO_COMPENSATION"

    def __repr__(self) -> str:
        return "NO_COMPENSATION"


#: Says of a step that there is nothing to undo.
NO_COMPENSATION: Final = NoCompensation.NO_COMPENSATION


class SyncSagaStep(Generic[S]):
    """
    Base of steps that are classes.

    Write ``__init__`` with the dependencies, by type, ``act``, and ``compensate`` if there is something to undo.
    """

    __slots__ = ()

    def act(self, state: S, /) -> S | None:
        """Do it, and return the state that replaces the one given; None: it stays as it is."""
        raise InvalidSaga(f"{type(self).__qualname__} has no method act(self, state)")

    def compensate(self, state: S, /) -> S | None:
        """Undo it, also if it never happened, and see that it does not happen any more."""
        raise InvalidSaga(f"{type(self).__qualname__} has no method compensate(self, state)")

    def publish(self, event: Event, /) -> None:
        """Publish an event in the step that goes on in this thread."""
        publish_here(event)


def is_step_class(call: object) -> TypeGuard[type[SyncSagaStep[Any]]]:
    """Tell whether what a step calls is a class."""
    return isinstance(call, type) and issubclass(call, SyncSagaStep)


@frozen(eq=False)
class WaitFor(Generic[S, E]):
    """What ``wait_for`` returns: in the place of an act, it waits for an event."""

    event: type[E]
    key: str
    of: Callable[[S], object] | None
    then: Callable[[S, E], S | None] | None
    timeout: timedelta | None

    def key_of(self, state: S) -> str:
        """Return what the event's field must be, for this state."""
        return str(self.of(state) if self.of is not None else getattr(state, self.key))


def wait_for(
    event: type[E],
    *,
    key: str,
    of: Callable[[S], object] | None = None,
    then: Callable[[S, E], S | None] | None = None,
    timeout: timedelta | None = None,
) -> WaitFor[S, E]:
    """
    Make a step wait for an event: ``Step("paid", wait_for(PaymentConfirmed, key="order_id"))``.

    Args:
        key: the field of the event that tells for which saga it is.
        of: gives what that field must be, of the state.  Default: the state's field of the same name.
        then: takes state and event and returns the new state.
        timeout: how long to wait; when it is over, the step has failed.  Default: for ever.
    """
    kind: Any = event
    if not (isinstance(kind, type) and issubclass(kind, Event)):
        raise InvalidSaga(f"wait_for({event!r}) is to wait for a class of events")
    if timeout is not None and timeout <= timedelta(0):
        raise InvalidSaga(f"wait_for({event.__qualname__}, timeout={timeout!r}) is over before it begins")
    return WaitFor(event, key, of, then, timeout)


#: What a step does: a function of the state, with publish and dependencies like a handler's.
if TYPE_CHECKING:
    Act = Callable[Concatenate[S, ...], S | None]
else:  # Python 3.10 knows no Concatenate[S, ...]
    Act = Callable


def _check_name(_: Any, __: Any, value: Any) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= 100 or ":" in value or value != value.strip():
        raise InvalidSaga(
            f"a step's name is 1 to 100 characters without a colon, not {value!r}; it is stored with sagas"
        )


def _check_timeout(_: Any, __: Any, value: Any) -> None:
    if not isinstance(value, (int, float)) or not 0 < value < LONGEST_TIMEOUT:
        raise InvalidSaga(f"a step's timeout is in seconds, more than 0 and less than a week, not {value!r}")


@frozen(eq=False)
class Step(Generic[S]):
    """
    One step of a saga.

    Args:
        name: under which it is stored, so it must not change; an old name is one of the ``aliases``.
        act: a function ``(state)`` or ``(state, publish)``, with dependencies by keyword; a ``SyncSagaStep``; or
            ``wait_for(...)``.  The state that it returns replaces the old one; None: it stays.
        compensate: undoes it, likewise a function; ``NO_COMPENSATION`` if there is nothing to undo.
        fallback: does it when ``act`` has certainly failed: a function, a ``SyncSagaStep``, or another ``Step`` with
            its own way of undoing it.
        fallback_on: failures that ``fallback`` answers for.
        breaker: keeps ``act`` from being called when it has failed too often; then ``fallback`` is.
        retry: how often ``act`` is tried, and ``fallback`` as well.  Default: once; after the pivot, nearly for ever.
        compensation_retry: how often ``compensate`` is tried.  Default: as the saga says.
        pivot: when it is done, the saga only goes forward.
        timeout: seconds that each call may take; see ``simplecqrs.deadlines.remaining``.
        idempotent: whether it may be asked again, with the same key, when nobody knows how it ended.  If not, a person
            has to say.
        unknown_on: failures after which nobody knows whether it happened.
        aliases: names that it had before.
    """

    name: str = field(validator=_check_name)
    act: Act[S] | type[SyncSagaStep[S]] | WaitFor[S, Any]
    compensate: Act[S] | NoCompensation | None = None
    fallback: Act[S] | type[SyncSagaStep[S]] | Step[S] | None = field(default=None, kw_only=True)
    fallback_on: type[Exception] | tuple[type[Exception], ...] = field(default=Exception, kw_only=True)
    breaker: Breaker | None = field(default=None, kw_only=True)
    retry: Retry | None = field(
        default=None, kw_only=True, validator=validators.optional(validators.instance_of(Retry))
    )
    compensation_retry: Retry | None = field(
        default=None, kw_only=True, validator=validators.optional(validators.instance_of(Retry))
    )
    pivot: bool = field(default=False, kw_only=True)
    timeout: float = field(default=60.0, kw_only=True, validator=_check_timeout)
    idempotent: bool = field(default=True, kw_only=True)
    unknown_on: tuple[type[Exception], ...] = field(default=(OutcomeUnknown, TimeoutError), kw_only=True)
    aliases: Sequence[str] = field(default=(), kw_only=True)

    @property
    def falls_back_on(self) -> tuple[type[Exception], ...]:
        """Return the failures that the fallback answers for."""
        return self.fallback_on if isinstance(self.fallback_on, tuple) else (self.fallback_on,)

    @property
    def waits(self) -> WaitFor[S, Any] | None:
        """Return what it waits for, if that is what it does."""
        return self.act if is_wait(self.act) else None

    def call_of(self, action: str) -> Any:
        """Return the function or class behind ``act``, ``fallback``, or what undoes one of them, or None."""
        if action == "act":
            return None if isinstance(self.act, WaitFor) else self.act
        if action == "fallback":
            return self.fallback.act if is_step(self.fallback) else self.fallback
        return self.undoes("fallback" if action == "undo fallback" else "act")

    def undoes(self, action: str) -> Any:
        """Return what undoes ``act`` or ``fallback``: a function, a class, NO_COMPENSATION, or None."""
        done: Any = self.fallback if action == "fallback" else self.act
        if is_step(done):
            return done.undoes("act")
        if is_step_class(done) and done.compensate is not _NO_METHOD:
            return done
        if self.compensate is None and isinstance(self.act, WaitFor):
            return NO_COMPENSATION
        return self.compensate

    def __repr__(self) -> str:
        return f"Step({self.name!r}, {describe(self.act)})"


_NO_METHOD: Any = SyncSagaStep[Any].compensate


def is_step(part: object) -> TypeGuard[Step[Any]]:
    """Tell whether a part of a saga, or a fallback, is a step."""
    return isinstance(part, Step)


def is_wait(act: object) -> TypeGuard[WaitFor[Any, Any]]:
    """Tell whether a step waits for an event."""
    return isinstance(act, WaitFor)


class Parallel(Generic[S]):
    """
    Steps that run at the same time, each from the same state.

    Args:
        steps: what runs; all of it is undone if one fails.
        merge: makes one state of the one before and those that the steps have returned, in the order of the steps.
            Default: each field that a step has changed; two that change one field differently are an error.
    """

    def __init__(self, *steps: Step[S], merge: Callable[[S, Sequence[S]], S] | None = None) -> None:
        if len(steps) < 2:
            raise InvalidSaga("Parallel(...) takes two steps or more")
        self.steps = steps
        self.merge = merge

    def __repr__(self) -> str:
        return f"Parallel({', '.join(map(repr, self.steps))})"


def steps_of(part: Step[S] | Parallel[S]) -> tuple[Step[S], ...]:
    """Return the steps of a part of a saga: those of a Parallel, or the one that it is."""
    return part.steps if isinstance(part, Parallel) else (part,)
