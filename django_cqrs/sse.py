"""
Server-sent events: the items of a stream in a browser, one by one.

**When to poll instead**: nearly always.  Each open stream takes a thread of the server, and a database connection if
its handler needs one, for as long as the browser looks: four streams on a server of four threads, and nobody else gets
an answer.  Start the work, answer 202 with a ``Location`` that tells how far it is, and let the page ask there every
second or two: that survives restarts, proxies and any number of viewers.  Stream where a second is too late, few
people look at a time, and each for minutes at most.

>>> from django.test import RequestFactory
>>> def progress(request: HttpRequest) -> StreamingHttpResponse:
...     seen = last_event_number(request)
...     return sse_response(range(seen + 1, 4), after=seen, heartbeat=None)  # or bus.stream(ImportUsers(skip=seen))
>>> response = progress(RequestFactory().get("/progress", headers={"Last-Event-ID": "2"}))
>>> print(*(line for line in response.getvalue().decode().splitlines() if line.startswith(("id", "data"))))
id: 3 data: 3 id: 4 data: {"items":3}

In the page::

    const source = new EventSource("/progress");
    source.addEventListener("progress", (event) => show(JSON.parse(event.data)));
    source.addEventListener("complete", () => source.close());      // or the browser asks for it all again
    source.addEventListener("error", (event) => { if (event.data) source.close(); });   // without data: it reconnects

It needs WSGI with threads (``gunicorn --worker-class gthread``); under ASGI it is refused.  The rest is in
docs/streaming-to-browsers.md.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, TypeVar

from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, StreamingHttpResponse

from django_cqrs.frames import as_text, frame, one_line, retry_field
from django_cqrs.stepping import Steps
from django_cqrs.telling import Body, Script, no_reason, running_number
from simplecqrs.errors import NotConfigured

__all__ = ["last_event_id", "last_event_number", "sse_response"]

T = TypeVar("T")


def sse_response(
    items: Iterable[T],
    *,
    event: str | Callable[[T], str] = "progress",
    data: Callable[[T], str] = as_text,
    ids: Callable[[T, int], object] | None = running_number,
    after: int = 0,
    start: object = None,
    complete: str = "complete",
    failed: str = "error",
    error: Callable[[Exception], object] = no_reason,
    retry: int | None = None,
    heartbeat: float | None = 15.0,
    max_seconds: float | None = None,
) -> StreamingHttpResponse:
    """
    Return a response that sends each item as soon as there is one, then the event "complete" or "error".

    The items are made while the response is sent, one at a time, never ahead of it.  When the client leaves, they
    are closed: at the next write, which is a heartbeat at the latest, or when the item in progress is done.  See the
    module for when to poll instead.

    Args:
        items: ``bus.stream(...)``, or anything else that can be iterated; it is closed at the end if it can be.
        event: the name of the items' events, or what makes it of an item; "" is what browsers call "message".
        data: makes the text of an item.  Without it, text stays as it is, all else becomes JSON.
        ids: makes the id of an item of it and its running number; None sends no ids.  Where running numbers are the
            ids, the end has the next one.
        after: the number of the last item that the client has: numbers go on from there.
        start: the data of an event "start", the first of every connection; None sends none.
        complete: the name of the event at the end; its data is ``{"items": <the number of the last item>}``.
        failed: the name of the event that ends a stream whose handler raised.  The error itself is logged.
        error: makes the data of that event: what the client may know of an error.
        retry: how many milliseconds a browser waits before it connects again; None leaves that to it.
        heartbeat: seconds without an item after which a comment is sent; it keeps proxies from giving up, and finds
            out that the client has left.  It takes a second thread, in which the items are made: with database
            connections of its own, unless a transaction is open here, a TestCase's.  None sends none.
        max_seconds: how long a response may last: the first item after that ends it, without an event at the end, and
            the browser connects again, with the id of that item.

    Raises:
        NotConfigured: under ASGI, when the server takes the response.
    """
    script = Script(
        event=event if callable(event) else _always(one_line(event, "the name of an event")),
        data=data,
        ids=ids,
        start=b"" if start is None else frame(as_text(start), event="start"),
        complete=one_line(complete, "the name of the last event"),
        failed=one_line(failed, "the name of the error event"),
        error=error,
        retry=b"" if retry is None else retry_field(retry),
    )
    for seconds, name in ((heartbeat, "heartbeat"), (max_seconds, "max_seconds")):
        if seconds is not None and seconds <= 0:
            raise ValueError(f"{name} is more than 0 seconds, or None for never, not {seconds!r}")
    body = Body(Steps(items), script, number=after, heartbeat=heartbeat, max_seconds=max_seconds)
    return EventStreamResponse(body)


def last_event_id(request: HttpRequest, *, max_length: int = 200) -> str:
    """Return the id of the last event that a browser saw before it connected again; "" for none or a longer one."""
    header = request.headers.get("Last-Event-ID", "")
    # Browsers write UTF-8, and WSGI reads every header as Latin-1.
    text = header.encode("latin-1", "replace").decode("utf-8", "replace")
    return text if len(text) <= max_length else ""


def last_event_number(request: HttpRequest) -> int:
    """Return the last number that a browser saw, where ids are the running numbers; 0 for anything else."""
    text = last_event_id(request, max_length=15)
    return int(text) if text.isascii() and text.isdigit() else 0


class EventStreamResponse(StreamingHttpResponse):
    """A response of server-sent events, for WSGI alone."""

    _resource_closers: list[Callable[[], object]]  # Django's: this body, and the request
    _taken_by: type[Any] | None = None

    def __init__(self, body: Body) -> None:
        headers = {
            "Cache-Control": "no-cache",
            "X-Accel-Buffering": "no",  # nginx would gather the frames
            "Content-Encoding": "identity",  # as would GZipMiddleware, which leaves alone what has an encoding
        }
        super().__init__(body, content_type="text/event-stream", headers=headers)

    @property
    def _handler_class(self) -> type[Any] | None:
        """Tell which of Django's handlers has taken this, as it notes in every response before it sends anything."""
        return self._taken_by

    @_handler_class.setter
    def _handler_class(self, handler: type[Any] | None) -> None:
        if handler is not None and issubclass(handler, ASGIHandler):
            self._refuse()
        self._taken_by = handler

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Refuse: Django would gather all items before it sends the first."""
        self._refuse()
        raise AssertionError

    def _refuse(self) -> None:
        # Nobody else will: an error here is none that Django expects of a response.
        for close in self._resource_closers:
            close()
        raise NotConfigured(
            "sse_response cannot be served under ASGI, where Django would send nothing before the last item is made; "
            "serve this URL by WSGI with threads (gunicorn --worker-class gthread), or poll: answer 202 with a "
            "Location that tells how far it is"
        )


def _always(name: str) -> Callable[[object], str]:
    return lambda item: name
