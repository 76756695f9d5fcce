"""Commands in transactions, and events that share their fate."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest
from attrs import frozen
from django.db import DatabaseError, IntegrityError, connection, connections, transaction
from django.test import Client, TestCase, TransactionTestCase
from django.test.utils import CaptureQueriesContext

from django_cqrs import DjangoMediator, bus
from django_cqrs.errors import PublishedOutsideTransaction, TransactionBroken
from django_cqrs.models import Outbox
from django_cqrs.testing import published
from simplecqrs import Command, DomainEvent, NotificationEvent, Publish, Registry
from simplecqrs.errors import NotPublished
from tests.desk.messages import AuditSomething, AuditWritten, Broken, CloseTicket, OpenTicket, TicketOpened
from tests.desk.models import AuditEntry, Note, Ticket

#: Renamed in Django 6.1.
set_savepoint = getattr(transaction, "savepoint_create", None) or transaction.savepoint
POSTGRESQL = connection.vendor == "postgresql"
in_test_case = pytest.mark.django_db(databases=["default", "audit"])
committing = pytest.mark.usefixtures("committed")


@frozen
class Do(Command[None]):
    """Do what a test says."""

    name: str = "it"


@frozen
class DoInside(Command[None]):
    """Do something else, inside."""


@frozen
class AuditIt(Command[None], name="desk.AuditIt"):
    """Runs on the other alias."""


@frozen
class Happened(NotificationEvent):
    """For everybody."""

    what: str


@frozen
class Noted(DomainEvent):
    """For this process."""

    what: str


Work = Callable[[Publish], None]


class Desk:
    """A mediator whose commands do what a test says, and which remembers the events that were handled."""

    def __init__(self) -> None:
        self.work: dict[type[Command[None]], Work] = {}
        self.handled: list[str] = []
        registry = Registry()
        for command in (Do, DoInside, AuditIt):
            registry.add(command, self._doing(command))
        registry.add(Happened, self._handle)
        registry.add(Noted, self._handle)
        self.bus = DjangoMediator(registry)

    def _doing(self, kind: type[Command[None]]) -> Callable[[Command[None], Publish], None]:
        def handle(command: Command[None], publish: Publish) -> None:
            self.work[kind](publish)

        return handle

    def _handle(self, event: Happened | Noted) -> None:
        self.handled.append(event.what)

    def send(self, work: Work, *, inside: Work | None = None, audit: Work | None = None) -> None:
        """Send a command that does this work; the other two are done by those who send DoInside and AuditIt."""
        self.work = {Do: work, DoInside: inside or work, AuditIt: audit or work}
        self.bus.send(Do())


@pytest.fixture
def desk() -> Desk:
    """Return a desk of one's own."""
    return Desk()


def stored(alias: str = "default") -> list[str]:
    """Return what the stored events say, in their order."""
    rows = Outbox.objects.using(alias).order_by("id").values_list("payload", flat=True)
    return [bytes(payload).decode() for payload in rows]


def events(*texts: str) -> list[str]:
    """Return the payloads of events."""
    return [f'{{"what":"{text}"}}' for text in texts]


def failing(publish: Publish) -> None:
    """Publish, and fail."""
    publish(Happened("ghost"))
    raise ValueError("as asked")


# a command


@committing
def test_a_command_runs_in_a_transaction_on_its_alias(desk: Desk) -> None:
    """The default one, or the one that its name is routed to; committed when it returns."""
    seen: list[tuple[bool, bool]] = []

    def look(publish: Publish) -> None:
        seen.append((connections["default"].in_atomic_block, connections["audit"].in_atomic_block))

    desk.send(look)
    desk.bus.send(AuditIt())

    assert seen == [(True, False), (False, True)]
    assert not connection.in_atomic_block


@committing
def test_data_and_events_are_committed_together() -> None:
    """Another connection sees both, after send has returned."""
    ticket = bus.send(OpenTicket("printer"))

    seen: list[int] = []

    def look() -> None:
        seen.extend((Ticket.objects.filter(pk=ticket).count(), Outbox.objects.count()))
        connections.close_all()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [1, 1]


@committing
def test_a_command_that_fails_leaves_neither_data_nor_events() -> None:
    """The handler's own exception reaches the caller."""
    with pytest.raises(ValueError, match="as asked"):
        bus.send(Broken("raise"))

    assert Ticket.objects.count() == 0
    assert stored() == []


@committing
def test_an_event_handler_that_fails_fails_the_command(desk: Desk) -> None:
    """What is handled where it is published is part of the command."""
    registry = Registry()

    def work(command: Do, publish: Publish) -> None:
        Note.objects.create(text="work")
        publish(Noted("x"))
        publish(Happened("y"))

    def fail(event: Noted) -> None:
        raise ValueError(event.what)

    registry.add(Do, work)
    registry.add(Noted, fail)
    with pytest.raises(ValueError, match="x"):
        DjangoMediator(registry).send(Do())

    assert Note.objects.count() == 0
    assert stored() == []


@committing
def test_events_are_stored_in_the_order_in_which_they_were_published(desk: Desk) -> None:
    """Those of nested commands stand where these were sent."""

    def work(publish: Publish) -> None:
        publish(Happened("1"))
        desk.bus.send(DoInside())
        publish(Happened("3"))

    desk.send(work, inside=lambda publish: publish(Happened("2")))

    assert stored() == events("1", "2", "3")


@committing
def test_three_events_are_one_insert(desk: Desk) -> None:
    """A command with events costs one statement more than the bare one, and a wake-up after the commit."""

    def publish_three(publish: Publish) -> None:
        for what in "123":
            publish(Happened(what))

    with CaptureQueriesContext(connection) as bare:
        desk.send(lambda publish: None)
    with CaptureQueriesContext(connection) as three:
        desk.send(publish_three)

    after_commit = sum("notify" in query["sql"].lower() for query in three)
    assert len(three) - after_commit == len(bare) + 1
    assert after_commit <= 1
    assert sum("INSERT INTO" in query["sql"] and "cqrs_outbox" in query["sql"] for query in three) == 1
    assert stored() == events("1", "2", "3")


@committing
def test_more_than_a_thousand_events_are_stored_in_chunks(desk: Desk) -> None:
    """One INSERT per thousand: databases limit the parameters of a statement."""

    def publish_many(publish: Publish) -> None:
        for number in range(2001):
            publish(Happened(str(number)))

    with CaptureQueriesContext(connection) as queries:
        desk.send(publish_many)

    assert sum("INSERT INTO cqrs_outbox" in query["sql"] for query in queries) == 3
    assert stored() == events(*(str(number) for number in range(2001)))


@committing
def test_an_error_at_the_commit_takes_all_along(desk: Desk) -> None:
    """A constraint that is checked only then: no event, no after-commit handler, and the caller is told."""

    def orphan(publish: Publish) -> None:
        publish(Happened("ghost"))
        Note.objects.create(text="orphan", ticket_id=4711)

    with pytest.raises(IntegrityError):
        desk.send(orphan)

    assert stored() == []
    assert Note.objects.count() == 0
    assert connection.run_on_commit == []


# nested, and savepoints


@committing
def test_a_nested_command_is_a_savepoint(desk: Desk) -> None:
    """If it fails and somebody catches that, its data and its events are gone, and nothing else."""

    def work(publish: Publish) -> None:
        publish(Happened("before"))
        with suppress(ValueError):
            desk.bus.send(DoInside())
        publish(Happened("after"))
        Note.objects.create(text="kept")

    def inside(publish: Publish) -> None:
        Note.objects.create(text="lost")
        failing(publish)

    desk.send(work, inside=inside)

    assert stored() == events("before", "after")
    assert [note.text for note in Note.objects.all()] == ["kept"]
    assert desk.handled == ["before", "after"]


@committing
def test_events_of_a_savepoint_that_the_user_rolls_back_are_gone(desk: Desk) -> None:
    """They are neither stored nor handled, those around them are."""

    def work(publish: Publish) -> None:
        publish(Noted("before"))
        with suppress(ValueError), transaction.atomic():
            failing(publish)
        with transaction.atomic():
            publish(Happened("released"))

    desk.send(work)

    assert stored() == events("released")
    assert desk.handled == ["before", "released"]


@committing
def test_events_of_a_savepoint_that_is_rolled_back_by_hand_are_gone(desk: Desk) -> None:
    """By savepoint_rollback, by set_rollback, and by plain SQL; what was published before the savepoint stays."""

    def work(publish: Publish) -> None:
        publish(Happened("before"))
        savepoint = set_savepoint()
        publish(Happened("ghost"))
        transaction.savepoint_rollback(savepoint)
        with transaction.atomic():
            publish(Happened("another ghost"))
            transaction.set_rollback(True)
        with connection.cursor() as cursor:
            cursor.execute("SAVEPOINT mine")
            publish(Happened("a third ghost"))
            cursor.execute("ROLLBACK TO SAVEPOINT mine")
            publish(Happened("after"))
            cursor.execute("RELEASE SAVEPOINT mine")

    desk.send(work)

    assert stored() == events("before", "after")
    assert desk.handled == ["before", "after"]


@committing
def test_after_commit_handlers_of_a_command_that_is_rolled_back_by_hand_never_run(desk: Desk) -> None:
    """Django itself would run hooks that were registered inside of such a savepoint."""
    seen: list[str] = []
    registry = Registry()

    def work(command: Do, publish: Publish) -> None:
        savepoint = set_savepoint()
        mediator.send(DoInside())
        transaction.savepoint_rollback(savepoint)

    registry.add(Do, work)
    registry.add(DoInside, lambda command, publish: publish(Noted("ghost")))
    registry.add(Noted, lambda event: seen.append(event.what), after_commit=True)
    mediator = DjangoMediator(registry)
    mediator.send(Do())

    assert seen == []


@committing
def test_a_savepoint_inside_of_one_that_is_rolled_back_takes_its_events_along(desk: Desk) -> None:
    """Released savepoints belong to the one around them; so do nested commands that succeeded."""

    def work(publish: Publish) -> None:
        with suppress(ValueError), transaction.atomic():
            with transaction.atomic():
                publish(Happened("ghost"))
            desk.bus.send(DoInside())
            raise ValueError

    desk.send(work, inside=lambda publish: publish(Happened("nested ghost")))

    assert stored() == []


@committing
def test_what_an_event_handler_rolls_back_is_gone_as_well(desk: Desk) -> None:
    """Follow-up events are bound to savepoints like any other."""
    registry = Registry()

    def work(command: Do, publish: Publish) -> None:
        publish(Noted("x"))

    def follow_up(event: Noted, publish: Publish) -> None:
        with suppress(ValueError), transaction.atomic():
            failing(publish)
        publish(Happened("follow-up"))

    registry.add(Do, work)
    registry.add(Noted, follow_up)
    DjangoMediator(registry).send(Do())

    assert stored() == events("follow-up")


# transactions that were lost


@committing
def test_a_swallowed_database_error_is_not_answered_as_success() -> None:
    """Django has marked the transaction for rollback; plain Django would return the answer."""
    with pytest.raises(TransactionBroken, match=r"Broken.*with transaction.atomic"):
        bus.send(Broken("swallow"))

    assert Ticket.objects.count() == 0
    assert stored() == []


@committing
def test_an_inner_atomic_without_a_savepoint_breaks_the_transaction(desk: Desk) -> None:
    """It could not roll back its part alone."""

    def work(publish: Publish) -> None:
        publish(Happened("ghost"))
        with suppress(ValueError), transaction.atomic(savepoint=False):
            raise ValueError

    with pytest.raises(TransactionBroken):
        desk.send(work)

    assert stored() == []
    assert desk.handled == []


@committing
def test_a_nested_command_that_breaks_its_transaction_may_be_caught(desk: Desk) -> None:
    """Its savepoint is rolled back, and the command around it is sound."""

    def work(publish: Publish) -> None:
        with suppress(TransactionBroken):
            desk.bus.send(DoInside())
        Note.objects.create(text="kept")
        publish(Happened("kept"))

    def inside(publish: Publish) -> None:
        publish(Happened("ghost"))
        with suppress(IntegrityError):
            Note.objects.create(pk=1, text="x")
            Note(pk=1, text="x").save(force_insert=True)

    desk.send(work, inside=inside)

    assert stored() == events("kept")
    assert [note.text for note in Note.objects.all()] == ["kept"]


if POSTGRESQL:

    @committing
    def test_an_aborted_transaction_is_noticed_without_another_statement(desk: Desk) -> None:
        """The server turns the COMMIT into a ROLLBACK, without an error; Django does not know."""

        def work(publish: Publish) -> None:
            publish(Happened("ghost"))
            Note.objects.create(text="lost")
            with suppress(DatabaseError), connection.cursor() as cursor:
                cursor.execute("SELECT 1 / 0")

        with pytest.raises(TransactionBroken):
            desk.send(work)

        assert stored() == []
        assert Note.objects.count() == 0
        assert desk.handled == []


# inside of somebody else's transaction


@committing
def test_a_command_inside_of_somebodys_atomic_shares_its_fate() -> None:
    """It is a savepoint there, not committed when it returns."""
    with pytest.raises(ValueError, match="later"), transaction.atomic():
        bus.send(OpenTicket("one"))
        bus.send(OpenTicket("two"))
        assert len(published(TicketOpened)) == 2
        raise ValueError("later")

    assert Ticket.objects.count() == 0
    assert stored() == []


@committing
@pytest.mark.parametrize("atomic_requests", [True, False])
@pytest.mark.parametrize(
    ("then", "alone", "together"), [("raise", 1, 0), ("survive", 1, 1), ("", 1, 1)], ids=["raise", "survive", "return"]
)
def test_commands_of_a_view_with_atomic_requests_share_its_fate(
    monkeypatch: pytest.MonkeyPatch, then: str, alone: int, together: int, atomic_requests: bool
) -> None:
    """A view that raises takes along what its commands did; a command that it caught is gone alone."""
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", atomic_requests)
    Client(raise_request_exception=False).get("/open", {"then": then})

    expected = together if atomic_requests else alone
    assert [ticket.title for ticket in Ticket.objects.all()] == ["from a view"] * expected
    assert len(stored()) == expected


# the second alias


@committing
def test_events_are_stored_on_the_alias_of_their_command() -> None:
    """Where they share the transaction of the data."""
    bus.send(AuditSomething("x"))

    assert AuditEntry.objects.count() == 1
    assert (len(stored("audit")), len(stored("default"))) == (1, 0)
    assert published(AuditWritten) == [AuditWritten("x")]


@committing
def test_a_nested_command_on_the_other_alias_commits_on_its_own(desk: Desk) -> None:
    """There is no atomicity between aliases: what it did stays when the command around it fails."""

    def work(publish: Publish) -> None:
        publish(Happened("here"))
        desk.bus.send(AuditIt())
        raise ValueError("afterwards")

    with pytest.raises(ValueError, match="afterwards"):
        desk.send(work, audit=lambda publish: publish(Happened("there")))

    assert stored("audit") == events("there")
    assert stored("default") == []


# after the commit


@committing
def test_after_commit_handlers_run_after_the_commit() -> None:
    """In a transaction of their own, when the data is there for all."""
    seen: list[object] = []
    registry = Registry()

    def work(command: Do, publish: Publish) -> None:
        publish(Happened("x"))
        seen.append("handler")

    def after(event: Happened) -> None:
        seen.append((event.what, len(stored()), len(connection.savepoint_ids)))

    registry.add(Do, work)
    registry.add(Happened, after, after_commit=True)
    DjangoMediator(registry).send(Do())

    assert seen == ["handler", ("x", 1, 0)]


@committing
def test_after_commit_handlers_are_isolated_and_their_failures_logged(caplog: pytest.LogCaptureFixture) -> None:
    """What one of them raises reaches neither the caller nor the others, and takes its own writes along."""
    seen: list[str] = []
    registry = Registry()

    def fail(event: Happened) -> None:
        Note.objects.create(text="lost")
        raise ValueError(event.what)

    registry.add(Do, lambda command, publish: publish(Happened("oh")))
    registry.add(Happened, fail, after_commit=True)
    registry.add(Happened, lambda event: seen.append(event.what), after_commit=True)
    with caplog.at_level(logging.ERROR):
        DjangoMediator(registry).send(Do())

    assert seen == ["oh"]
    assert Note.objects.count() == 0
    assert "an after-commit handler of Happened failed" in caplog.text


@committing
def test_after_commit_handlers_of_what_was_rolled_back_never_run(desk: Desk) -> None:
    """Neither for a failed command nor for a savepoint."""
    seen: list[str] = []
    registry = Registry()

    def work(command: Do, publish: Publish) -> None:
        with suppress(ValueError), transaction.atomic():
            failing(publish)
        publish(Happened(command.name))
        if command.name == "bad":
            raise ValueError

    registry.add(Do, work)
    registry.add(Happened, lambda event: seen.append(event.what), after_commit=True)
    mediator = DjangoMediator(registry)
    with suppress(ValueError):
        mediator.send(Do("bad"))
    mediator.send(Do("good"))
    with suppress(ValueError), transaction.atomic():
        mediator.send(Do("good, but inside of what fails"))
        raise ValueError

    assert seen == ["good"]


@committing
def test_what_an_after_commit_handler_publishes_is_stored(desk: Desk) -> None:
    """It is a message of its own, with a transaction of its own."""
    registry = Registry()
    registry.add(Do, lambda command, publish: publish(Noted("x")))

    def after(event: Noted, publish: Publish) -> None:
        publish(Happened("afterwards"))

    registry.add(Noted, after, after_commit=True)
    DjangoMediator(registry).send(Do())

    assert stored() == events("afterwards")


# publish outside of a dispatch


@committing
def test_publishing_outside_of_a_transaction_is_refused() -> None:
    """The event could be lost, or a ghost; the error names it and the cure."""
    with pytest.raises(PublishedOutsideTransaction, match=r"TicketOpened.*'default'.*with transaction.atomic"):
        bus.publish(TicketOpened(1, "x"))

    assert stored() == []


@committing
def test_publishing_inside_of_a_transaction_handles_and_stores_the_event(desk: Desk) -> None:
    """As a message of its own, which shares the fate of the transaction."""
    with transaction.atomic():
        desk.bus.publish(Happened("true"))
    with suppress(ValueError), transaction.atomic():
        desk.bus.publish(Happened("ghost"))
        raise ValueError

    assert stored() == events("true")
    assert desk.handled == ["true", "ghost"]


@committing
def test_publishing_on_the_bus_inside_of_a_handler_joins_it(desk: Desk) -> None:
    """As the handler's own publish does."""

    def work(publish: Publish) -> None:
        with suppress(ValueError), transaction.atomic():
            desk.bus.publish(Happened("ghost"))
            raise ValueError
        desk.bus.publish(Happened("true"))

    desk.send(work)

    assert stored() == events("true")
    assert desk.handled == ["true"]


# threads


@committing
def test_each_thread_has_transactions_of_its_own(desk: Desk) -> None:
    """A unit of work belongs to a connection, that is an alias in a thread."""
    barrier = threading.Barrier(2)
    registry = Registry()

    def work(command: Do, publish: Publish) -> None:
        publish(Happened(f"{command.name} 1"))
        if connection.vendor != "sqlite":  # where one waits for the other
            barrier.wait(10)
        publish(Happened(f"{command.name} 2"))

    registry.add(Do, work)
    mediator = DjangoMediator(registry)

    def run(name: str) -> None:
        mediator.send(Do(name))
        connections.close_all()

    threads = [threading.Thread(target=run, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # Two INSERTs at once may take their ids in turn; each keeps its own order.
    assert [row for row in stored() if '"a ' in row] == events("a 1", "a 2")
    assert [row for row in stored() if '"b ' in row] == events("b 1", "b 2")


@committing
def test_a_publish_that_was_handed_to_another_thread_is_refused(desk: Desk) -> None:
    """That thread is in no transaction of ours."""
    caught: list[Exception] = []

    def work(publish: Publish) -> None:
        def elsewhere() -> None:
            try:
                publish(Happened("lost"))
            except NotPublished as error:
                caught.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()

    desk.send(work)

    assert len(caught) == 1
    assert stored() == []


# in tests


@in_test_case
def test_a_test_sees_what_a_command_has_published_although_nothing_is_committed() -> None:
    """In a TestCase's transaction the command is a savepoint."""
    ticket = bus.send(OpenTicket("printer"))
    with suppress(ValueError):
        bus.send(Broken("raise"))

    assert published() == [TicketOpened(ticket, "printer")]


@in_test_case
def test_no_hook_of_ours_stays_for_the_commit(django_capture_on_commit_callbacks: Callable[..., object]) -> None:
    """Whoever captures on_commit callbacks gets the after-commit handlers, and nothing of our book-keeping."""
    with django_capture_on_commit_callbacks() as callbacks:
        bus.send(OpenTicket("printer"))
    assert callbacks == []

    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        bus.send(CloseTicket(Ticket.objects.get().pk))
    assert len(callbacks) == 1
    assert Note.objects.filter(text__startswith="celebrated").count() == 1


class ATestCase(TestCase):
    """Django's own TestCase."""

    def test_events_are_stored_and_gone_with_the_test(self) -> None:
        """The next test finds nothing."""
        for _ in range(2):
            with suppress(ValueError):
                bus.send(Broken("raise"))
        bus.send(OpenTicket("printer"))
        assert len(published()) == 1

    def test_the_next_test_finds_nothing(self) -> None:
        """Whichever comes first."""
        self.test_events_are_stored_and_gone_with_the_test()

    def test_after_commit_handlers_run_if_asked_to(self) -> None:
        """By Django's own captureOnCommitCallbacks."""
        ticket = bus.send(OpenTicket("printer"))
        with self.captureOnCommitCallbacks(execute=True):
            bus.send(CloseTicket(ticket))
        assert Note.objects.filter(text=f"celebrated {ticket}").exists()


class ATransactionTestCase(TransactionTestCase):
    """Django's own TransactionTestCase."""

    def test_commands_are_committed(self) -> None:
        """After-commit handlers run by themselves."""
        ticket = bus.send(OpenTicket("printer"))
        bus.send(CloseTicket(ticket))
        assert not connection.in_atomic_block
        assert Note.objects.filter(text=f"celebrated {ticket}").exists()


@pytest.mark.django_db(transaction=True)
def test_commands_are_committed_in_a_transactional_test_of_pytest_django() -> None:
    """As outside of tests."""
    ticket = bus.send(OpenTicket("printer"))
    bus.send(CloseTicket(ticket))

    assert Note.objects.filter(text=f"celebrated {ticket}").exists()
