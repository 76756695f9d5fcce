"""Messages that a consumer handles together in one transaction, and what a failure of one of them takes back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from attrs import frozen
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from django_cqrs.consumers import consumers
from django_cqrs.errors import TransactionBroken
from django_cqrs.models import Blocked, Outbox, ParkedInbox
from simplecqrs import Command, DomainEvent, NotificationEvent, Publish
from simplecqrs.queue import DEFERRED
from tests.desk.models import Note
from tests.desk.project import Project

pytestmark = pytest.mark.usefixtures("committed")


@frozen
class Moved(NotificationEvent, topic="moves", key="who"):
    """For everybody."""

    who: str
    step: int = 0


@frozen
class Settled(DomainEvent):
    """For this project."""

    who: str


@frozen
class Walk(Command[None]):
    """Is deferred."""

    step: int


@pytest.fixture
def batches(settings: Any) -> None:
    """Let the consumers handle up to ten messages together."""
    together = {"batch": 10}
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "CONSUMERS": {"walkers": together, DEFERRED: together}}


@pytest.fixture
def called() -> list[int]:
    """Return the steps that were told of after a commit."""
    return []


@pytest.fixture
def walk(project: Project, called: list[int], batches: None) -> Callable[[Callable[[int], None]], None]:
    """Let a consumer's handler write, publish and promise a call, and then do something at each step; five steps."""

    def let(at: Callable[[int], None]) -> None:
        def work(event: Moved, publish: Publish) -> None:
            Note.objects.create(text=f"step {event.step}")
            publish(Settled(f"step {event.step}"))
            transaction.on_commit(lambda: called.append(event.step))
            at(event.step)

        project.consume(Moved, consumer="walkers", work=work)
        project.consume(Settled, consumer="others")
        project.publish(*(Moved("ada", step) for step in range(1, 6)))
        project.ship()
        project.work("walkers")

    return let


def notes() -> list[str]:
    """Return what was written, in its order."""
    return list(Note.objects.order_by("id").values_list("text", flat=True))


def test_a_batch_is_one_transaction_without_savepoints(project: Project, batches: None) -> None:
    """Per message there is only what its handler does."""
    project.consume(Moved, consumer="walkers", work=lambda event, _: Note.objects.create(text=f"step {event.step}"))
    project.publish(*(Moved("ada", step) for step in range(1, 6)))
    project.ship()

    [worker] = consumers("walkers")
    with CaptureQueriesContext(connection) as captured:
        settled = worker.step()

    statements = [query["sql"] for query in captured.captured_queries]
    assert settled == sum(statement.startswith("INSERT INTO") and "step " in statement for statement in statements) == 5
    assert not [statement for statement in statements if "SAVEPOINT" in statement]
    assert notes() == [f"step {step}" for step in range(1, 6)]


def test_a_failure_takes_back_all_and_counts_for_itself_alone(
    project: Project, walk: Callable[..., None], called: list[int]
) -> None:
    """Effects, published events and calls after the commit of the others happen once."""

    def stumble(step: int) -> None:
        if step == 3:
            raise ValueError("stumbled")

    walk(stumble)

    assert notes() == ["step 1", "step 2"]
    assert Outbox.objects.filter(name="Settled").count() == 2
    assert called == [1, 2]
    assert project.seen == [f"walkers ada{step}" for step in (1, 2, 3, 1, 2, 3)]
    blocked = Blocked.objects.get()
    assert (blocked.error, blocked.attempts) == ("ValueError: stumbled", 1)
    assert ParkedInbox.objects.count() == 3


def test_what_failed_among_others_only_is_handled_and_counts_no_attempt(
    walk: Callable[..., None], called: list[int]
) -> None:
    """All are handled one by one, in their order."""
    errors = [ValueError("once")]

    def stumble(step: int) -> None:
        if step == 3 and errors:
            raise errors.pop()

    walk(stumble)

    assert notes() == [f"step {step}" for step in range(1, 6)]
    assert Outbox.objects.filter(name="Settled").count() == 5
    assert called == [1, 2, 3, 4, 5]
    assert not Blocked.objects.exists()


def test_a_database_error_that_a_handler_swallows_takes_no_other_message_along(
    walk: Callable[..., None], called: list[int]
) -> None:
    """The transaction is lost to all of them; by itself, only that message fails."""

    def swallow(step: int) -> None:
        if step == 3:
            with suppress(DatabaseError):
                Note.objects.create(id=Note.objects.latest("id").id, text="twice")

    walk(swallow)

    assert notes() == ["step 1", "step 2"]
    assert Outbox.objects.filter(name="Settled").count() == 2
    assert called == [1, 2]
    assert Blocked.objects.get().error.startswith(TransactionBroken.__name__)


def test_after_commit_handlers_run_once_and_only_for_what_is_committed(project: Project, batches: None) -> None:
    """Not for what a batch has taken back."""
    told: list[str] = []

    def walk(event: Moved, publish: Publish) -> None:
        publish(Settled(f"step {event.step}"))
        if event.step == 3:
            raise ValueError("stumbled")

    project.consume(Moved, consumer="walkers", work=walk)
    project.registry.add(Settled, lambda event: told.append(event.who), after_commit=True)
    project.publish(*(Moved(f"walker {step}", step) for step in range(1, 6)))
    project.ship()
    project.work("walkers")

    assert sorted(told) == [f"step {step}" for step in (1, 2, 4, 5)]


@pytest.mark.parametrize("together", [1, 10])
def test_a_command_whose_error_a_middleware_swallows_has_failed(project: Project, settings: Any, together: int) -> None:
    """What it wrote is rolled back, whoever says that all is well; it is not to come again for ever."""
    settings.DJANGO_CQRS = {
        **settings.DJANGO_CQRS,
        "CONSUMERS": {DEFERRED: {"batch": together}},
        "MIDDLEWARES": [f"{__name__}.swallowing"],
    }

    def walk(command: Walk) -> None:
        Note.objects.create(text=f"step {command.step}")
        if command.step == 3:
            raise ValueError("stumbled")

    project.registry.add(Walk, walk)
    with transaction.atomic():
        for step in range(1, 6):
            project.bus.defer(Walk(step), key="ada")
    project.work(DEFERRED)

    assert notes() == ["step 1", "step 2"]
    assert Blocked.objects.get().error.startswith(TransactionBroken.__name__)


def swallowing(message: Any, call_next: Callable[[Any], Any]) -> Any:
    """Let nobody know of a ValueError; a middleware."""
    try:
        return call_next(message)
    except ValueError:
        return None
