"""
All errors that simplecqrs raises, in one tree.

::

    CQRSError
    ├── HandlerNotFound      (LookupError)      a message that nobody handles
    ├── UnknownMessage       (LookupError)      a name on the wire that no class bears
    │   ├── NewerVersion                        a version that a later release knows
    │   └── NotHandledHere                      what another release has a handler for
    ├── ClaimMissing         (LookupError)      a payload that is not where it was put
    ├── DuplicateHandler     (ValueError)       a second handler for a request
    ├── InvalidHandler       (TypeError)        a handler of the wrong shape
    ├── InvalidMessage       (TypeError)        a message class or object of the wrong shape
    ├── InvalidPayload       (ValueError)       data that does not make a message
    │   └── PayloadTooLarge
    ├── NotConfigured        (RuntimeError)     wiring that cannot work
    │   └── MissingExtra     (ImportError)      a library that is not installed
    ├── NotPublished         (RuntimeError)     an event that could not be published
    ├── IdempotencyKeyReused (ValueError)       a key that belongs to another command
    ├── IdempotencyKeyInUse  (RuntimeError)     a key whose command is still at work
    ├── CommandRefused       (PermissionError)  a command from a broker that may give none
    ├── NotPermitted         (PermissionError)  a message that this user may not give
    ├── OutsideDispatch      (RuntimeError)     asked for a message where none is handled
    ├── TooManyEvents        (RuntimeError)     events that cause events without end
    ├── HandlersFailed       (ExceptionGroup)   handlers of events, with event_errors="collect"
    ├── NobodyAnswered       (LookupError)      a chain without a link that answers
    ├── DependencyNotFound   (LookupError)      a type that nothing provides
    ├── InvalidSaga          (TypeError)        a saga, or what its steps return, of the wrong shape
    ├── SagaNotFound         (LookupError)      a saga, or a stored one, that nobody knows
    ├── SagaChanged          (RuntimeError)     a definition that does not fit a stored saga any more
    ├── SagaBusy             (RuntimeError)     a saga that somebody else is working on
    │   └── SagaMovedOn                         one that somebody else has changed meanwhile
    ├── SagaFailed           (RuntimeError)     a saga that did not reach its end
    ├── OutcomeUnknown       (RuntimeError)     raised by a step that does not know whether it happened
    └── BrokerDown           (ConnectionError)  a broker that cannot be reached

Errors that a handler raises are never wrapped: they reach the caller of ``send`` as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

if TYPE_CHECKING:
    from simplecqrs.failures import Failure

__all__ = [
    "BrokerDown",
    "CQRSError",
    "ClaimMissing",
    "CommandRefused",
    "DependencyNotFound",
    "DuplicateHandler",
    "HandlerNotFound",
    "HandlersFailed",
    "IdempotencyKeyInUse",
    "IdempotencyKeyReused",
    "InvalidHandler",
    "InvalidMessage",
    "InvalidPayload",
    "InvalidSaga",
    "MissingExtra",
    "NewerVersion",
    "NobodyAnswered",
    "NotConfigured",
    "NotHandledHere",
    "NotPermitted",
    "NotPublished",
    "OutcomeUnknown",
    "OutsideDispatch",
    "PayloadTooLarge",
    "SagaBusy",
    "SagaChanged",
    "SagaFailed",
    "SagaMovedOn",
    "SagaNotFound",
    "TooManyEvents",
    "UnknownMessage",
]


class CQRSError(Exception):
    """Base of every error that simplecqrs and django_cqrs raise."""


class HandlerNotFound(CQRSError, LookupError):
    """Raised when a request is sent that no handler was registered for."""


class UnknownMessage(CQRSError, LookupError):
    """Raised when an envelope bears a name, or a version, that this project does not know."""


class NewerVersion(UnknownMessage):
    """Raised when a message came in a version that only a later release knows; its consumer waits for that."""


class NotHandledHere(UnknownMessage):
    """Raised when another release has the handler, saga or step that this one lacks; its consumer waits for that."""


class ClaimMissing(CQRSError, LookupError):
    """Raised when a payload that travels by a claim check is not, or not yet, where it was put."""


class DuplicateHandler(CQRSError, ValueError):
    """Raised when a request gets a second handler, or an event the same handler twice."""


class InvalidHandler(CQRSError, TypeError):
    """Raised at registration when a handler has a shape that cannot work."""


class InvalidMessage(CQRSError, TypeError):
    """Raised when something that is not a proper message is defined, registered, sent or published."""


class InvalidPayload(CQRSError, ValueError):
    """
    Raised when data does not make the message that it should make.

    Attributes:
        errors: ``(path, reason)`` for every field that is wrong, all of them at once.
            A path reads like ``lines[0].quantity``; it is empty for the message as a whole.
    """

    def __init__(self, message: str, errors: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.errors = tuple(errors)


class PayloadTooLarge(InvalidPayload):
    """Raised when a message, encoded, is larger than the limit (1 MiB unless told otherwise)."""


class NotConfigured(CQRSError, RuntimeError):
    """
    Raised when the wiring of a mediator, or a setting, cannot work.

    Attributes:
        problems: everything that was found wrong, each with its cure.
    """

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__("\n- ".join([message, *problems]))
        self.problems = tuple(problems)


class MissingExtra(NotConfigured, ImportError):
    """Raised when an adapter is used whose library is not installed; names the extra to install."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs a library that is not installed: pip install 'simplecqrs[{extra}]'")
        self.what = what
        self.extra = extra

    def __reduce__(self) -> tuple[type[MissingExtra], tuple[str, str]]:
        return type(self), (self.what, self.extra)


class NotPublished(CQRSError, RuntimeError):
    """Raised when an event is published where it cannot be, or when a broker does not accept it."""


class IdempotencyKeyReused(CQRSError, ValueError):
    """Raised when an idempotency key was used before, by another command or with other content."""


class IdempotencyKeyInUse(CQRSError, RuntimeError):
    """Raised when a command of the same idempotency key is still at work; it may be sent again later."""


class CommandRefused(CQRSError, PermissionError):
    """Raised when a command comes from a broker to a consumer that takes only events."""


class NotPermitted(CQRSError, PermissionError):
    """Raised before anything is done for a message with ``permission=`` that the acting user may not give."""


class OutsideDispatch(CQRSError, RuntimeError):
    """Raised when ``current()`` is asked in a thread that handles no message."""


class TooManyEvents(CQRSError, RuntimeError):
    """Raised when events go on causing events for more than ``max_generations`` generations."""


class HandlersFailed(CQRSError, ExceptionGroup[Exception]):
    """
    Raised when handlers of events have failed and their failures are collected.

    Attributes:
        failures: each with its event, its handler and its error, in the order in which they were to run.
    """

    failures: tuple[Failure, ...]

    def __new__(cls, failures: Sequence[Failure]) -> HandlersFailed:
        """Make a group of the errors."""
        whats = ", ".join(
            f"{getattr(f.handler, '__qualname__', f.handler)} with {type(f.event).__qualname__}" for f in failures
        )
        return super().__new__(cls, f"handlers of events failed: {whats}", [f.error for f in failures])

    def __init__(self, failures: Sequence[Failure]) -> None:  # what a group's own takes, __new__ has given it
        self.failures = tuple(failures)


class NobodyAnswered(CQRSError, LookupError):
    """Raised when every link of a chain says that a message is not its own."""


class DependencyNotFound(CQRSError, LookupError):
    """Raised when a handler or a factory needs a type that nothing provides."""


class BrokerDown(CQRSError, ConnectionError):
    """Raised by a broker's adapter when the broker as a whole cannot be reached or does not answer."""


class InvalidSaga(CQRSError, TypeError):
    """Raised when a saga, one of its steps, or the state that a step has returned, has a shape that cannot work."""


class SagaNotFound(CQRSError, LookupError):
    """Raised when there is no saga of this name, or none stored under this id."""


class SagaChanged(CQRSError, RuntimeError):
    """Raised before anything runs, when a stored saga has gone through steps that its definition lacks now."""


class SagaBusy(CQRSError, RuntimeError):
    """Raised when somebody else is working on a saga."""


class SagaMovedOn(SagaBusy):
    """Raised when somebody else has changed a saga since it was read: what was done now is rolled back."""


class SagaFailed(CQRSError, RuntimeError):
    """Raised when asked for the success of a saga that did not complete; its cause is what went wrong first."""


class OutcomeUnknown(CQRSError, RuntimeError):
    """Raised when a step cannot know whether it happened: an answer that never came."""
