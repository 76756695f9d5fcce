"""What running a saga gives: its result, and those of its steps."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar
from uuid import UUID

from attrs import field, frozen

from simplecqrs.errors import SagaFailed
from simplecqrs.saga.records import Action, SagaStatus

__all__ = ["SagaResult", "StepResult"]

S = TypeVar("S")


@frozen
class StepResult(Generic[S]):
    """
    What one call of a step came to.

    Args:
        name: the step's.
        action: ``act``, ``fallback``, ``undo act`` or ``undo fallback``.
        status: ``completed``, or ``failed``; it may be called again then, or its fallback.
        state: the saga's, after it.
        error: what it raised.
    """

    saga_id: UUID
    name: str
    action: Action
    status: Literal["completed", "failed"]
    attempt: int
    state: S
    error: Exception | None = field(default=None, eq=False)


@frozen(slots=False)  # which is made in half of the time
class SagaResult(Generic[S]):
    """
    Where a saga is when nothing more can be done for it now.

    Args:
        status: ``COMPLETED``, ``COMPENSATED``, ``CANCELLED``, ``FAILED`` or ``UNKNOWN``; ``WAITING`` if it goes on
            when an event comes; ``RUNNING`` or ``COMPENSATING`` if it rests, or if its next attempt is later.
        error: what failed first, as text: it outlives the process.
        cause: the same as it was raised, if that was in this call.
    """

    saga_id: UUID
    status: SagaStatus
    state: S
    error: str = ""
    cause: Exception | None = field(default=None, eq=False)

    def unwrap(self) -> S:
        """
        Return the state of a saga that has completed.

        Raises:
            SagaFailed: if it has not.
        """
        if self.status != "COMPLETED":
            raise SagaFailed(
                f"the saga {self.saga_id} is {self.status}: {self.error or 'it has not ended'}"
            ) from self.cause
        return self.state
