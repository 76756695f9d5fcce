"""The office's pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.urls import path
from django.views.decorators.http import require_GET

from django_cqrs import bus
from django_cqrs.sse import last_event_number, sse_response
from tests.browser.office.handlers import streams
from tests.browser.office.messages import ImportPeople
from tests.browser.office.models import Person

PAGE = (Path(__file__).parent / "page.html").read_text()
#: Every connection that was ever made; those of ended requests are shut.
made: list[BaseDatabaseWrapper] = []


def remember(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Remember a connection that was made."""
    made.append(connection)


connection_created.connect(remember)


def page(request: HttpRequest) -> HttpResponse:
    """Show an import; the page hands its own query on to ``progress``."""
    return HttpResponse(PAGE)


@require_GET
def progress(request: HttpRequest) -> HttpResponseBase:
    """Import, and tell how far it is: from where the browser's last connection was cut."""
    asked = request.GET
    total, seen = int(asked.get("total", "20")), last_event_number(request)
    if seen > total:  # it has seen the end
        return HttpResponse(status=204)  # what keeps a browser from connecting again
    message = ImportPeople(
        asked["batch"], skip=seen, total=total, pace=float(asked["pace"]), fail_at=int(asked.get("fail_at", "0"))
    )
    limit = float(asked["max_seconds"]) if "max_seconds" in asked else None
    start = {"total": total, "after": seen}
    return sse_response(bus.stream(message), after=seen, start=start, retry=50, heartbeat=0.05, max_seconds=limit)


def status(request: HttpRequest) -> JsonResponse:
    """Tell what is open; this itself opens nothing."""
    is_open = {id(one) for one in made if one.connection is not None}
    return JsonResponse({"begun": streams.begun, "closed": streams.closed, "connections": len(is_open)})


def stored(request: HttpRequest) -> JsonResponse:
    """List what a batch has brought."""
    found = Person.objects.filter(batch=request.GET["batch"]).order_by("pk")
    return JsonResponse(list(found.values_list("number", flat=True)), safe=False)


urlpatterns = [path("", page), path("progress", progress), path("status", status), path("stored", stored)]
