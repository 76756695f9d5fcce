"""
The consumer of sagas: goes on with those that were started, a message for each call of a step.

What a step writes, what it came to, the next message and the end of this one are one transaction, under the lock of
the saga's lane.  A step of which it counts whether it was called at all is called after that transaction: then it is
stored first that it is being called, and a lease takes the place of the lane's lock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from django.db import connections

from django_cqrs.locks import LANE
from django_cqrs.saga_messages import GoOn, is_to_go_on, key_of, read
from django_cqrs.saga_recovery import recovery_settings
from django_cqrs.saga_transactions import may_be_asked_again, together
from django_cqrs.transactions import AfterCommit
from simplecqrs.doubts import tried
from simplecqrs.envelope import Envelope
from simplecqrs.errors import NotHandledHere, SagaChanged, SagaMovedOn, SagaNotFound
from simplecqrs.log_fields import about_run, about_saga
from simplecqrs.saga.adopting import adopt, saga_named
from simplecqrs.saga.beginning import begin_ready, undoing
from simplecqrs.saga.heartbeat import beating
from simplecqrs.saga.machine import ask_again, failed
from simplecqrs.saga.performing import Store, perform
from simplecqrs.saga.records import Progress, Record, Run
from simplecqrs.saga.waiting import CONSUMER, take_early

if TYPE_CHECKING:
    from django_cqrs.mediator import DjangoMediator
    from simplecqrs.saga.definition import Saga
    from simplecqrs.saga.step import Step

__all__ = ["SagaConsumer"]

log = logging.getLogger("django_cqrs")


class SagaConsumer:
    """
    Handles what the consumer of sagas gets: its own messages, and events that steps wait for.

    Args:
        mediator: whose sagas they are.
        alias: whose inbox it is.
        allow_commands: whether other commands are handled as well.
    """

    def __init__(self, mediator: DjangoMediator, alias: str, *, allow_commands: bool) -> None:
        self._bus = mediator
        self._alias = alias
        self._others: Callable[[Envelope], bool] = partial(
            mediator.receive, consumer=CONSUMER, allow_commands=allow_commands
        )

    def __call__(self, envelope: Envelope) -> bool:
        """Handle a message; False if there is no handler for it."""
        try:
            if not is_to_go_on(envelope):
                return self._others(envelope)
            wanted = read(envelope)
            self._go_on(_known_here(self._bus, wanted.saga), wanted, envelope.key)
        except SagaChanged as error:
            # What a step raises is its failure, and is stored; so this is about the saga itself.
            raise NotHandledHere(str(error)) from error
        return True

    def _go_on(self, saga: Saga[Any], wanted: GoOn, key: str) -> None:
        try:
            record = adopt(self._bus, saga, wanted.saga_id)
        except SagaNotFound:
            log.warning(
                "the saga %s %s was deleted; nothing goes on with it",
                saga.name,
                wanted.saga_id,
                extra=about_saga(wanted.saga_id, saga=saga.name, step=wanted.run.step),
            )
            return
        name = saga.knows(wanted.run.step)
        run = wanted.run._replace(step=name or "")
        known = record.progress.get(run.step)
        if known is None or not _is_to_be_done(saga, record, known, run):
            text = "%s %s of the saga %s is done, or somebody else's by now"
            log.debug(text, run.action, run.step, record.id, extra=about_run(record, run))
            return
        if key != key_of(saga, record, run):  # a newer definition has it in another lane, or it is none of ours
            self._bus.sagas.later(record, [run])
            return
        try:
            self._do(saga, record, saga.by_name[run.step], run)
        except SagaMovedOn:
            now = adopt(self._bus, saga, record.id)
            if run.step in now.progress and _is_to_be_done(saga, now, now.progress[run.step], run):
                raise

    def _do(self, saga: Saga[Any], record: Record, step: Step[Any], run: Run) -> None:
        if not run.begun:
            run = begin_ready(record, step)
            if not _is_counted(saga, step, run):
                self._store(record, [run])
                return
        if _is_counted(saga, step, run):
            self._call_after_commit(saga, record, run)
        elif tried.failures:
            self._ask_again(saga, record, step)
        else:
            if tried.before:  # nobody can tell; what has not happened can be undone as well
                record.progress[step.name] = record.progress[step.name]._replace(unknown=True)
            self._call(saga, record, run, self._store)

    def _call(self, saga: Saga[Any], record: Record, run: Run, store: Store) -> None:
        """Call a step, have stored what it came to, and take what came early for those that wait now."""
        with _in_savepoints(self._alias):
            perform(self._bus, saga, record, run, store)
        while record.status == "WAITING":
            version = record.version
            take_early(self._bus, saga, record, store)
            if record.version == version:
                return

    def _ask_again(self, saga: Saga[Any], record: Record, step: Step[Any]) -> None:
        """Begin a step once more that may have ended its process, but not for ever."""
        record.recoveries += 1
        if recovery_settings().take_overs.exhausted(record.recoveries - 1):
            error = RuntimeError(f"it was begun {record.recoveries} times, and its process did not come back")
            self._store(record, failed(saga, record, step, error, unknown=True))
        else:
            self._store(record, ask_again(saga, record, step))

    def _store(self, record: Record, runs: list[Run]) -> None:
        with together(self._alias):
            self._bus.sagas.save(record, lease=None)
            self._bus.sagas.later(record, runs)

    # -- under a lease ---------------------------------------------------------------------------------------------

    def _call_after_commit(self, saga: Saga[Any], record: Record, run: Run) -> None:
        """Commit that it is called.  The other steps of a Parallel are not to be kept out, so nobody holds the saga."""
        record.owner = "" if saga.is_parallel(saga.by_name[run.step]) else uuid4().hex
        self._bus.sagas.save(record, lease=saga.lease)
        call = AfterCommit(partial(self._call_held, saga, record, run))
        connections[self._alias].on_commit(call, robust=True)

    def _call_held(self, saga: Saga[Any], record: Record, run: Run) -> None:
        with beating(self._bus, record.id, record.owner, saga.lease):
            try:
                self._call(saga, record, run, self._give_back)
            except SagaMovedOn as error:
                log.warning(
                    "%s of the saga %s came too late: %s", run.step, record.id, error, extra=about_run(record, run)
                )

    def _give_back(self, record: Record, runs: list[Run]) -> None:
        owner, record.owner = record.owner, ""
        try:
            self._store(record, runs)
        except SagaMovedOn:
            record.owner = owner
            raise


def _known_here(bus: DjangoMediator, name: str) -> Saga[Any]:
    """Return a definition, unless only another release has it."""
    try:
        return saga_named(bus, name)
    except SagaNotFound as error:
        raise NotHandledHere(str(error)) from error


def _is_to_be_done(saga: Saga[Any], record: Record, known: Progress, run: Run) -> bool:
    """Tell whether a message asks for what is stored as the next call of its step, and nobody holds the saga."""
    if record.owner or record.ended or known.action != run.action:
        return False
    if run.begun:
        if not may_be_asked_again(saga.by_name[run.step], run.action):  # then it is being called, or was
            return False
        return known.phase == "started" and known.attempts == run.attempt
    return known.phase == "ready" and known.attempts + 1 == run.attempt and not record.paused


def _is_counted(saga: Saga[Any], step: Step[Any], run: Run) -> bool:
    """
    Tell whether it counts if a step was called at all, when its message comes a second time.

    It may not be asked again; or, if it failed for certain, it has a fallback, or need not be looked at by a person.
    """
    if not may_be_asked_again(step, run.action):
        return True
    if undoing(run.action) or saga.is_parallel(step):
        return False
    falls_back = run.action == "act" and step.fallback is not None
    return falls_back or (step.undoes(run.action) is None and saga.index_of(step) <= saga.pivot)


@contextmanager
def _in_savepoints(alias: str) -> Generator[None, None, None]:
    """Let a step that fails take along what it wrote, and not the lane's transaction, in which that is stored."""
    connection = connections[alias]
    before = getattr(connection, LANE, None)
    if before is None:
        yield
        return
    setattr(connection, LANE, False)
    try:
        yield
    finally:
        setattr(connection, LANE, before)
