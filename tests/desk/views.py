"""What the desk shows."""

from __future__ import annotations

from contextlib import suppress

from django.http import HttpRequest, HttpResponse

from django_cqrs import bus
from tests.desk.messages import Broken, OpenTicket


def open_ticket(request: HttpRequest) -> HttpResponse:
    """Open a ticket, then do what ``then`` says: raise, or survive a command that fails."""
    ticket = bus.send(OpenTicket("from a view"))
    if request.GET.get("then") == "raise":
        raise ValueError("after the command")
    if request.GET.get("then") == "survive":
        with suppress(ValueError):
            bus.send(Broken("raise"))
    return HttpResponse(str(ticket))
