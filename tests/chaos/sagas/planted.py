"""Faults that sagas could have, so that it shows that the proofs would find them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import evolve

__all__ = ["FAULTS"]


def outcome_apart() -> None:
    """Store what a step came to after its transaction, not in it."""
    from simplecqrs.saga import run_step

    build = run_step.StepCalls.build

    def apart(self: Any, *arguments: Any, **options: Any) -> Any:
        from django.db import transaction

        call = build(self, *arguments, **options)

        def run(message: Any) -> Any:
            finish = message.finish
            message.finish = lambda *outcome: transaction.on_commit(lambda: finish(*outcome))
            return call(message)

        return run

    run_step.StepCalls.build = apart  # type: ignore[method-assign]


def begun_late() -> None:
    """Keep it to oneself that a step was begun, until it has come to something."""
    from django_cqrs.saga_rows import SagaRows

    columns = SagaRows._columns

    def hiding(self: Any, record: Any) -> Any:
        known = dict(record.progress)
        try:
            record.progress = {name: _unbegun(progress) for name, progress in known.items()}
            return columns(self, record)
        finally:
            record.progress = known

    SagaRows._columns = hiding  # type: ignore[method-assign]


def _unbegun(progress: Any) -> Any:
    if progress.phase != "started":
        return progress
    return progress._replace(phase="ready", attempts=progress.attempts - 1)


def never_unknown() -> None:
    """Take over what was begun as if it had not been called."""
    from simplecqrs.saga import foreground, machine, running

    found = machine.found

    def naive(saga: Any, record: Any, *, is_left: bool = True) -> Any:
        return found(saga, record, is_left=False)

    foreground.found = running.found = naive


def once_again() -> None:
    """Ask again what may not be asked twice."""
    from simplecqrs.saga import machine

    ask_again = machine.ask_again

    def asking(saga: Any, record: Any, asked: Any) -> Any:
        return ask_again(saga, record, evolve(asked, idempotent=True))

    machine.ask_again = asking


def later_apart() -> None:
    """Store the message that goes on with a saga after the transaction of the step before it."""
    from django_cqrs.sagas import DjangoSagas

    later = DjangoSagas.later

    def apart(self: Any, record: Any, runs: Sequence[Any], /) -> None:
        from django.db import transaction

        transaction.on_commit(lambda: later(self, record, runs))

    DjangoSagas.later = apart  # type: ignore[method-assign]


def no_version() -> None:
    """Store a saga whoever has changed it meanwhile."""
    from django_cqrs.saga_rows import SagaRows

    update = SagaRows.update

    def updating(self: Any, record: Any, due: Any, *, owner: str) -> bool:
        now = self.read(record.id)
        record.version = now.version if now is not None else record.version
        return update(self, record, due, owner=owner)

    SagaRows.update = updating  # type: ignore[method-assign]


def forgets_the_unknown() -> None:
    """Undo what was done, but not what may have happened."""
    from simplecqrs.saga import machine

    undo = machine._undo

    def forgetful(saga: Any, record: Any) -> Any:
        for name, known in record.progress.items():
            if known.phase == "failed":
                record.progress[name] = known._replace(unknown=False)
        return undo(saga, record)

    machine._undo = forgetful


#: By their names, which --fault gives, or CHAOS_FAULT.
FAULTS = {
    fault.__name__: fault
    for fault in (outcome_apart, begun_late, never_unknown, once_again, later_apart, no_version, forgets_the_unknown)
}
