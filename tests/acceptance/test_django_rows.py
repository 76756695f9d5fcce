"""The acceptance rows of Django's side: 7 (database), 10, 49, 50, 53, 57, 59, 89, 90."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import pytest
from attrs import frozen
from django.core.management import call_command
from django.db import IntegrityError, connections, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import RequestFactory

from django_cqrs import bus
from django_cqrs.brokers import DatabaseBroker
from django_cqrs.consumers import consumers
from django_cqrs.http import answering_errors
from django_cqrs.inbox import door
from django_cqrs.inspection import DjangoInspection
from django_cqrs.models import Blocked, Dead, Inbox, Outbox
from django_cqrs.testing import published
from simplecqrs import UNSET, Command, Mediator, Publish, Query, Registry, Retry, Unset, load
from simplecqrs.containers import Provider
from simplecqrs.envelope import Envelope
from simplecqrs.metadata import new_metadata
from simplecqrs.queue import Stored
from tests.desk.messages import Broken, CloseTicket, OpenTicket, TicketOpened
from tests.desk.models import Tally, Ticket
from tests.desk.processes import manage, until
from tests.desk.project import Project

pytestmark = pytest.mark.usefixtures("committed")
REDIS = os.environ.get("CQRS_TEST_REDIS", "")


# 7 and 10: the same handlers over memory and over a database


@frozen
class Create(Command[int]):
    """Make one; answers its id."""

    title: str


@frozen
class Change(Command[None]):
    """Change what is given."""

    ticket_id: int
    title: str | Unset = UNSET
    state: str | Unset = UNSET


@frozen
class Delete(Command[None]):
    """Remove one."""

    ticket_id: int


@frozen
class Get(Query[tuple[str, str] | None]):
    """Look one up: title and state."""

    ticket_id: int


@frozen
class ListAll(Query[list[str]]):
    """List all titles."""


class Tickets(Protocol):
    """Where tickets are kept."""

    def add(self, title: str) -> int: ...
    def change(self, ticket_id: int, **values: str) -> None: ...
    def remove(self, ticket_id: int) -> None: ...
    def get(self, ticket_id: int) -> tuple[str, str] | None: ...
    def titles(self) -> list[str]: ...


class MemoryTickets:
    """In a dict."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[str, str]] = {}

    def add(self, title: str) -> int:
        self.rows[len(self.rows) + 1] = {"title": title, "state": "open"}
        return len(self.rows)

    def change(self, ticket_id: int, **values: str) -> None:
        self.rows[ticket_id].update(values)

    def remove(self, ticket_id: int) -> None:
        del self.rows[ticket_id]

    def get(self, ticket_id: int) -> tuple[str, str] | None:
        row = self.rows.get(ticket_id)
        return (row["title"], row["state"]) if row else None

    def titles(self) -> list[str]:
        return [row["title"] for row in self.rows.values()]


class DatabaseTickets:
    """By the ORM."""

    def add(self, title: str) -> int:
        return Ticket.objects.create(title=title).pk

    def change(self, ticket_id: int, **values: str) -> None:
        Ticket.objects.filter(pk=ticket_id).update(**values)

    def remove(self, ticket_id: int) -> None:
        Ticket.objects.filter(pk=ticket_id).delete()

    def get(self, ticket_id: int) -> tuple[str, str] | None:
        return Ticket.objects.filter(pk=ticket_id).values_list("title", "state").first()

    def titles(self) -> list[str]:
        return list(Ticket.objects.order_by("pk").values_list("title", flat=True))


crud = Registry()


@crud.handles(Create)
def create(command: Create, *, tickets: Tickets) -> int:
    """Make one."""
    return tickets.add(command.title)


@crud.handles(Change)
def change(command: Change, *, tickets: Tickets) -> None:
    """Change what is given."""
    given = {"title": command.title, "state": command.state}
    tickets.change(command.ticket_id, **{name: value for name, value in given.items() if value is not UNSET})


@crud.handles(Delete)
def delete(command: Delete, *, tickets: Tickets) -> None:
    """Remove one."""
    tickets.remove(command.ticket_id)


@crud.handles(Get)
def get(query: Get, *, tickets: Tickets) -> tuple[str, str] | None:
    """Look one up."""
    return tickets.get(query.ticket_id)


@crud.handles(ListAll)
def list_all(query: ListAll, *, tickets: Tickets) -> list[str]:
    """List all."""
    return tickets.titles()


database_tickets = Provider({Tickets: DatabaseTickets})


def story(mediator: Mediator) -> list[object]:
    """Create, get, update, list, delete; return all answers."""
    one = mediator.send(Create("printer"))
    answers: list[object] = [mediator.send(Get(one))]
    mediator.send(Change(one, state="closed"))
    answers.append(mediator.send(Get(one)))
    mediator.send(Create("mouse"))
    answers.append(mediator.send(ListAll()))
    mediator.send(Delete(one))
    return [*answers, mediator.send(Get(one)), mediator.send(ListAll())]


@pytest.fixture
def over_the_orm(project: Project, settings: Any) -> Project:
    """Return a project with the handlers above over the ORM."""
    project.registry.include(crud)
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "CONTAINER": f"{__name__}.database_tickets"}
    return project


def test_row_07_create_get_update_list_delete_on_a_database(over_the_orm: Project) -> None:
    """The script runs end to end; what was not given is left unchanged."""
    assert story(over_the_orm.bus) == [
        ("printer", "open"),
        ("printer", "closed"),
        ["printer", "mouse"],
        None,
        ["mouse"],
    ]


def test_row_10_the_same_handlers_run_over_memory_and_over_the_orm(over_the_orm: Project) -> None:
    """Only what is injected differs."""
    memory = MemoryTickets()

    assert story(Mediator(crud, provide={Tickets: lambda: memory})) == story(over_the_orm.bus)


def test_row_10_handlers_over_the_orm_run_in_a_transaction(over_the_orm: Project) -> None:
    """A command that fails takes all it wrote along."""

    @over_the_orm.registry.handles(Broken)
    def broken(command: Broken, *, tickets: Tickets) -> None:
        tickets.add("half")
        tickets.add("half")

    with pytest.raises(IntegrityError):
        over_the_orm.bus.send(Broken("title is unique"))
    assert Ticket.objects.count() == 0


# 49 and 50: the outbox


def test_row_49_an_event_is_stored_if_and_only_if_its_data_is_committed() -> None:
    """With the command, with the transaction around it, with the savepoint in which it was published."""
    with suppress(ValueError):
        bus.send(Broken("raise"))
    with suppress(ValueError), transaction.atomic():
        bus.send(OpenTicket("rolled back"))
        raise ValueError
    ticket = bus.send(OpenTicket("committed"))
    bus.send(Broken("savepoint"))

    assert published() == [TicketOpened(ticket, "committed"), TicketOpened(0, "savepoint")]
    assert Ticket.objects.count() == 2


def envelope(event: TicketOpened) -> Envelope:
    """Encode an event."""
    return bus.vocabulary.envelope(event, new_metadata(None, None))


def test_row_50_an_event_that_comes_twice_is_ignored_the_second_time() -> None:
    """
    By its source and id, at the door of each inbox.

    The outbox itself has no such constraint: an event gets its id when it is published, and a batch that is shipped
    again after a crash has to pass.
    """
    event = envelope(TicketOpened(1, "x"))
    for _ in range(3):
        DatabaseBroker().publish([event], deadline=1)

    call_command("cqrs_consume", "tally", drain=True, stdout=StringIO())

    assert Tally.objects.get().n == 1
    assert Dead.objects.count() == 0


# 53 and 57: relays


@pytest.fixture
def shipped(settings: Any, tmp_path: Path) -> Path:
    """Route the tickets to a file, in batches of ten, and return its path."""
    path = tmp_path / "shipped"
    path.touch()
    settings.DJANGO_CQRS = {
        **settings.DJANGO_CQRS,
        "BROKERS": {"file": {"BACKEND": "tests.desk.brokers.FileBroker", "OPTIONS": {"path": str(path)}}},
        "ROUTES": {"tickets": ["file"]},
        "RELAY_BATCH": 10,
    }
    return path


def publish_tickets(number: int, *, since: int = 0, keys: int = 7) -> None:
    """Publish events, ten per transaction; their titles count up."""
    for start in range(since, number, 10):
        with transaction.atomic():
            for index in range(start, min(start + 10, number)):
                bus.publish(TicketOpened(index % keys, str(index)))


def lines(path: Path) -> list[tuple[str, str, int]]:
    """Return process, key and number of all that was shipped."""
    text = path.read_text()
    found = [line.split(" ", 4) for line in text[: text.rfind("\n") + 1].splitlines()]  # the last one may be half there
    return [(process, key, int(json.loads(payload)["title"])) for process, _, _, key, payload in found]


def check_shipped(path: Path, number: int) -> None:
    """Each once, and each key in its order."""
    found = lines(path)
    assert sorted(title for _, _, title in found) == list(range(number))
    for wanted in {key for _, key, _ in found}:
        titles = [title for _, key, title in found if key == wanted]
        assert titles == sorted(titles)


@pytest.mark.processes
def test_row_53_two_relays_send_nothing_twice(shipped: Path) -> None:
    """Two processes beside each other, while events are published: no row is sent twice, and order is kept."""
    number = 0
    with manage("cqrs_relay"), manage("cqrs_relay"):
        while number < 400 or len({process for process, _, _ in lines(shipped)}) < 2:
            publish_tickets(number + 10, since=number)
            number += 10
        until(lambda: not Outbox.objects.exists())

    check_shipped(shipped, number)


def test_row_53_two_relays_in_threads_send_nothing_twice(shipped: Path) -> None:
    """The same in one process, both to the end of a backlog."""
    publish_tickets(200)

    def relay() -> None:
        try:
            call_command("cqrs_relay", drain=True, stdout=StringIO())
        finally:
            connections.close_all()

    threads = [threading.Thread(target=relay) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    call_command("cqrs_relay", drain=True, stdout=StringIO())

    check_shipped(shipped, 200)


def test_row_57_a_relay_runs_once_or_until_nothing_is_left(shipped: Path) -> None:
    """One batch of the size that is set, committed as one; or all."""
    publish_tickets(45, keys=1)
    call_command("cqrs_relay", once=True, route=["file"], database=["default"], stdout=StringIO())
    assert (len(lines(shipped)), Outbox.objects.count()) == (10, 35)

    call_command("cqrs_relay", drain=True, stdout=StringIO())

    check_shipped(shipped, 45)
    assert Outbox.objects.count() == 0


@pytest.mark.processes
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_row_57_a_relay_runs_until_a_signal_and_finishes_its_batch(shipped: Path, stop: signal.Signals) -> None:
    """It ships what comes as it comes, ends with 0, and what it shipped is deleted."""
    with manage("cqrs_relay") as relay:
        publish_tickets(30)
        until(lambda: len(lines(shipped)) >= 10)
        relay.send_signal(stop)
        assert relay.wait(20) == 0

    assert len(lines(shipped)) + Outbox.objects.count() == 30


# 59: the inbox


def test_row_59_a_batch_tells_how_many_of_it_were_new() -> None:
    """A message that was seen is told by its source and id (in place of message id and name)."""
    first, second = envelope(TicketOpened(1, "a")), envelope(TicketOpened(2, "b"))

    assert door("default").store("tally", [first, second, first]) == Stored(2, 1)
    assert door("default").store("tally", [second]) == Stored(0, 1)
    assert Inbox.objects.count() == 2


def test_row_59_each_message_is_a_transaction_and_a_poison_one_stops_only_its_key(project: Project) -> None:
    """It is tried so often, then it is a dead letter with the reason, and its key waits for an operator."""

    def work(event: TicketOpened, publish: Publish) -> None:
        Tally.objects.create(name=event.title)
        if event.title == "poison":
            raise ValueError("no antidote")

    def handle(event: TicketOpened, publish: Publish) -> None:
        project.seen.append(event.title)
        work(event, publish)

    project.registry.add(TicketOpened, handle, consumer="one", retry=Retry(3, first=0))
    batch = [(1, "a"), (2, "poison"), (2, "follower"), (3, "b")]
    consumers()
    door("default").store("one", [envelope(TicketOpened(key, title)) for key, title in batch])
    project.work()

    assert project.seen.count("poison") == 3
    assert {tally.name for tally in Tally.objects.all()} == {"a", "b"}
    [letter] = DjangoInspection("default").letters()
    assert (letter.key, letter.attempts, letter.reason) == ("2", 3, "ValueError: no antidote")
    assert Blocked.objects.get().key == "2"


# 89: the web


@answering_errors()
def tickets_view(request: HttpRequest) -> HttpResponse:
    """Open a ticket, or close one."""
    if request.method == "DELETE":
        bus.send(CloseTicket(int(request.GET["id"])))
        return JsonResponse({})
    return JsonResponse({"id": bus.send(load(OpenTicket, json.loads(request.body)))}, status=201)


def test_row_89_a_view_sends_a_command_in_one_line() -> None:
    """And errors are responses: 400 with the fields, 404."""
    web = RequestFactory()

    opened = tickets_view(web.post("/", {"title": "printer"}, content_type="application/json"))
    invalid = tickets_view(web.post("/", {"title": 7}, content_type="application/json"))
    missing = tickets_view(web.delete("/?id=4711"))

    assert (opened.status_code, json.loads(opened.content)) == (201, {"id": Ticket.objects.get().pk})
    assert (invalid.status_code, list(json.loads(invalid.content)["fields"])) == (400, ["title"])
    assert missing.status_code == 404


# 90: the whole way, by the management commands


def tell_the_story() -> None:
    """Send commands; ship, fetch and handle by the management commands, twice, as if the relay had crashed."""
    for title in "abc":
        bus.send(CloseTicket(bus.send(OpenTicket(title))))
    call_command("cqrs_relay", drain=True, stdout=StringIO())
    call_command("cqrs_consume", "tally", drain=True, stdout=StringIO())


def test_row_90_a_command_consumes_from_the_database() -> None:
    """Broker → inbox → handlers; nothing is left."""
    tell_the_story()

    assert {tally.name: tally.n for tally in Tally.objects.all()} == {"TicketOpened": 3, "TicketClosed": 3}
    assert not Outbox.objects.exists()
    assert not Inbox.objects.exists()


@pytest.mark.processes
def test_row_90_processes_relay_and_consume_until_they_are_told_to_stop() -> None:
    """As in production: a relay, and two workers."""
    with manage("cqrs_relay"), manage("cqrs_consume", "--workers", "2"):
        for number in range(30):
            bus.send(OpenTicket(str(number)))
        until(lambda: Tally.objects.filter(n__gte=30).exists())

    assert Tally.objects.get().n == 30
    assert not Inbox.objects.exists()


@pytest.fixture
def streams(settings: Any) -> Iterator[str]:
    """Route the tickets through Redis Streams of the test's own, and return their prefix."""
    if not REDIS:
        pytest.skip("CQRS_TEST_REDIS is not set: scripts/services env")
    from redis import Redis

    prefix = f"row90-{uuid4().hex}:"
    backend = "simplecqrs.brokers.redis.RedisStreams"
    settings.DJANGO_CQRS = {
        **settings.DJANGO_CQRS,
        "BROKERS": {"events": {"BACKEND": backend, "OPTIONS": {"url": REDIS, "prefix": prefix}}},
        "ROUTES": {"tickets": "events"},
        "CONSUMERS": {"tally": {"broker": "events"}},
    }
    yield prefix
    with Redis.from_url(REDIS) as client:
        client.delete(f"{prefix}tickets")


@pytest.mark.redis
@pytest.mark.services
def test_row_90_a_command_consumes_from_redis_and_acknowledges_after_its_commit(streams: str) -> None:
    """What was fetched and not committed comes again, and has its effect once."""
    from redis import Redis

    call_command("cqrs_consume", "tally", drain=True, stdout=StringIO())  # which makes the group
    tell_the_story()

    assert {tally.name: tally.n for tally in Tally.objects.all()} == {"TicketOpened": 3, "TicketClosed": 3}
    with Redis.from_url(REDIS) as client:
        assert client.xlen(f"{streams}tickets") == 6
        assert client.xpending(f"{streams}tickets", "tally")["pending"] == 0
    assert not Outbox.objects.exists()
    assert not Inbox.objects.exists()
