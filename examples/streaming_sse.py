"""
A long import seen in a browser: a stream's items as server-sent events, from a Django view.

A real one is served by ``gunicorn --worker-class gthread``; see docs/streaming-to-browsers.md, which begins with when
to poll instead.  It prints::

    event: start
    data: {"total":2}
    id: 1
    event: progress
    data: {"done":1}
    id: 2
    event: progress
    data: {"done":2}
    id: 3
    event: complete
    data: {"items":2}
"""

from collections.abc import Iterator

import django
from attrs import frozen
from django.conf import settings

settings.configure(INSTALLED_APPS=["django_cqrs"], ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, USE_TZ=True)
django.setup()

from django.http import HttpRequest, HttpResponseBase  # noqa: E402 - the settings come first
from django.test import RequestFactory  # noqa: E402
from django.views.decorators.http import require_GET  # noqa: E402

from django_cqrs import bus  # noqa: E402
from django_cqrs.sse import last_event_number, sse_response  # noqa: E402
from simplecqrs import Stream, handles  # noqa: E402


@frozen
class ImportUsers(Stream[dict[str, int]]):
    total: int
    skip: int = 0


@handles(ImportUsers)
def import_users(stream: ImportUsers) -> Iterator[dict[str, int]]:
    for number in range(stream.skip + 1, stream.total + 1):
        yield {"done": number}


@require_GET
def progress(request: HttpRequest) -> HttpResponseBase:
    seen = last_event_number(request)  # a browser that connects again says what it has seen
    items = bus.stream(ImportUsers(total=2, skip=seen))
    return sse_response(items, after=seen, start={"total": 2}, heartbeat=None)


response = progress(RequestFactory().get("/progress"))
print("\n".join(line for line in response.getvalue().decode().splitlines() if line not in ("", ":")))
