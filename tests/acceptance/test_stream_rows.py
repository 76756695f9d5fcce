"""The acceptance rows of streams: 61 to 63."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pytest
from attrs import frozen
from django.http import StreamingHttpResponse

from django_cqrs.sse import sse_response
from simplecqrs import (
    Command,
    DomainEvent,
    Mediator,
    NotificationEvent,
    Publish,
    Registry,
    Stream,
    SyncStreamHandler,
    around,
    current,
)
from simplecqrs.errors import HandlerNotFound, InvalidHandler, InvalidMessage, NotPublished, OutsideDispatch
from simplecqrs.memory import MemoryBroker
from simplecqrs.memory_transactions import MemoryTransactions

Transaction = Literal["item", "all"]


@frozen
class ImportUsers(Stream[int]):
    """Is answered user by user."""

    users: int = 3
    fail_at: int | None = None


@frozen
class Remember(Command[None]):
    """Writes a note."""

    text: str


@frozen
class Imported(DomainEvent):
    """Is published for each user."""

    user: int


@frozen
class Announced(NotificationEvent):
    """Goes out for each user."""

    user: int


class Session:
    """Is opened for a stream, and closed."""


class Failure(Exception):
    """What a handler raises."""


class Office:
    """A mediator with transactions over a dict, and a log of all that happens."""

    def __init__(self, transaction: Transaction | None = "item", **options: Any) -> None:
        self.log: list[str] = []
        self.rows: dict[str, int] = {}
        self.broker = MemoryBroker()
        self.memory = MemoryTransactions()
        registry = Registry()
        registry.handles(ImportUsers, transaction=transaction)(self.import_users)
        registry.add(Imported, lambda event: self.log.append(f"handled {event.user}"))
        registry.add(Imported, lambda event: self.log.append(f"later {event.user}"), after_commit=True)
        registry.add(Remember, lambda command: self.memory.put(self.rows, command.text, 1))
        self.bus = Mediator(
            registry,
            publisher=self.broker,
            provide={Session: self.session},
            transaction=self.transaction,
            middlewares=[around(self.surround, only=Stream)],
            **options,
        )

    def import_users(self, stream: ImportUsers, publish: Publish, *, session: Session) -> Iterator[int]:
        """Write, publish and yield; then publish once more."""
        try:
            for user in range(stream.users):
                self.memory.put(self.rows, f"user {user}", 1)
                publish(Imported(user))
                publish(Announced(user))
                if user == stream.fail_at:
                    raise Failure
                yield user
            publish(Imported(-1))
            publish(Announced(-1))
        finally:
            self.log.append("handler ends")

    @contextmanager
    def transaction(self, message: Any) -> Generator[None, None, None]:
        """Open one."""
        with self.memory.transaction():
            yield
        if isinstance(message, Stream):
            self.log.append("commit")

    def session(self) -> Generator[Session, None, None]:
        """Open one."""
        self.log.append("session opens")
        try:
            yield Session()
        finally:
            self.log.append("session closes")

    @contextmanager
    def surround(self, message: Any) -> Generator[None, None, None]:
        """Stay open to the end."""
        try:
            yield
        finally:
            self.log.append("middleware ends")

    @property
    def announced(self) -> list[int]:
        """Return what went out."""
        return [json.loads(envelope.payload)["user"] for envelope in self.broker.published]


# 61


def test_row_61_events_of_an_item_are_handled_before_it_is_handed_out_and_trailing_ones_are_not_lost() -> None:
    """Each item is committed with its events; those after the last item have a commit of their own."""
    office = Office()
    seen: list[tuple[int, list[str], list[int]]] = []

    for user in office.bus.stream(ImportUsers(2)):
        seen.append((user, office.log[:], office.announced))
        office.log.clear()

    assert seen == [
        (0, ["session opens", "handled 0", "commit", "later 0"], [0]),
        (1, ["handled 1", "commit", "later 1"], [0, 1]),
    ]
    assert office.log == ["handler ends", "handled -1", "commit", "later -1", "session closes", "middleware ends"]
    assert office.announced == [0, 1, -1]


def test_row_61_all_at_once_commits_before_the_first_item_and_loses_nothing_either() -> None:
    """In one transaction, with all events."""
    office = Office("all")
    items = office.bus.stream(ImportUsers(2))

    first = next(items)

    assert first == 0
    assert [entry for entry in office.log if entry.startswith(("handled", "commit"))] == [
        "handled 0",
        "handled 1",
        "handled -1",
        "commit",
    ]
    assert office.announced == [0, 1, -1]
    assert list(items) == [1]


@pytest.mark.parametrize(("transaction", "kept"), [("item", ["user 0"]), ("all", [])])
def test_row_61_an_item_that_fails_takes_its_events_and_writes_along_and_no_others(
    transaction: Transaction, kept: list[str]
) -> None:
    """What was handed out stays."""
    office = Office(transaction)
    taken: list[int] = []

    with pytest.raises(Failure):
        taken.extend(office.bus.stream(ImportUsers(3, fail_at=1)))

    assert list(office.rows) == kept
    assert len(taken) == len(office.announced) == len(kept)
    assert office.log[-2:] == ["session closes", "middleware ends"]


def test_row_61_while_the_caller_holds_an_item_nothing_of_the_stream_is_open() -> None:
    """What the caller sends is a message of its own, committed by itself, and kept when he has had enough."""
    office = Office()

    for user in office.bus.stream(ImportUsers()):
        with pytest.raises(OutsideDispatch):
            current()
        office.bus.send(Remember(f"seen {user}"))
        break

    assert sorted(office.rows) == ["seen 0", "user 0"]


def test_row_61_interleaved_streams_do_not_mix() -> None:
    """Each has its own transaction, session and events; one that fails takes nothing of the other."""
    office = Office()
    good, bad = office.bus.stream(ImportUsers(2)), office.bus.stream(ImportUsers(3, fail_at=1))

    taken = [next(good), next(bad), next(good)]
    with pytest.raises(Failure):
        next(bad)
    rest = list(good)

    assert (taken, rest) == ([0, 0, 1], [])
    assert office.announced == [0, 0, 1, -1]
    assert office.log.count("session opens") == 2


def test_row_61_a_stream_without_transaction_reads_and_says_so_when_it_publishes() -> None:
    """0-product.md: publishing is for streams that say transaction=; the cure is in the error."""
    with pytest.raises(NotPublished, match='transaction="item"'):
        list(Office(None).bus.stream(ImportUsers()))


def test_row_61_functions_classes_and_empty_streams_do_and_other_shapes_are_refused() -> None:
    """At registration; what is sent the wrong way names the right one."""

    class Handler(SyncStreamHandler[ImportUsers, int]):
        def handle(self, stream: ImportUsers) -> Iterator[int]:
            yield from range(stream.users)

    registry = Registry()
    registry.add(ImportUsers, Handler)
    bus = Mediator(registry)

    assert list(bus.stream(ImportUsers(4))) == [0, 1, 2, 3]
    assert list(bus.stream(ImportUsers(0))) == []
    with pytest.raises(InvalidMessage, match=r"bus\.stream"):
        bus.send(ImportUsers())  # type: ignore[arg-type]
    with pytest.raises(HandlerNotFound, match="ImportUsers"):
        bus_without = Mediator(Registry())
        bus_without.stream(ImportUsers())
    with pytest.raises(InvalidHandler, match="no generator"):
        Registry().add(ImportUsers, lambda stream: [1])


# 62


def _close(items: Generator[int, None, None]) -> None:
    items.close()


def _throw(items: Generator[int, None, None]) -> None:
    with pytest.raises(Failure):
        items.throw(Failure)


@pytest.mark.parametrize("end", [_close, _throw])
@pytest.mark.parametrize("transaction", ["item", "all"])
def test_row_62_closing_early_releases_everything_at_once(
    transaction: Transaction, end: Callable[[Generator[int, None, None]], None]
) -> None:
    """Handler, session, middleware, in this order."""
    office = Office(transaction)
    items = office.bus.stream(ImportUsers())
    next(items)
    office.log.clear()

    end(items)

    closed = [entry for entry in office.log if "ends" in entry or "closes" in entry]
    expected = ["handler ends", "session closes", "middleware ends"]
    assert closed == (expected if transaction == "item" else expected[1:])  # the handler of "all" has ended before


def test_row_62_dropping_the_generator_and_failing_in_the_loop_do_the_same() -> None:
    """By CPython's reference counts."""
    office = Office()

    def consume() -> None:
        for _ in office.bus.stream(ImportUsers()):
            raise Failure

    with pytest.raises(Failure) as caught:
        consume()
    del caught

    assert "session closes" in office.log
    assert office.log[-1] == "middleware ends"


@pytest.mark.parametrize("transaction", [None, "item"])
def test_row_62_closing_does_not_wait_for_garbage(transaction: Transaction | None) -> None:
    """What the handler works with is closed although somebody else still refers to it."""
    kept: list[Iterator[int]] = []
    log: list[str] = []

    def numbers() -> Iterator[int]:
        try:
            yield from range(3)
        finally:
            log.append("closed")

    registry = Registry()

    @registry.handles(ImportUsers, transaction=transaction)
    def handler(stream: ImportUsers) -> Iterator[int]:
        kept.append(numbers())
        return kept[0]

    items = Mediator(registry).stream(ImportUsers())
    next(items)

    items.close()

    assert log == ["closed"]


def test_row_62_a_stream_that_nobody_began_opens_nothing() -> None:
    """And closing it is no error."""
    office = Office()

    office.bus.stream(ImportUsers()).close()

    assert office.log == []


def test_row_62_an_abandoned_stream_does_not_poison_the_next_message() -> None:
    """It is held open, and others go on."""
    office = Office()
    abandoned = office.bus.stream(ImportUsers())
    next(abandoned)

    office.bus.send(Remember("after"))

    assert "after" in office.rows
    assert list(office.bus.stream(ImportUsers(1))) == [0]
    abandoned.close()


# 63


def frames(response: StreamingHttpResponse) -> list[dict[str, str]]:
    """Read the body as the standard says: blank lines end a frame, lines with a leading colon are comments."""
    text = b"".join(response).decode()
    response.close()
    found = []
    for block in text.split("\n\n"):
        fields = [line.partition(":") for line in block.split("\n") if line and not line.startswith(":")]
        if fields:
            frame: dict[str, str] = {}
            for name, _, value in fields:
                line = value.removeprefix(" ")
                frame[name] = f"{frame[name]}\n{line}" if name in frame else line
            found.append(frame)
    return found


@pytest.mark.usefixtures("unblocked")
def test_row_63_a_stream_is_told_to_a_browser_by_start_progress_and_complete() -> None:
    """With ids, and the headers that keep proxies from gathering it."""
    office = Office()

    response = sse_response(office.bus.stream(ImportUsers(2)), start={"users": 2}, retry=2000, heartbeat=None)
    told = frames(response)

    assert isinstance(response, StreamingHttpResponse)
    assert (response.status_code, response["Content-Type"]) == (200, "text/event-stream")
    assert "no-cache" in response["Cache-Control"]
    assert response["X-Accel-Buffering"] == "no"
    assert "2000" in [frame.get("retry") for frame in told]
    events = [frame for frame in told if "event" in frame]
    assert [frame["event"] for frame in events] == ["start", "progress", "progress", "complete"]
    assert [frame["data"] for frame in events[:3]] == ['{"users":2}', "0", "1"]
    assert [frame.get("id") for frame in events[1:3]] == ["1", "2"]
    assert office.log[-1] == "middleware ends"


@pytest.mark.usefixtures("unblocked")
def test_row_63_a_failure_is_an_error_frame_that_tells_no_secrets(caplog: pytest.LogCaptureFixture) -> None:
    """The status is 200 already; what was told before stays told."""

    def items() -> Iterator[str]:
        yield "a\nevent: forged"
        raise Failure("password=1234")

    told = [frame for frame in frames(sse_response(items(), heartbeat=None)) if "event" in frame]

    assert [frame["event"] for frame in told] == ["progress", "error"]
    assert told[0]["data"] == "a\nevent: forged"
    assert "1234" not in told[1]["data"]
    assert "Failure" in caplog.text


@pytest.mark.usefixtures("unblocked")
def test_row_63_a_client_that_leaves_closes_the_stream() -> None:
    """As a server does: it closes the response."""
    office = Office()
    response = sse_response(office.bus.stream(ImportUsers()), heartbeat=None)
    body = iter(response)
    next(body)
    while "commit" not in office.log:
        next(body)

    response.close()

    assert office.log[-2:] == ["session closes", "middleware ends"]
