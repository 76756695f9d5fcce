"""Idempotency keys in the project's databases."""

from __future__ import annotations

import signal
import subprocess
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from attrs import frozen
from django.db import IntegrityError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from django_cqrs import DjangoMediator, bus
from django_cqrs.consumers import consumers
from django_cqrs.errors import TransactionBroken
from django_cqrs.loops import run
from django_cqrs.models import Idempotency, Inbox, Scheduled
from simplecqrs import Command, Mediator, Registry
from simplecqrs.errors import IdempotencyKeyReused, InvalidMessage
from simplecqrs.pipeline import Middleware
from tests.contracts.idempotency import IdempotencyContract, Pay, Shop
from tests.desk.messages import AuditSomething, Broken, OpenTicket, Remind
from tests.desk.models import AuditEntry, Note, Ticket
from tests.desk.processes import PATIENCE, start, until

pytestmark = pytest.mark.usefixtures("committed")


class TestDjangoIdempotency(IdempotencyContract):
    """Keys in a table."""

    parallel = connection.vendor != "sqlite"

    @pytest.fixture
    def shop(self, settings: Any) -> Shop:
        """Return a shop that writes notes."""
        settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "IDEMPOTENCY_WAIT": self.patience}

        def bus(registry: Registry, middlewares: tuple[Middleware, ...]) -> Mediator:
            mediator = DjangoMediator(registry)
            mediator.configure()
            mediator._middlewares = (*middlewares, *mediator._middlewares)
            mediator.configure = lambda: None  # type: ignore[method-assign]
            return mediator

        return Shop(bus, lambda text: Note.objects.create(text=text), self._written)

    @pytest.fixture
    def impatient(self, shop: Shop, settings: Any) -> Mediator:
        """Return a mediator of the shop."""
        settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "IDEMPOTENCY_WAIT": 0.1}
        return shop.bus()

    def _written(self) -> list[str]:
        return list(Note.objects.order_by("id").values_list("text", flat=True))

    def close(self) -> None:
        """Close the thread's connections."""
        connections.close_all()

    def until_waiting(self, number: int) -> None:
        """Ask the database."""
        if connection.vendor in WAITING:
            until(lambda: asked(WAITING[connection.vendor])[0] == number)


#: How many transactions wait for another one.
WAITING = {
    "postgresql": (
        "SELECT COUNT(*) FROM pg_locks WHERE NOT granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = CURRENT_DATABASE())"
    ),
    "mysql": (
        "SELECT COUNT(*) FROM information_schema.processlist"
        " WHERE db = DATABASE() AND info LIKE 'SET STATEMENT innodb_lock_wait_timeout%'"
    ),
}
#: How long a statement waits for a lock.
LIMITS = {"postgresql": "SHOW lock_timeout", "mysql": "SELECT @@SESSION.innodb_lock_wait_timeout"}


def asked(sql: str) -> tuple[Any, ...]:
    """Return the first row."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        row: tuple[Any, ...] = cursor.fetchone()
        return row


def shop_of_one() -> DjangoMediator:
    """Return a mediator that knows one command."""
    registry = Registry()
    registry.add(Pay, lambda command: 1)
    return DjangoMediator(registry)


@pytest.mark.parametrize("concurrent", ["wait", "raise"])
def test_the_limit_is_that_of_the_key_alone(concurrent: Any) -> None:
    """Statements of the handler have the project's own."""
    limit = LIMITS.get(connection.vendor, "PRAGMA busy_timeout")
    seen: list[Any] = []
    registry = Registry()
    registry.add(Pay, lambda command: seen.append(asked(limit)) or 1)
    before = asked(limit)

    DjangoMediator(registry).send(Pay("book"), idempotency_key="k", concurrent=concurrent)

    assert [*seen, asked(limit)] == [before, before]


def test_it_costs_two_statements() -> None:
    """Where nobody else has the key: one to claim it, one to keep the answer; a repeat asks for that."""
    own = shop_of_one()
    own.send(Pay("warm"), idempotency_key="warm")

    def statements() -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            own.send(Pay("book"), idempotency_key="k")
        words = [query["sql"].split()[0] for query in captured]
        return [word for word in words if word not in ("BEGIN", "COMMIT")]

    insert = "SET" if connection.vendor == "mysql" else "INSERT"
    assert statements() == [insert, "UPDATE"]
    assert statements() == [insert, *["SELECT"] * (2 if connection.vendor == "postgresql" else 1)]


def test_the_key_is_where_its_command_is() -> None:
    """On the alias of its transaction."""
    for _ in range(2):
        bus.send(AuditSomething("written"), idempotency_key="k")

    assert AuditEntry.objects.count() == 1
    assert [Idempotency.objects.using(alias).count() for alias in ("default", "audit")] == [0, 1]


def test_the_key_shares_the_fate_of_the_transaction_around_it() -> None:
    """Which may be that of a request."""
    with pytest.raises(IntegrityError), transaction.atomic():
        bus.send(OpenTicket("printer"), idempotency_key="k")
        raise IntegrityError
    assert (Ticket.objects.count(), Idempotency.objects.count()) == (0, 0)

    with transaction.atomic():
        ticket = bus.send(OpenTicket("printer"), idempotency_key="k")

    assert bus.send(OpenTicket("printer"), idempotency_key="k") == ticket == Ticket.objects.get().pk


def test_a_broken_transaction_is_told_as_ever() -> None:
    """Its answer is not what fails, and it leaves no key."""
    Ticket.objects.create(title="broken swallow")

    with pytest.raises((TransactionBroken, IntegrityError)):
        bus.send(Broken("swallow"), idempotency_key="k")

    assert Idempotency.objects.count() == 0


def test_a_transaction_that_was_given_up_keeps_no_answer() -> None:
    """Somebody has caught the error of the database."""

    def swallow(command: Pay) -> int:
        with suppress(IntegrityError):
            Ticket.objects.create(title="printer")
        transaction.set_rollback(True)
        return 1

    registry = Registry()
    registry.add(Pay, swallow)

    with pytest.raises(TransactionBroken):
        DjangoMediator(registry).send(Pay("book"), idempotency_key="k")

    assert (Ticket.objects.count(), Idempotency.objects.count()) == (0, 0)


# Deferred commands


@pytest.mark.parametrize("due", [None, timedelta(days=-1)], ids=["at once", "due"])
def test_a_deferred_command_is_stored_once(due: timedelta | None) -> None:
    """However often it is deferred under its key; without one it is stored again."""
    for key in ("k", "k", "other", None):
        bus.defer(Remind(1, "later"), due=due, idempotency_key=key)
    assert Inbox.objects.count() + Scheduled.objects.count() == 3

    with pytest.raises(IdempotencyKeyReused, match=r"deferred desk\.Remind was used before with other content"):
        bus.defer(Remind(1, "sooner"), idempotency_key="k")
    with pytest.raises(IdempotencyKeyReused, match=r"used before by deferred desk\.Remind"):
        bus.send(Remind(1, "later"), idempotency_key="k")


@frozen
class Lengthy(Command[None], name="desk." + "x" * 195):
    """Has the longest name that there may be."""


def test_a_deferred_command_may_have_the_longest_name() -> None:
    """That it was deferred is told as well."""
    registry = Registry()
    registry.add(Lengthy, lambda command: None)
    own = DjangoMediator(registry)

    for _ in range(2):
        own.defer(Lengthy(), idempotency_key="k")

    assert Inbox.objects.count() == 1


def test_a_deferred_command_that_is_not_committed_has_no_key() -> None:
    """It was never stored; one that has been handled is not stored again."""
    with pytest.raises(IntegrityError), transaction.atomic():
        bus.defer(Remind(1, "later"), idempotency_key="k")
        raise IntegrityError
    with pytest.raises(InvalidMessage):
        bus.defer(Remind(1, "later"), idempotency_key="")
    assert Idempotency.objects.count() == 0

    for _ in range(2):
        bus.defer(Remind(1, "later"), idempotency_key="k")
        run(consumers("deferred"), drain=True)

    assert [note.text for note in Note.objects.all()] == ["remind 1 later"]


# Processes


SENDS = """
import django
django.setup()
import os, signal, sys
from django_cqrs import bus
from tests.desk.messages import OpenTicket
sys.stdin.readline()
answer = bus.send(OpenTicket("printer"), idempotency_key="k")
if sys.argv[1:] == ["die"]:
    os.kill(os.getpid(), signal.SIGKILL)
print("answer", answer, flush=True)
"""


def sending(*arguments: str) -> subprocess.Popen[str]:
    """Start a process that sends a command once it is told to."""
    return start("-c", SENDS, *arguments, stdin=subprocess.PIPE)


@pytest.mark.processes
def test_a_process_that_dies_between_commit_and_answer_has_done_it_once() -> None:
    """Whoever sends it again gets the answer that nobody has heard."""
    died = sending("die")
    assert died.communicate("go\n", PATIENCE)[0] == ""
    assert died.returncode == -signal.SIGKILL
    ticket = Ticket.objects.get()

    assert bus.send(OpenTicket("printer"), idempotency_key="k") == ticket.pk

    assert Ticket.objects.count() == 1


@pytest.mark.processes
def test_of_several_processes_one_does_it_and_all_get_its_answer() -> None:
    """They begin together."""
    crowd = [sending() for _ in range(3)]
    for process in crowd:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()

    said = {process.communicate(timeout=PATIENCE)[0] for process in crowd}

    assert said == {f"answer {Ticket.objects.get().pk}\n"}
