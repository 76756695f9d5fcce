"""Queries do not write; commands do not write through another alias."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from attrs import frozen
from django.contrib.sessions.backends.db import SessionStore
from django.core.cache import caches
from django.core.management import call_command
from django.db import connection, connections

from django_cqrs import DjangoMediator, bus
from django_cqrs.errors import QueryWrote, WroteElsewhere
from django_cqrs.guards import writes_to
from simplecqrs import Command, NotificationEvent, Query, Registry
from simplecqrs.errors import NotPublished
from tests.desk.messages import AuditSomething, Broken, CountTickets, OpenTicket, Remind
from tests.desk.models import AuditEntry, Note, Ticket

POSTGRESQL = connection.vendor == "postgresql"
committing = pytest.mark.usefixtures("committed")


@frozen
class Ask(Query[None]):
    """Does what a test says."""


@frozen
class AskAudit(Query[None], name="desk.AuditAsk"):
    """Is asked on the other alias."""


@frozen
class Do(Command[None]):
    """Does what a test says."""


@frozen
class Happened(NotificationEvent):
    """For everybody."""


def asking(work: Callable[[], object], kind: type[Query[None]] = Ask) -> DjangoMediator:
    """Return a mediator whose query does this work."""
    registry = Registry()
    registry.add(kind, lambda query: work())
    return DjangoMediator(registry)


def guard(settings: Any, **modes: str) -> None:
    """Set QUERY_GUARD or ALIAS_GUARD."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, **modes}


@pytest.mark.parametrize(
    ("sql", "table"),
    [
        ('SELECT "a" FROM b', None),
        ("  (SELECT 1) UNION (SELECT 2)", None),
        ("/* who asked */ SELECT 1", None),
        ("-- DELETE FROM a\nSELECT 1", None),
        ("WITH a AS (SELECT 1) SELECT * FROM a", None),
        ("SAVEPOINT x", None),
        ("", None),
        ('INSERT INTO "desk_note" ("text") VALUES (%s)', "desk_note"),
        ("INSERT IGNORE INTO `desk_note` (`text`) VALUES (%s)", "desk_note"),
        ("insert or ignore into desk_note values (1)", "desk_note"),
        ("UPDATE desk_note SET text = 'SELECT'", "desk_note"),
        ("DELETE FROM `desk_note`", "desk_note"),
        ("WITH a AS (DELETE FROM desk_note RETURNING *) SELECT * FROM a", "desk_note"),
        ("/* who */ DELETE FROM desk_note", "desk_note"),
        ("TRUNCATE desk_note", "TRUNCATE"),
        ("DROP TABLE desk_note", "DROP"),
    ],
)
def test_a_write_is_told_by_the_text_of_its_statement(sql: str, table: str | None) -> None:
    """By its table if it names one."""
    assert writes_to(sql) == table


# queries


@committing
def test_a_query_that_writes_is_an_error_that_names_it_and_the_cure() -> None:
    """Nothing is written."""
    with pytest.raises(QueryWrote, match=r"CountTickets is a query.*wrote to desk_note; make it a command"):
        bus.send(CountTickets(write=True))

    assert Note.objects.count() == 0
    assert bus.send(CountTickets()) == 0


@committing
def test_it_may_be_logged_instead(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    """For the time in which a project is cleaned up."""
    guard(settings, QUERY_GUARD="log")
    with caplog.at_level(logging.WARNING):
        bus.send(CountTickets(write=True))

    assert "CountTickets is a query" in caplog.text
    assert Note.objects.count() == 1


@committing
def test_it_may_be_allowed(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The guard is off."""
    guard(settings, QUERY_GUARD="off")
    bus.send(CountTickets(write=True))

    assert caplog.text == ""
    assert Note.objects.count() == 1


@committing
def test_the_guard_does_not_depend_on_debug(settings: Any) -> None:
    """What fails in production fails on the developer's machine."""
    settings.DEBUG = True

    with pytest.raises(QueryWrote):
        bus.send(CountTickets(write=True))


@committing
def test_a_query_writes_through_no_alias_and_defers_nothing() -> None:
    """Nor does it command others to write."""
    for work in (
        lambda: AuditEntry.objects.create(text="x"),
        lambda: bus.defer(Remind(1)),
        lambda: bus.send(OpenTicket("x")),
    ):
        with pytest.raises((QueryWrote, NotPublished)):
            asking(work).send(Ask())

    assert Ticket.objects.count() == AuditEntry.objects.count() == 0


@committing
def test_after_a_query_everything_may_be_written_again() -> None:
    """The guard ends with the query."""
    with pytest.raises(QueryWrote):
        bus.send(CountTickets(write=True))

    bus.send(OpenTicket("x"))
    assert Ticket.objects.count() == 1


@pytest.mark.django_db
def test_sessions_and_database_caches_are_exempt(settings: Any) -> None:
    """Reading a page writes to them."""
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "my_cache"},
    }
    call_command("createcachetable")

    def work() -> None:
        session = SessionStore()
        session["a"] = 1
        session.save()
        caches["default"].set("a", 1)

    asking(work).send(Ask())


if POSTGRESQL:

    @committing
    def test_the_database_itself_can_refuse(settings: Any) -> None:
        """Then even a function that writes is seen; reading goes on as ever."""
        guard(settings, QUERY_GUARD="database")

        def select() -> None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT setval(pg_get_serial_sequence('desk_note', 'id'), 100)")

        with pytest.raises(QueryWrote, match=r"Ask is a query.*read-only transaction"):
            asking(select).send(Ask())
        assert bus.send(CountTickets()) == 0

    @committing
    def test_the_database_refuses_on_the_alias_of_the_query(settings: Any) -> None:
        """As the setting DATABASES says, by its name."""
        guard(settings, QUERY_GUARD="database")
        seen: list[str] = []

        def look() -> None:
            for alias in ("default", "audit"):
                with connections[alias].cursor() as cursor:
                    cursor.execute("SHOW transaction_read_only")
                    seen.append(cursor.fetchone()[0])

        asking(look, AskAudit).send(AskAudit())

        assert seen == ["off", "on"]

    @committing
    def test_statements_that_psycopg_composes_are_understood() -> None:
        """They are no strings."""
        from psycopg import sql

        def work(statement: str) -> Callable[[], None]:
            def run() -> None:
                with connection.cursor() as cursor:
                    cursor.execute(sql.SQL(statement).format(sql.Identifier("desk_note")))

            return run

        asking(work("SELECT * FROM {}")).send(Ask())
        with pytest.raises(QueryWrote, match="desk_note"):
            asking(work("DELETE FROM {}")).send(Ask())


# commands


@committing
def test_a_command_that_writes_through_another_alias_is_an_error() -> None:
    """It would not be part of its transaction; the error names both and the cure."""
    with pytest.raises(
        WroteElsewhere, match=r"Broken runs .* on 'default'.*desk_auditentry through 'audit'.*DATABASES"
    ):
        bus.send(Broken("elsewhere"))

    assert Ticket.objects.count() == AuditEntry.objects.count() == 0


@committing
@pytest.mark.parametrize(("mode", "complaints"), [("log", 1), ("off", 0)])
def test_writing_elsewhere_may_be_logged_or_allowed(
    settings: Any, caplog: pytest.LogCaptureFixture, mode: str, complaints: int
) -> None:
    """For projects that know what they do."""
    guard(settings, ALIAS_GUARD=mode)
    with caplog.at_level(logging.WARNING):
        bus.send(Broken("elsewhere"))

    assert caplog.text.count("Broken runs in a transaction on 'default'") == complaints
    assert AuditEntry.objects.count() == 1


@committing
def test_a_nested_command_on_the_other_alias_is_that_aliass_own() -> None:
    """It commits on its own; before and after it, the command around it is guarded."""
    registry = Registry()

    def work(command: Do) -> None:
        bus.send(AuditSomething("nested"))
        AuditEntry.objects.create(text="mine")

    registry.add(Do, work)
    with pytest.raises(WroteElsewhere, match="Do runs"):
        DjangoMediator(registry).send(Do())

    assert [entry.text for entry in AuditEntry.objects.all()] == ["nested"]


@committing
def test_reading_through_another_alias_is_fine() -> None:
    """It changes nothing."""
    registry = Registry()
    registry.add(Do, lambda command: AuditEntry.objects.count() + Note.objects.using("default").count())

    DjangoMediator(registry).send(Do())
