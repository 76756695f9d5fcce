"""Server-sent events: what a browser gets, and what becomes of the stream behind it."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest
from attrs import frozen
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection, transaction
from django.http import HttpRequest, StreamingHttpResponse
from django.middleware.gzip import GZipMiddleware
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from django_cqrs import DjangoMediator
from django_cqrs.frames import COMMENT
from django_cqrs.sse import last_event_id, last_event_number, sse_response
from simplecqrs import Registry, Stream
from simplecqrs.errors import NotConfigured
from tests.desk.models import Ticket
from tests.django_cqrs.event_source import Event, EventSource

#: Long enough that it never comes.
NEVER = 60.0
#: Short enough to wait for.
SOON = 0.001

pytestmark = pytest.mark.usefixtures("unblocked")


@frozen
class Progress:
    """An item of a stream."""

    done: int
    price: Decimal = Decimal("1.50")
    at: datetime = datetime(2026, 1, 2, tzinfo=timezone.utc)


def seen_by_browser(response: StreamingHttpResponse) -> EventSource:
    """Take a response to its end, as a server does."""
    try:
        return EventSource().read(b"".join(response))
    finally:
        response.close()


def events(items: Iterable[Any], **options: Any) -> list[Event]:
    """Return what a page gets of items."""
    return seen_by_browser(sse_response(items, **options)).events


class Source:
    """Items, one of which may fail, and what has become of them."""

    def __init__(self, *items: object) -> None:
        self._items = items
        self.given = 0
        self.threads: set[str] = set()
        self.closed_in = ""

    def __iter__(self) -> Iterator[object]:
        try:
            for item in self._items:
                self.threads.add(threading.current_thread().name)
                if isinstance(item, BaseException):
                    raise item
                self.given += 1
                yield item() if callable(item) else item
        finally:
            self.closed_in = threading.current_thread().name


def helpers() -> list[str]:
    """Return the threads that streams have left behind."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("django_cqrs")]


@pytest.mark.parametrize("heartbeat", [None, NEVER], ids=["one thread", "two threads"])
def test_a_browser_sees_the_items_and_then_the_end(heartbeat: float | None) -> None:
    """With running numbers as ids; the end has one as well."""
    seen = events(["one", "two"], heartbeat=heartbeat)

    assert seen == [
        Event("progress", "one", "1"),
        Event("progress", "two", "2"),
        Event("complete", '{"items":2}', "3"),
    ]
    assert helpers() == []


def test_items_become_json() -> None:
    """By the converter of messages, in one line."""
    progress, _ = events([Progress(1)], heartbeat=None)

    assert json.loads(progress.data) == {"done": 1, "price": "1.50", "at": "2026-01-02T00:00:00+00:00"}
    assert "\n" not in progress.data


def test_the_headers_keep_everybody_from_gathering_events() -> None:
    """Caches, nginx, and Django's own GZipMiddleware."""
    request = RequestFactory().get("/", headers={"Accept-Encoding": "gzip"})

    response = GZipMiddleware(lambda _: sse_response(["x" * 1000], heartbeat=None))(request)

    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert seen_by_browser(response).events[0].data == "x" * 1000


def test_the_first_write_comes_before_the_first_item() -> None:
    """Servers send headers with it, so that the page knows that it is connected."""
    source = Source("late")
    response = sse_response(source, heartbeat=None, retry=1500, start={"total": 20})

    first = EventSource().read(next(iter(response)))

    assert source.given == 0
    assert first.retry == 1500
    assert first.events == [Event("start", '{"total":20}', "")]


def test_names_ids_and_texts_are_what_the_view_says() -> None:
    """Each a parameter."""
    seen = events(
        [Progress(7), Progress(9)],
        event=lambda item: "odd" if item.done % 2 else "even",
        data=lambda item: f"{item.done} done",
        ids=lambda item, number: f"{number}:{item.done}",
        complete="bye",
        heartbeat=None,
    )

    assert seen == [
        Event("odd", "7 done", "1:7"),
        Event("odd", "9 done", "2:9"),
        Event("bye", '{"items":2}', "2:9"),
    ]


def test_an_event_may_go_without_name_and_id() -> None:
    """Browsers call it "message"."""
    assert events(["text"], event="", ids=None, heartbeat=None)[0] == Event("message", "text", "")


def test_numbers_go_on_after_the_last_that_the_client_has() -> None:
    """After a reconnection."""
    seen = events(["eight"], after=7, heartbeat=None)

    assert [event.last_event_id for event in seen] == ["8", "9"]
    assert seen[-1].data == '{"items":8}'


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5))
def test_data_cannot_break_out_of_its_event(items: list[str]) -> None:
    """Whatever is in it; a browser gets it back, its line ends being newlines."""
    seen = events(items, heartbeat=None)

    assert [event.type for event in seen] == ["progress"] * len(items) + ["complete"]
    assert [event.data for event in seen[:-1]] == [item.replace("\r\n", "\n").replace("\r", "\n") for item in items]


@pytest.mark.parametrize("bad", ["1\n\ndata: forged", "1\r", "1\0"])
def test_an_id_or_a_name_of_several_lines_is_an_error(bad: str, caplog: pytest.LogCaptureFixture) -> None:
    """It would forge events."""
    with pytest.raises(ValueError, match="cannot hold"):
        sse_response([], event=bad)
    with pytest.raises(ValueError, match="cannot hold"):
        sse_response([], complete=bad)

    for option in ({"ids": lambda item, number: bad}, {"event": lambda item: bad}):
        assert [event.type for event in events(["one"], heartbeat=None, **option)] == ["error"]
    assert "cannot hold" in caplog.text


@pytest.mark.parametrize(
    "options", [{"retry": -1}, {"retry": 1.5}, {"retry": True}, {"heartbeat": 0}, {"max_seconds": -1}], ids=str
)
def test_what_cannot_be_is_refused_at_once(options: dict[str, Any]) -> None:
    """In the view."""
    with pytest.raises(ValueError, match=next(iter(options))):
        sse_response([], **options)


@pytest.mark.parametrize("heartbeat", [None, NEVER], ids=["one thread", "two threads"])
def test_a_failure_is_told_without_its_reason(heartbeat: float | None, caplog: pytest.LogCaptureFixture) -> None:
    """The log has it, with the traceback; the id stays that of the last item, so that a retry goes on there."""
    source = Source("one", ValueError("password is 1234"))

    seen = events(source, heartbeat=heartbeat)

    assert seen == [Event("progress", "one", "1"), Event("error", '{"error":"failed"}', "1")]
    assert [(record.name, record.levelno) for record in caplog.records] == [("django_cqrs", logging.ERROR)]
    assert "ValueError: password is 1234" in caplog.text
    assert "after item 1" in caplog.text


def test_the_view_says_what_a_client_may_know_of_a_failure() -> None:
    """As data of the error's event."""
    seen = events([*range(3)], data=lambda item: 1 / 0, error=lambda error: type(error).__name__, failed="oh")

    assert seen == [Event("oh", "ZeroDivisionError", "")]


def test_data_that_is_no_text_is_told_with_the_cure(caplog: pytest.LogCaptureFixture) -> None:
    """In the log: it is the view that is wrong."""
    seen = events([1], data=lambda item: item, heartbeat=None)

    assert [event.type for event in seen] == ["error"]
    assert "data= makes of an item, not 1" in caplog.text


def test_a_failure_to_explain_a_failure_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The client hears of the first one all the same."""
    seen = events(Source(ValueError("first")), error=lambda error: error.missing, heartbeat=None)  # type: ignore[attr-defined]

    assert seen == [Event("error", '{"error":"failed"}', "")]
    assert "first" in caplog.text
    assert "AttributeError" in caplog.text


@pytest.mark.parametrize("heartbeat", [None, NEVER], ids=["one thread", "two threads"])
def test_what_is_no_exception_ends_the_response(heartbeat: float | None) -> None:
    """A server that is told to exit exits."""
    response = sse_response(Source(SystemExit(3)), heartbeat=heartbeat)

    with pytest.raises(SystemExit):
        list(response)
    response.close()
    assert helpers() == []


def test_items_are_never_made_ahead() -> None:
    """What a client did not get did not happen: a stream that writes is resumed at the right place."""
    source = Source("one", "two", "three")
    response = sse_response(source, heartbeat=NEVER)
    frames = iter(response)

    next(frames)
    next(frames)
    response.close()

    assert source.given == 1


@pytest.mark.parametrize("heartbeat", [None, NEVER], ids=["one thread", "two threads"])
def test_a_client_that_leaves_closes_the_stream(heartbeat: float | None) -> None:
    """Where it ran, before the server goes on to something else."""
    source = Source("one", "two")
    response = sse_response(source, heartbeat=heartbeat)
    frames = iter(response)
    next(frames)
    next(frames)

    response.close()

    assert source.threads == {source.closed_in}
    assert (source.closed_in == threading.current_thread().name) is (heartbeat is None)
    assert helpers() == []
    assert list(frames) == []


@pytest.mark.parametrize("heartbeat", [None, NEVER], ids=["one thread", "two threads"])
def test_a_response_that_nobody_reads_closes_the_stream(heartbeat: float | None) -> None:
    """It may hold something before its first item."""

    class Held:
        closed = 0

        def __iter__(self) -> Iterator[str]:
            return iter(())

        def close(self) -> None:
            self.closed += 1

    held = Held()
    response = sse_response(held, heartbeat=heartbeat)

    response.close()
    response.close()

    assert held.closed == 1


def test_a_stream_that_cannot_be_closed_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Django drops what the closing of a response raises."""

    def items() -> Iterator[str]:
        try:
            yield "one"
        finally:
            raise ValueError("in the end")

    response = sse_response(items(), heartbeat=NEVER)
    frames = iter(response)
    next(frames)
    next(frames)
    response.close()

    assert "ValueError: in the end" in caplog.text
    assert helpers() == []


def test_comments_come_while_an_item_is_slow() -> None:
    """As many as there is time for; browsers skip them."""
    ready = threading.Event()
    source = Source("one", lambda: ready.wait(NEVER) and "two")
    response = sse_response(source, heartbeat=SOON)
    frames = iter(response)
    written = [next(frames) for _ in range(8)]
    ready.set()

    written.extend(frames)
    response.close()

    browser = EventSource().read(b"".join(written))
    assert browser.comments >= 3
    assert [event.data for event in browser.events] == ["one", "two", '{"items":2}']
    assert helpers() == []


def test_a_client_that_leaves_during_an_item_closes_the_stream_after_it() -> None:
    """Python cannot stop a handler; but nothing is left running when the response is closed."""
    ready = threading.Event()
    source = Source("one", lambda: ready.wait(NEVER) and "two", "three")
    response = sse_response(source, heartbeat=SOON)
    frames = iter(response)
    while b"data: one" not in next(frames):  # a slow machine sends comments before it, too
        pass
    waiting = [next(frames) for _ in range(4)]
    threading.Timer(SOON, ready.set).start()

    response.close()

    assert waiting == [*COMMENT, *COMMENT]
    assert source.given == 2
    assert source.closed_in.startswith("django_cqrs")
    assert helpers() == []


def test_a_response_that_has_lasted_long_enough_ends_without_an_end() -> None:
    """So the browser connects again, and says what it has seen: one item at least, or it would never end."""
    source = Source("one", "two")

    browser = seen_by_browser(sse_response(source, heartbeat=None, max_seconds=1e-9))

    assert browser.events == [Event("progress", "one", "1")]
    assert browser.last_event_id == "1"
    assert source.closed_in


@pytest.mark.parametrize("heartbeat", [None, NEVER], ids=["one thread", "two threads"])
def test_items_are_made_in_the_views_context(heartbeat: float | None) -> None:
    """Language, time zone, correlation id; what they set stays with them."""
    language = ContextVar("language", default="none")
    language.set("of the view")

    def items() -> Iterator[str]:
        yield language.get()
        language.set("of the stream")
        yield language.get()

    response = sse_response(items(), heartbeat=heartbeat)
    language.set("of the next request")

    assert [event.data for event in seen_by_browser(response).events[:2]] == ["of the view", "of the stream"]
    assert language.get() == "of the next request"


@pytest.mark.usefixtures("committed")
def test_the_threads_let_go_of_their_database_connections() -> None:
    """The server's before it begins to send, the stream's when it is closed."""
    used: list[Any] = []

    def items() -> Iterator[str]:
        for ticket in Ticket.objects.iterator():
            used.append(connection.connection)
            yield ticket.title

    with transaction.atomic():
        Ticket.objects.bulk_create([Ticket(title="one"), Ticket(title="two")])
    response = sse_response(items(), heartbeat=NEVER)
    frames = iter(response)
    next(frames)

    assert connection.connection is not None
    assert EventSource().read(next(frames)).events[0].data == "one"
    assert connection.connection is None
    response.close()
    with pytest.raises(Exception, match=r"closed|\(0, ''\)"):  # PyMySQL says no more
        used[0].cursor().execute("SELECT 1")


@frozen
class OpenAll(Stream[str]):
    """Open tickets, one after the other."""

    titles: tuple[str, ...]


@pytest.mark.usefixtures("committed")
def test_an_item_of_the_bus_is_committed_when_it_is_sent() -> None:
    """In the other thread, and nothing after the one that the client got."""
    registry = Registry()
    closed = threading.Event()

    @registry.handles(OpenAll, transaction="item")
    def open_all(message: OpenAll) -> Iterator[str]:
        try:
            for title in message.titles:
                Ticket.objects.create(title=title)
                yield title
        finally:
            closed.set()

    response = sse_response(DjangoMediator(registry).stream(OpenAll(("one", "two", "three"))), heartbeat=NEVER)
    frames = iter(response)
    next(frames)
    sent = EventSource().read(next(frames)).events

    assert sent == [Event("progress", "one", "1")]
    assert list(Ticket.objects.values_list("title", flat=True)) == ["one"]
    response.close()
    assert closed.is_set()
    assert Ticket.objects.count() == 1


@pytest.mark.django_db
def test_in_a_test_case_the_stream_sees_what_the_test_wrote() -> None:
    """Another thread would not: without one, heartbeats are forgone."""
    Ticket.objects.create(title="of the test")
    source = Source(lambda: Ticket.objects.get().title)

    seen = events(source, heartbeat=SOON)

    assert seen[0].data == "of the test"
    assert source.threads == {threading.current_thread().name}


def served(handler: Callable[[HttpRequest], Any]) -> type[Any]:
    """Return a urlconf of one view."""
    from django.urls import path

    return type("Urls", (), {"urlpatterns": [path("", handler)]})


def test_asgi_is_refused_before_anything_is_sent(settings: Any) -> None:
    """With the cure; and the stream is closed."""
    closed = threading.Event()

    class Held:
        def __iter__(self) -> Iterator[str]:
            return iter("abc")

        def close(self) -> None:
            closed.set()

    settings.ROOT_URLCONF = served(lambda request: sse_response(Held()))
    sent: list[Any] = []
    received = iter([{"type": "http.request"}])
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}

    async def receive() -> dict[str, Any]:
        return next(received, None) or await asyncio.sleep(NEVER, {})

    async def send(message: Any) -> None:
        sent.append(message)

    with pytest.raises(NotConfigured, match=r"gthread.*poll"):
        asyncio.run(asyncio.wait_for(ASGIHandler()(scope, receive, send), 10))
    assert sent == []
    assert closed.is_set()


def test_asgi_is_refused_however_it_comes() -> None:
    """Whoever iterates asynchronously is told the same."""

    async def read() -> None:
        async for _ in sse_response(["one"]):
            pass

    with pytest.raises(NotConfigured, match="WSGI"):
        asyncio.run(read())


@pytest.mark.usefixtures("committed")
def test_wsgi_is_welcome(settings: Any) -> None:
    """The response knows its handler, for Django's signal at the end of a request."""
    settings.ROOT_URLCONF = served(lambda request: sse_response(["one"]))
    request = RequestFactory().get("/").environ

    response = WSGIHandler()(request, lambda status, headers: None)

    assert EventSource().read(b"".join(response)).events[0].data == "one"
    assert response._handler_class is WSGIHandler
    response.close()


@pytest.mark.parametrize(
    ("header", "text", "number"),
    [
        (None, "", 0),
        ("17", "17", 17),
        ("٣", "٣", 0),
        ("-1", "-1", 0),
        ("order:7", "order:7", 0),
        ("9" * 16, "9" * 16, 0),
        ("9" * 201, "", 0),
    ],
    ids=str,
)
def test_the_last_event_id_is_read_with_distrust(header: str | None, text: str, number: int) -> None:
    """A client may send anything."""
    environ = {} if header is None else {"HTTP_LAST_EVENT_ID": header.encode().decode("latin-1")}
    request = RequestFactory().get("/", **environ)

    assert last_event_id(request) == text
    assert last_event_number(request) == number
