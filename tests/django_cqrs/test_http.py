"""Errors of commands as HTTP responses."""

from __future__ import annotations

import json

import pytest
from attrs import frozen
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import RequestFactory

from django_cqrs import bus
from django_cqrs.http import answering_errors, error_response
from simplecqrs import Command, load
from tests.desk.messages import CloseTicket, OpenTicket
from tests.desk.models import Ticket


class SoldOut(Exception):
    """An error of the project's own."""


class NoSuchCustomer(Exception):
    """Another one."""


@frozen
class Line:
    """Part of a command."""

    quantity: int


@frozen
class PlaceOrder(Command[int]):
    """A command of some fields."""

    customer: str
    lines: list[Line]


def body(response: HttpResponse) -> object:
    """Return what a response says."""
    return json.loads(response.content)


def view_that_raises(error: Exception) -> HttpResponse:
    """Call a decorated view that raises."""

    @answering_errors(not_found=(NoSuchCustomer,), conflict=(SoldOut,))
    def view(request: HttpRequest) -> HttpResponse:
        raise error

    return view(RequestFactory().get("/"))


def test_an_invalid_payload_is_400_with_every_field() -> None:
    """Each by its path."""

    @answering_errors()
    def view(request: HttpRequest) -> HttpResponse:
        load(PlaceOrder, json.loads(request.body))
        raise AssertionError("it is invalid")

    data = {"customer": 7, "lines": [{"quantity": 1}, {"quantity": "many"}], "colour": "red"}
    response = view(RequestFactory().post("/", data, content_type="application/json"))

    assert response.status_code == 400
    answer = body(response)
    assert answer["error"] == "invalid"
    assert set(answer["fields"]) == {"customer", "lines[1].quantity", "colour"}


@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (ValidationError({"title": ["too long", "too loud"]}), {"title": ["too long", "too loud"]}),
        (ValidationError("neither nor"), {"": ["neither nor"]}),
    ],
    ids=["fields", "as a whole"],
)
def test_djangos_validation_error_is_400(error: Exception, fields: object) -> None:
    """In the same shape."""
    response = view_that_raises(error)

    assert (response.status_code, body(response)) == (400, {"error": "invalid", "fields": fields})


@pytest.mark.django_db
def test_what_does_not_exist_is_404() -> None:
    """As the handler said it."""

    @answering_errors()
    def view(request: HttpRequest) -> HttpResponse:
        bus.send(CloseTicket(4711))
        return HttpResponse("closed")

    response = view(RequestFactory().get("/"))

    assert response.status_code == 404
    assert "Ticket" in body(response)["error"]


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (NoSuchCustomer("no customer 7"), 404, "no customer 7"),
        (NoSuchCustomer(), 404, "not found"),
        (SoldOut("no books left"), 409, "no books left"),
        (SoldOut(), 409, "conflict"),
    ],
    ids=["404", "bare 404", "409", "bare 409"],
)
def test_the_projects_own_errors_are_what_the_view_says(error: Exception, status: int, said: str) -> None:
    """404 or 409."""
    response = view_that_raises(error)

    assert (response.status_code, body(response)) == (status, {"error": said})


def test_all_other_errors_pass() -> None:
    """They are not the client's doing."""
    assert error_response(ValueError("a bug")) is None
    assert error_response(SoldOut()) is None
    with pytest.raises(ZeroDivisionError):
        view_that_raises(ZeroDivisionError())


@pytest.mark.django_db
def test_what_the_view_answers_passes() -> None:
    """It is called with all it was given, and keeps its name."""

    @answering_errors()
    def open_ticket(request: HttpRequest, title: str, *, prefix: str) -> JsonResponse:
        """Open one."""
        return JsonResponse({"id": bus.send(OpenTicket(prefix + title))}, status=201)

    response = open_ticket(RequestFactory().post("/"), "printer", prefix="my ")

    assert (response.status_code, body(response)) == (201, {"id": Ticket.objects.get(title="my printer").pk})
    assert (open_ticket.__name__, open_ticket.__doc__) == ("open_ticket", "Open one.")
