"""What operators do to sagas, by command or in the admin: each is said in a line, and is in the saga's log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final, get_args
from uuid import UUID

from attrs import frozen

from django_cqrs.audit import record
from django_cqrs.conf import settings
from django_cqrs.mediator import DjangoMediator
from django_cqrs.saga_letters import held_up
from django_cqrs.saga_transactions import together
from simplecqrs.errors import InvalidSaga, SagaNotFound
from simplecqrs.log_fields import about_saga
from simplecqrs.queue import SAGAS
from simplecqrs.saga import Record, SagaStatus, cancel, pause, resume, retry, skip

__all__ = ["ACTS", "SETTLED", "STATUSES", "SagaOperator"]

log = logging.getLogger("django_cqrs")

#: What can be done, and what is said of it then.
ACTS: Final[dict[str, tuple[Callable[..., None], str]]] = {
    "cancel": (cancel, "is cancelled: what it has done is undone"),
    "pause": (pause, "rests, when the step that goes on has ended"),
    "resume": (resume, "goes on"),
    "retry": (retry, "is tried again: what was given up is called once more"),
    "skip": (skip, "goes on, its step being settled by hand"),
}
#: Those that may be about one step.
OF_A_STEP: Final = frozenset({"retry", "skip"})
STATUSES: Final[tuple[SagaStatus, ...]] = get_args(SagaStatus)
#: Of these nothing is left to do.
SETTLED: Final = frozenset({"COMPLETED", "COMPENSATED", "CANCELLED"})


@frozen
class SagaOperator:
    """
    Somebody who acts on stored sagas.

    Args:
        who: a user of the system, or of Django.
        why: the reason.
    """

    bus: DjangoMediator
    who: str
    why: str

    def act(self, act: str, saga_id: UUID, *, step: str | None = None) -> str:
        """
        Do something to a saga, in one transaction with its log, and return what is to be said of it.

        Args:
            act: one of ``ACTS``.
            step: which one, for ``retry`` and ``skip``; None: all, or the one that was given up.

        Raises:
            SagaNotFound: if there is none, or no definition of its name.
            InvalidSaga: if that cannot be done to it now.
        """
        found = self.bus.sagas.load(saga_id)
        if found is None:
            raise SagaNotFound(f"there is no saga {saga_id}")
        if found.status in SETTLED:
            return f"{saga_id} is {found.status} already; nothing is left to do"
        do, said = ACTS[act]
        given: dict[str, Any] = {"step": step or _the_one(found)} if act == "skip" else {}
        if act == "retry":
            given = {"step": step}
        alias = settings().alias_for(f"saga.{found.saga}")
        with together(alias):
            do(self.bus, saga_id, who=self.who, why=self.why, **given)
            self._record(alias, act, found, given.get("step"))
        extra = about_saga(saga_id, saga=found.saga, correlation_id=found.correlation_id, act=act, who=self.who)
        why = self.why or "no reason given"
        log.warning("%s: %s of saga %s %s: %s", self.who, act, found.saga, saga_id, why, extra=extra)
        held = held_up(alias, found)
        return f"{saga_id} {said}{f'; but first: {held}' if held else ''}"

    def _record(self, alias: str, act: str, found: Record, step: str | None) -> None:
        """Keep it for longer than the saga and its log are kept."""
        cause = f"{found.status}{f', step {step!r}' if step else ''}"
        record(
            alias, act, who=self.who, reason=self.why, box="saga", queue=SAGAS, name=found.saga, message_id=found.id,
            cause=cause,
        )  # fmt: skip


def _the_one(record: Record) -> str:
    """Return the step that an operator means who names none."""
    phases = {name: known.phase for name, known in record.progress.items()}
    # What failed before some step could not be undone is no question any more.
    found = [name for name, phase in phases.items() if phase == "stuck"] or [
        name
        for name, phase in phases.items()
        if phase == "unknown" or (phase == "failed" and record.status == "FAILED")
    ]
    if len(found) != 1:
        which = f"it could be {' or '.join(map(repr, found))}" if found else "none of its steps was given up"
        raise InvalidSaga(f"say which step of the saga {record.id} is to be skipped, by --step NAME: {which}")
    return found[0]
