"""Views with ATOMIC_REQUESTS, which send commands."""

from django.http import HttpRequest, HttpResponse
from django.urls import path

from django_cqrs import bus
from tests.chaos.project.messages import Bump


def bump(request: HttpRequest, deed: str, how: str) -> HttpResponse:
    """Bump, and fail afterwards if told to."""
    bus.send(Bump("view", deed))
    if how == "fails":
        raise ValueError("after the command")
    return HttpResponse("done")


urlpatterns = [path("bump/<deed>/<how>", bump)]
