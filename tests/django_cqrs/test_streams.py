"""Streams, fallbacks and parallel handlers on real databases."""

from __future__ import annotations

import resource
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from django.db import connection, connections, transaction
from django.test import TestCase

from django_cqrs import DjangoMediator
from django_cqrs.errors import InsideTransaction, QueryWrote
from django_cqrs.models import Outbox
from simplecqrs import NOT_MINE, Command, DomainEvent, NotificationEvent, Publish, Registry, Stream, chain, fallback
from simplecqrs.errors import NotPublished
from tests.desk.models import Note

POSTGRESQL = connection.vendor == "postgresql"
SERIES = "SELECT n FROM generate_series(1, %s) AS n"
COUNTING = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < %s) SELECT n FROM t"
committing = pytest.mark.usefixtures("committed")


@frozen
class Import(Stream[int]):
    """Writes notes."""

    number: int = 3


@frozen
class Write(Command[None]):
    """Writes one note."""

    text: str


@frozen
class Written(NotificationEvent):
    """Goes out."""

    number: int


@frozen
class Noted(DomainEvent):
    """Is handled after the commit."""


class Failure(Exception):
    """What a handler raises."""


def texts() -> list[str]:
    """Return the notes that are there."""
    return [*Note.objects.order_by("id").values_list("text", flat=True)]


def importing(fail_at: int | None = None) -> Callable[..., Any]:
    """Make a handler that writes and publishes for each item."""

    def handler(stream: Import, publish: Publish) -> Iterator[int]:
        for number in range(stream.number):
            Note.objects.create(text=str(number))
            publish(Written(number))
            if number == fail_at:
                raise Failure
            yield number

    return handler


@pytest.fixture
def registry() -> Registry:
    """Register what writes one note."""
    registry = Registry()
    registry.add(Write, lambda command: Note.objects.create(text=command.text) and None)
    return registry


# Item by item


@committing
def test_each_item_is_committed_with_its_events_before_it_is_handed_out(registry: Registry) -> None:
    """Another connection sees it."""
    registry.handles(Import, transaction="item")(importing())
    seen: list[tuple[int, int]] = []

    for _ in DjangoMediator(registry).stream(Import(2)):
        assert not connection.in_atomic_block
        seen.append((Note.objects.count(), Outbox.objects.count()))

    assert seen == [(1, 1), (2, 2)]


@committing
def test_a_failing_item_is_rolled_back_alone(registry: Registry) -> None:
    """Those before it stay, with their events."""
    registry.handles(Import, transaction="item")(importing(fail_at=2))

    with pytest.raises(Failure):
        [*DjangoMediator(registry).stream(Import())]

    assert (texts(), Outbox.objects.count()) == (["0", "1"], 2)


@committing
def test_what_the_caller_does_between_two_items_is_its_own(registry: Registry) -> None:
    """Committed, even if the loop is left and the handler fails at its end."""
    registry.handles(Import, transaction="item")(importing())
    bus = DjangoMediator(registry)

    for number in bus.stream(Import()):
        bus.send(Write(f"after {number}"))
        break

    assert texts() == ["0", "after 0"]


@committing
def test_two_interleaved_streams_do_not_mix_their_transactions(registry: Registry) -> None:
    """What one rolls back, the other keeps."""

    @frozen
    class Other(Import):
        """The other stream."""

    registry.handles(Import, transaction="item")(importing())
    registry.add(Other, importing(fail_at=1), transaction="item")
    bus = DjangoMediator(registry)
    first, second = bus.stream(Import()), bus.stream(Other())

    assert [next(first), next(second), next(first)] == [0, 0, 1]
    with pytest.raises(Failure):
        next(second)
    assert next(first) == 2
    assert texts() == ["0", "0", "1", "2"]


@committing
def test_an_item_cannot_be_committed_inside_of_a_transaction(registry: Registry) -> None:
    """The error names the cure, and nothing was written."""
    registry.handles(Import, transaction="item")(importing())
    bus = DjangoMediator(registry)

    with transaction.atomic(), pytest.raises(InsideTransaction, match=r'Import commits each item .*transaction="all"'):
        next(bus.stream(Import()))
    assert texts() == []


class InTestCase(TestCase):
    """A TestCase has a transaction of its own, which is none of ours."""

    databases = {"default", "audit"}  # noqa: RUF012

    def test_items_are_written_in_a_test_case(self) -> None:
        """Its transaction is known and tolerated."""
        registry = Registry()
        registry.handles(Import, transaction="item")(importing())

        assert [*DjangoMediator(registry).stream(Import(2))] == [0, 1]
        assert texts() == ["0", "1"]


@committing
def test_all_items_are_one_transaction_which_may_be_inside_of_another(registry: Registry) -> None:
    """A savepoint of it, then."""
    registry.handles(Import, transaction="all")(importing())
    bus = DjangoMediator(registry)

    with transaction.atomic():
        assert [*bus.stream(Import(2))] == [0, 1]
        transaction.set_rollback(True)

    assert (texts(), Outbox.objects.count()) == ([], 0)


@committing
def test_nothing_of_all_items_stays_if_one_fails(registry: Registry) -> None:
    """Nor was any of them handed out."""
    registry.handles(Import, transaction="all")(importing(fail_at=2))

    with pytest.raises(Failure):
        next(DjangoMediator(registry).stream(Import()))

    assert (texts(), Outbox.objects.count()) == ([], 0)


# Reading


@committing
def test_a_stream_that_reads_does_not_write(registry: Registry) -> None:
    """The error names the stream, the table and the cure."""

    @registry.handles(Import)
    def writing(stream: Import) -> Iterator[int]:
        Note.objects.create(text="written")
        yield 1

    with pytest.raises(QueryWrote, match=r'Import is a stream that reads, .* desk_note; say transaction="item"'):
        next(DjangoMediator(registry).stream(Import()))
    assert texts() == []


@committing
@pytest.mark.parametrize("mode", ["raise", "database"])
def test_the_guard_of_a_reading_stream_leaves_the_caller_alone(registry: Registry, settings: Any, mode: str) -> None:
    """Between two items anything may be written; the handler sees it."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "QUERY_GUARD": mode}

    @registry.handles(Import)
    def counting(stream: Import) -> Iterator[int]:
        for _ in range(2):
            yield Note.objects.count()

    bus = DjangoMediator(registry)
    found = []
    for number in bus.stream(Import()):
        found.append(number)
        bus.send(Write("between"))

    assert found == [0, 1]


@committing
def test_a_stream_that_reads_publishes_nothing(registry: Registry) -> None:
    """As a query does not."""

    @registry.handles(Import)
    def publishing(stream: Import, publish: Publish) -> Iterator[int]:
        publish(Written(1))
        yield 1

    with pytest.raises(NotPublished, match="a stream that reads"):
        next(DjangoMediator(registry).stream(Import()))


if connection.vendor != "mysql":  # whose drivers take a whole result at once, see docs/databases.md

    @committing
    def test_a_million_rows_are_read_in_flat_memory(registry: Registry) -> None:
        """Over a cursor that lives as long as the stream, on PostgreSQL a server-side one; SQLite has a fifth."""
        rows, statement = (1_000_000, SERIES) if POSTGRESQL else (200_000, COUNTING)

        @registry.handles(Import)
        def reading(stream: Import) -> Iterator[int]:
            with transaction.atomic(), connection.chunked_cursor() as cursor:
                cursor.execute(statement, [stream.number])
                while found := cursor.fetchmany(2000):
                    yield from (row[0] for row in found)

        memory: list[int] = []
        for number, _ in enumerate(DjangoMediator(registry).stream(Import(rows))):
            if number % (rows // 10) == rows // 20:
                memory.append(resident_bytes())

        assert len(memory) == 10
        assert max(memory) - memory[0] < 8 * rows  # bytes; a list of all rows would take ten times as much


def resident_bytes() -> int:
    """Return how much memory this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


# Handlers made of handlers


@committing
def test_what_a_failed_attempt_wrote_is_rolled_back_before_the_backup_is_asked(registry: Registry) -> None:
    """A savepoint; its events are gone with it."""

    @frozen
    class Try(Command[list[str]]):
        """Is tried by two."""

    def primary(command: Try, publish: Publish) -> list[str]:
        Note.objects.create(text="primary")
        publish(Written(1))
        raise Failure

    def backup(command: Try, publish: Publish) -> list[str]:
        publish(Written(2))
        return texts()

    registry.add(Try, fallback(primary, backup, on=Failure))

    assert DjangoMediator(registry).send(Try()) == []
    assert [bytes(row.payload) for row in Outbox.objects.all()] == [b'{"number":2}']


@committing
def test_a_database_error_of_an_attempt_does_not_break_the_transaction(registry: Registry) -> None:
    """The backup can use the database."""

    @frozen
    class Try(Command[int]):
        """Is tried by two."""

    def primary(command: Try) -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT nonsense")
        return 0

    registry.add(Try, fallback(primary, lambda command: Note.objects.count()))

    assert DjangoMediator(registry).send(Try()) == 0


@committing
def test_an_attempt_of_a_writing_stream_is_a_savepoint_of_its_item(registry: Registry) -> None:
    """What the failed one wrote is gone, what the backup writes is committed."""

    def backup(stream: Import, publish: Publish) -> Iterator[int]:
        Note.objects.create(text="backup")
        yield 7

    registry.handles(Import, transaction="item")(fallback(importing(fail_at=0), backup))

    assert [*DjangoMediator(registry).stream(Import())] == [7]
    assert (texts(), Outbox.objects.count()) == (["backup"], 0)


@committing
def test_the_events_of_a_link_that_leaves_a_message_are_not_stored(registry: Registry) -> None:
    """Only those of the link that answers are."""

    @frozen
    class Choose(Command[str]):
        """Is taken by the second link."""

    def leaving(command: Choose, publish: Publish) -> Any:
        publish(Written(1))
        return NOT_MINE

    def taking(command: Choose, publish: Publish) -> str:
        publish(Written(2))
        return "taken"

    registry.add(Choose, chain(leaving, taking))

    assert DjangoMediator(registry).send(Choose()) == "taken"
    assert [bytes(row.payload) for row in Outbox.objects.all()] == [b'{"number":2}']


# Side by side


@committing
def test_after_commit_handlers_run_side_by_side_and_leave_no_connections(registry: Registry, settings: Any) -> None:
    """Each in a thread with a connection of its own, which is closed when the thread ends."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "EVENT_WORKERS": 2}
    both = threading.Barrier(2)
    opened: list[Any] = []

    def handler() -> Callable[[Noted], None]:
        def handle(event: Noted) -> None:
            if POSTGRESQL:  # SQLite has one writer at a time
                both.wait(10)
            with connections["default"].cursor() as cursor:
                cursor.execute("SELECT 1")
            opened.append(connections["default"])

        return handle

    @registry.handles(Import, transaction="all")
    def noting(stream: Import, publish: Publish) -> Iterator[int]:
        publish(Noted())
        yield 1

    registry.add(Noted, handler(), after_commit=True)
    registry.add(Noted, handler(), after_commit=True)

    assert [*DjangoMediator(registry).stream(Import())] == [1]
    assert len(opened) == 2
    assert connection not in opened
    assert [wrapper.connection for wrapper in opened] == [None, None]
