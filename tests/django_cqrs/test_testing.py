"""The helpers for a project's tests."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from attrs import frozen
from django.test import TestCase

from django_cqrs import bus
from django_cqrs.testing import published, run_all, scheduled
from simplecqrs import DomainEvent, NotificationEvent, Publish, Retry
from tests.desk.messages import (
    AuditSomething,
    AuditWritten,
    CloseTicket,
    OpenTicket,
    Remind,
    TicketClosed,
    TicketOpened,
)
from tests.desk.models import Note, Tally
from tests.desk.project import Project

HOUR = timedelta(hours=1)
in_test_case = pytest.mark.django_db(databases=["default", "audit"])


@frozen
class Moved(NotificationEvent, key="who"):
    """For everybody."""

    who: str
    step: int = 0


@frozen
class Settled(DomainEvent):
    """For this project."""

    who: str


@in_test_case
def test_published_lists_what_waits_in_the_outbox() -> None:
    """In the order in which it was published, on all aliases; only of a class if asked to."""
    one = bus.send(OpenTicket("one"))
    bus.send(AuditSomething("x"))
    bus.send(CloseTicket(one))

    assert published() == [TicketOpened(one, "one"), TicketClosed(one), AuditWritten("x")]
    assert published(TicketClosed) == [TicketClosed(one)]
    assert published(Moved) == []


@in_test_case
def test_run_all_drives_everything_to_its_end() -> None:
    """After-commit handlers, outbox, consumers and deferred commands; it tells what was shipped."""
    ticket = bus.send(OpenTicket("one"))
    bus.send(CloseTicket(ticket))
    bus.defer(Remind(ticket, "later"))

    story = run_all()

    assert story.shipped == [TicketOpened(ticket, "one"), TicketClosed(ticket)]
    assert story.failures == []
    assert {tally.name: tally.n for tally in Tally.objects.all()} == {"TicketOpened": 1, "TicketClosed": 1}
    assert {note.text for note in Note.objects.all()} >= {f"celebrated {ticket}", f"remind {ticket} later"}
    assert published() == []


@in_test_case
def test_run_all_takes_for_due_what_is_due_by_then() -> None:
    """And what is due already; what follows from it waits for its own time."""
    bus.defer(Remind(1, "now"), due=-HOUR)
    bus.defer(Remind(1, "tomorrow"), due=24 * HOUR)
    bus.defer(Remind(1, "soon"), due=HOUR)
    assert scheduled() == [Remind(1, "now"), Remind(1, "soon"), Remind(1, "tomorrow")]

    run_all()
    assert scheduled() == [Remind(1, "soon"), Remind(1, "tomorrow")]
    run_all(ahead=2 * HOUR)

    assert scheduled() == [Remind(1, "tomorrow")]
    assert [note.text for note in Note.objects.order_by("id")] == ["remind 1 now", "remind 1 soon"]


@in_test_case
def test_a_handler_that_defers_itself_comes_to_its_end(project: Project) -> None:
    """Each run_all moves it once, however far ahead it looks."""
    seen: list[int] = []

    def again(command: Remind) -> None:
        seen.append(command.ticket_id)
        project.bus.defer(Remind(command.ticket_id + 1), due=HOUR)

    project.registry.add(Remind, again)
    project.bus.defer(Remind(1), due=HOUR)

    run_all(ahead=24 * HOUR)
    run_all(ahead=24 * HOUR)

    assert seen == [1, 2]


@in_test_case
def test_run_all_does_nothing_twice() -> None:
    """Called again, it finds nothing."""
    bus.send(OpenTicket("one"))
    run_all()

    assert run_all().shipped == []
    assert Tally.objects.get().n == 1


@in_test_case
def test_run_all_raises_with_the_reason_of_what_failed() -> None:
    """A test is not to pass because a consumer failed unseen; all attempts are made where no time has to pass."""
    bus.send(OpenTicket("to fail"))

    with pytest.raises(AssertionError, match="run_all: tally: ValueError: to fail"):
        run_all()


@in_test_case
def test_failures_may_be_part_of_the_story() -> None:
    """For a test of failures."""
    bus.send(OpenTicket("to fail"))
    bus.send(OpenTicket("fine"))

    assert run_all(fail=False).failures == ["tally: ValueError: to fail"]
    assert Tally.objects.get().n == 1


@in_test_case
def test_what_is_to_be_tried_later_is_a_failure_now(project: Project) -> None:
    """run_all waits for nothing."""

    def fail(event: Moved, publish: Publish) -> None:
        raise ValueError("not yet")

    project.consume(Moved, consumer="one", work=fail, retry=Retry(5, first=60))
    project.publish(Moved("ada"))

    with pytest.raises(AssertionError, match="one: ValueError: not yet"):
        run_all()
    assert project.seen == ["one ada0"]


@in_test_case
def test_what_consumers_cause_is_driven_as_well(project: Project) -> None:
    """Round by round."""
    project.consume(Moved, consumer="one", work=lambda event, publish: publish(Settled(event.who)))
    project.consume(Settled, consumer="two")
    project.publish(Moved("ada"))

    story = run_all()

    assert story.shipped == [Moved("ada"), Settled("ada")]
    assert project.seen == ["one ada0", "two ada"]


@in_test_case
def test_run_all_gives_up_on_handlers_that_go_round_for_ever(project: Project) -> None:
    """After so many rounds."""

    def again(event: Moved, publish: Publish) -> None:
        publish(Moved(event.who, event.step + 1))

    project.consume(Moved, consumer="one", work=again)
    project.publish(Moved("ada"))

    with pytest.raises(AssertionError, match="after 3 rounds there is still something to do"):
        run_all(rounds=3)


class OneDatabase(TestCase):
    """A TestCase has the alias default only, unless its databases say more."""

    def test_the_helpers_look_no_further(self) -> None:
        """They touch no alias that the test may not touch."""
        bus.send(OpenTicket("one"))

        assert len(published()) == 1
        assert len(run_all().shipped) == 1
        assert Tally.objects.get().n == 1


@pytest.mark.django_db(transaction=True, databases=["default", "audit"])
def test_the_helpers_work_where_tests_commit() -> None:
    """As a TransactionTestCase does."""
    ticket = bus.send(OpenTicket("one"))
    bus.send(CloseTicket(ticket))

    assert len(run_all().shipped) == 2
    assert Note.objects.filter(text=f"celebrated {ticket}").count() == 1


@in_test_case
def test_subscriptions_of_consumers_survive_what_other_tests_flush(django_user_model: Any) -> None:
    """After a test that flushes, they are written anew."""
    bus.send(OpenTicket("one"))
    run_all()

    assert Tally.objects.get().n == 1
