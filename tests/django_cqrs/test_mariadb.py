"""What outbox and inbox do on MariaDB only: rows as locks, limits of a session, and no help from the optimizer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
from attrs import evolve, frozen
from django.db import DatabaseError, OperationalError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from django_cqrs import DjangoMediator
from django_cqrs.databases import dialect
from django_cqrs.errors import TransactionBroken
from django_cqrs.inbox import DjangoInbox
from django_cqrs.models import Dead, Inbox, Lane, Outbox, Seen
from django_cqrs.queue import DjangoStorage
from simplecqrs import Command, NotificationEvent, Publish, Registry
from simplecqrs.queue import LANES, Row, lane_of
from simplecqrs.transport import Garbage
from tests.contracts.queue_harness import make
from tests.desk.models import Note

SERVER = "SELECT @@SESSION.idle_transaction_timeout"


@frozen
class Collide(Command[None]):
    """Runs into a deadlock."""


@frozen
class Collided(NotificationEvent):
    """Would be a ghost."""


def hold(storage: DjangoStorage, *, idle: float = 60, limit: int = LANES) -> Any:
    """Hold all lanes."""
    return storage.hold("shop", lanes=range(LANES), limit=limit, local=False, idle=idle)


def append(storage: DjangoStorage, *keys: str) -> None:
    """Append a row for each key, and commit."""
    with transaction.atomic():
        storage.append([("shop", lane_of(e), e) for e in (make(key=key) for key in keys)])


def first(storage: DjangoStorage) -> Row:
    """Return the first row."""
    with hold(storage) as held:
        row: Row = held.read(10, 10**6)[0]
        return row


def ask(sql: str) -> Any:
    """Return one value."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def in_thread(work: Callable[[], object]) -> threading.Thread:
    """Begin something on a connection of its own."""

    def run() -> None:
        try:
            work()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.needs("mariadb")
@pytest.mark.usefixtures("committed")
class TestMariaDB:
    """The database is MariaDB."""

    mariadb = connection.vendor == "mysql"

    @pytest.fixture
    def storage(self) -> DjangoStorage:
        return DjangoStorage("outbox", "default")

    def test_the_server_cuts_a_holder_that_does_nothing(self, storage: DjangoStorage) -> None:
        """Another one has its lanes after the idle limit; it is told that its connection is lost."""
        append(storage, "a")
        free: list[float] = []

        def wait() -> None:
            began = time.monotonic()
            while not free and time.monotonic() - began < 20:
                with hold(storage) as held:
                    if held is not None and held.read(10, 10**6):
                        free.append(time.monotonic() - began)

        with pytest.raises(OperationalError), hold(storage, idle=1) as held:
            in_thread(wait).join()
            held.done(held.read(10, 10**6))

        assert 0.5 < free[0] < 10
        assert Outbox.objects.count() == 1

    def test_a_session_has_its_own_limit_afterwards(self, storage: DjangoStorage) -> None:
        """Also after an exception: the project's transactions may idle as long as ever."""
        append(storage, "a")
        row = first(storage)
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION idle_transaction_timeout = 77")

        with hold(storage, idle=5.5):
            assert ask(SERVER) == 6
        with suppress(ZeroDivisionError), storage.take(row, idle=9) as ours:
            assert (ours, ask(SERVER)) == (True, 9)
            raise ZeroDivisionError
        with DjangoInbox("default").fetching("mailing", "orders"):
            assert ask(SERVER) == 15

        assert ask(SERVER) == 77

    def test_rows_of_lanes_are_made_when_they_are_needed(self, storage: DjangoStorage) -> None:
        """Also again: a table that somebody has emptied loses no work."""
        append(storage, "a")
        Lane.objects.all().delete()

        with hold(storage) as held:
            assert len(held.read(10, 10**6)) == 1
        Lane.objects.all().delete()
        row = first(storage)

        with storage.take(row, idle=9) as ours:
            assert ours

    def test_a_lane_that_is_taken_is_passed_over_for_one_that_is_free(self, storage: DjangoStorage) -> None:
        """Whoever wants one lane tries one after the other, and keeps none that it does not want."""
        append(storage, *map(str, range(50)))
        found: list[set[int]] = []

        def lanes(limit: int, *then: int) -> None:
            with hold(storage, limit=limit) as held:
                found.append({row.lane for row in held.read(1000, 10**6)})
                if then:
                    in_thread(lambda: lanes(*then)).join()

        lanes(3, 1, LANES)

        assert [len(some) for some in found[:2]] == [3, 1]
        assert sum(map(len, found)) == len(set().union(*found)) == len(set(Outbox.objects.values_list("lane")))

    def test_a_batch_may_be_larger_than_a_packet(self, storage: DjangoStorage) -> None:
        """The server takes 16 MiB in one statement; a batch of messages, some of which are large, is more."""
        assert ask("SELECT @@max_allowed_packet") == 16 * 1024 * 1024
        large = [evolve(make(key=str(n)), payload=b"'" * 1_000_000) for n in range(20)]

        with transaction.atomic():
            storage.append([("shop", lane_of(e), e) for e in large])
        with DjangoInbox("default").fetching("mailing", "orders"):
            DjangoInbox("default").bury("mailing", [Garbage("no id", e.payload) for e in large])

        assert Outbox.objects.count() == Dead.objects.count() == 20

    def test_new_rows_are_read_by_their_index(self, storage: DjangoStorage) -> None:
        """For ORDER BY id LIMIT n the optimizer would like to go through all of the table."""
        append(storage, *map(str, range(20)))
        with CaptureQueriesContext(connection) as queries, hold(storage) as held:
            assert len(held.read(10, 10**6)) == 10
        [read] = [query["sql"] for query in queries if "FORCE INDEX (cqrs_outbox_lane)" in query["sql"]]

        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {read}")
            columns = [column[0] for column in cursor.description]
            plan = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]

        used = [step for step in plan if step["table"] == "o" and step["type"] != "eq_ref"]  # by ids that were found
        assert [step["key"] for step in used] == ["cqrs_outbox_lane"] * LANES
        assert {step["type"] for step in used} <= {"ref", "range"}  # not "index", which is all of it

    def test_a_server_that_returns_nothing_from_inserts_is_asked_before(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As MySQL; and what somebody else inserts meanwhile is no loss but an error."""
        monkeypatch.setattr(connection.features, "can_return_columns_from_insert", False)
        speech, table = dialect("default"), Seen._meta.db_table
        key, columns = ("consumer", "source", "message_id"), ("consumer", "source", "message_id", "crc")
        rows = [("mailing", "web", speech.uuid_parameter(uuid4()), n) for n in range(3)]

        assert speech.insert_new(table, key, columns, rows[:2]) == [row[:3] for row in rows[:2]]
        assert speech.insert_new(table, key, columns, rows) == [rows[2][:3]]
        assert speech.insert_new(table, key, columns, rows) == []
        with pytest.raises(OperationalError, match="to be tried again"):
            speech.insert_new(table, key, columns, [("mailing", "web", speech.uuid_parameter(uuid4()), 1)] * 2)

    def test_a_transaction_that_a_deadlock_has_ended_is_not_committed(self) -> None:
        """Whoever catches the error and goes on would commit the second half of what was begun."""
        registry = Registry()
        one, two = (Note.objects.create(text=text).pk for text in ("one", "two"))
        both = threading.Barrier(2, timeout=20)

        @registry.handles(Collide)
        def collide(command: Collide, publish: Publish) -> None:
            publish(Collided())
            Note.objects.filter(pk=one).update(text="half")
            both.wait()
            with suppress(DatabaseError), connection.cursor() as cursor:
                cursor.execute("UPDATE desk_note SET text = 'half' WHERE id = %s", [two])

        def other() -> None:
            with transaction.atomic():
                Note.objects.bulk_create([Note(text="heavier, so that it is not the victim")] * 200)
                Note.objects.filter(pk=two).update(text="whole")
                both.wait()
                Note.objects.filter(pk=one).update(text="whole")

        thread = in_thread(other)
        with pytest.raises(TransactionBroken):
            DjangoMediator(registry).send(Collide())
        thread.join()

        assert {note.text for note in Note.objects.filter(pk__in=[one, two])} == {"whole"}
        assert not Outbox.objects.exists()
        assert not Inbox.objects.exists()
