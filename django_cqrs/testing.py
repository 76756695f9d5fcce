"""
Helpers for a project's tests: what was published, and everything that follows, inside one TestCase.

``run_all()`` does what relay, consumers and the commit would do later, so a test sees the whole story::

    bus.send(PlaceOrder("book"))
    assert published(OrderPlaced) == [OrderPlaced(1)]
    run_all()
    assert Report.objects.get().orders == 1
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

from attrs import define, field
from django.db import connections
from django.db.models import QuerySet
from django.test import testcases

from django_cqrs.consumers import consumers
from django_cqrs.databases import dialect, now
from django_cqrs.loops import run
from django_cqrs.mediator import project_mediator
from django_cqrs.models import Blocked, Dead, Inbox, Outbox, ParkedInbox, Saga, SagaWait, Scheduled
from django_cqrs.pausing import without_past_pauses
from django_cqrs.promotion import promoters
from django_cqrs.relay import aliases, relays
from django_cqrs.rows import COLUMNS, envelope_of, read_row
from django_cqrs.saga_recovery import recover
from django_cqrs.transactions import AfterCommit
from simplecqrs.envelope import Envelope
from simplecqrs.errors import UnknownMessage
from simplecqrs.loop import Job
from simplecqrs.messages import Event, Message

__all__ = ["Story", "published", "run_all", "scheduled"]

E = TypeVar("E", bound=Event)
#: What Django raises for an alias that is not among the ``databases`` of a test.
FORBIDDEN: type[Exception] = getattr(testcases, "DatabaseOperationForbidden", AssertionError)


@define
class Story:
    """What ``run_all`` has done: the events that left the outbox, and the reasons of what failed."""

    shipped: list[Event] = field(factory=list)
    failures: list[str] = field(factory=list)


def published(kind: type[E] | None = None) -> list[E]:
    """
    Return the events that wait in the outbox, in the order in which they were published.

    Args:
        kind: only events of this class, and of its subclasses.
    """
    return [event for event in _waiting() if kind is None or isinstance(event, kind)]


def scheduled() -> list[Message]:
    """Return the commands and events that are not due yet, or are to be moved yet, in the order of their due times."""
    rows = [row for alias in _aliases() for row in Scheduled.objects.using(alias).order_by("due", "id")]
    envelopes = {row.message_id: envelope_of(row) for row in sorted(rows, key=lambda row: row.due)}
    return [_decode(envelope) for envelope in envelopes.values()]


def run_all(*, ahead: timedelta = timedelta(0), rounds: int = 100, fail: bool = True) -> Story:
    """
    Drive after-commit handlers, outbox, consumers and sagas until nothing is left to do.

    Works inside a TestCase, where nothing is ever committed.

    Args:
        ahead: what is due by then is taken for due; what follows from it and has a due time as well is not.
        rounds: give up after so many; handlers that cause each other go round for ever.
        fail: raise if a consumer's handler failed or an event was refused; else they are in the story.

    Raises:
        AssertionError: see ``fail`` and ``rounds``.
    """
    story = Story()
    run(promoters(_aliases(), ahead=ahead), drain=True)
    _hurry_sagas(ahead)
    for _ in range(rounds):
        story.shipped += _waiting()
        if not _after_commit() + _ship() + _work() + _take_over():
            break
    else:
        raise AssertionError(f"run_all: after {rounds} rounds there is still something to do")
    story.failures = _failures()
    if fail and story.failures:
        raise AssertionError("run_all: " + "; ".join(story.failures))
    return story


def _ship() -> int:
    """Empty the outboxes, and return how many batches there were."""
    consumers(databases=_aliases())  # who write down what they want
    return run([*promoters(_aliases()), *relays(databases=_aliases())], drain=True)


def _work() -> int:
    """Let each consumer do a run per message that waits now; return how many did something."""
    waiting = sum(kind.objects.using(alias).count() for alias in _aliases() for kind in (Inbox, ParkedInbox))
    return sum(_steps(job, waiting) for job in consumers(databases=_aliases()))


def _steps(job: Job, most: int) -> int:
    done = 0
    while done < most + 1 and job.step():
        done += 1
    return done


def _take_over() -> int:
    """Run on the sagas whose time has come, and return how many there were."""
    mediator, here = project_mediator(), _aliases()
    names = [name for name in mediator.saga_definitions if mediator.saga_alias(name) in here]
    return sum(len(recover(mediator, saga=name)) for name in names)


def _hurry_sagas(ahead: timedelta) -> None:
    """Let times to wait, and pauses, be over that are so by then."""
    for alias in _aliases() if ahead else ():
        today: Any = now(alias)
        SagaWait.objects.using(alias).filter(ends__lte=today + ahead).update(ends=today)
        Saga.objects.using(alias).filter(due_at__lte=today + ahead, owner="").update(due_at=today)


def _after_commit() -> int:
    """Make the calls that wait for a commit, once each, and return how many there were."""
    made = 0
    for connection in connections.all(initialized_only=True):
        waiting = [entry for entry in connection.run_on_commit if isinstance(entry[1], AfterCommit)]
        connection.run_on_commit = [entry for entry in connection.run_on_commit if entry not in waiting]
        for entry in waiting:
            entry[1]()
        made += len(waiting)
    return made


def _waiting() -> list[Any]:
    envelopes: dict[Any, Envelope] = {}
    for alias in _aliases():
        with connections[alias].cursor() as cursor:
            cursor.execute(f"SELECT id, 0, {COLUMNS} FROM {Outbox._meta.db_table} ORDER BY id")
            records = cursor.fetchall()
        for record in records:
            envelope = read_row(dialect(alias), record, parked=False).envelope
            envelopes.setdefault(envelope.id, envelope)
    return [_decode(envelope) for envelope in envelopes.values()]


def _decode(envelope: Envelope) -> Any:
    mediator = project_mediator()
    try:
        return mediator.vocabulary.decode(envelope)
    except UnknownMessage:  # what is published for others need not have a handler here
        return mediator.vocabulary_of([Event]).decode(envelope)


def _failures() -> list[str]:
    parked = [f"{b.queue}: {b.error}" for alias in _aliases() for b in _blocked(alias)]
    dead = [f"{d.queue}: {d.reason}" for alias in _aliases() for d in Dead.objects.using(alias).order_by("id")]
    return list(dict.fromkeys(parked + dead))


def _blocked(alias: str) -> QuerySet[Blocked]:
    found: QuerySet[Blocked] = without_past_pauses(Blocked.objects.using(alias)).order_by("id")
    return found


def _aliases() -> list[str]:
    """Return the aliases that this test may use; a TestCase has only ``default`` unless its ``databases`` say more."""
    found = []
    for alias in aliases():
        with suppress(FORBIDDEN), connections[alias].cursor():
            found.append(alias)
    return found
