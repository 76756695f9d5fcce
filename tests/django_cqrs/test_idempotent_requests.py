"""The header Idempotency-Key: in Django's views, with Django REST framework and with ninja."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections
from django.db.models.signals import post_save
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import Client, RequestFactory
from django.urls import path
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI, Schema
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from django_cqrs import bus
from django_cqrs.errors import IdempotencyKeyInvalid
from django_cqrs.http import answering_errors, error_response, idempotency_key
from simplecqrs import load
from simplecqrs.errors import CQRSError, IdempotencyKeyInUse, IdempotencyKeyReused, NotConfigured
from tests.desk.messages import OpenTicket
from tests.desk.models import Ticket

PATIENCE = 20
api = NinjaAPI(urls_namespace="keys")


class NewTicket(Schema):
    """What ninja makes of a body."""

    title: str


@csrf_exempt
@answering_errors()
def plain(request: HttpRequest) -> HttpResponse:
    """Open a ticket in a view of Django."""
    key = idempotency_key(request)
    command = load(OpenTicket, json.loads(request.body))
    return JsonResponse({"id": bus.send(command, idempotency_key=key, concurrent="raise")}, status=201)


class ClassBased(View):
    """A view class of Django, whose clients need no key."""

    @answering_errors()
    def post(self, request: HttpRequest) -> HttpResponse:
        """Open a ticket."""
        key = idempotency_key(request, required=False)
        return JsonResponse({"id": bus.send(OpenTicket("printer"), idempotency_key=key)}, status=201)


@api_view(["POST"])
@answering_errors()
def rest(request: Request) -> HttpResponse:
    """Open a ticket in a view of Django REST framework."""
    ticket = bus.send(load(OpenTicket, request.data), idempotency_key=idempotency_key(request), concurrent="raise")
    return Response({"id": ticket}, status=201)


class RestView(APIView):
    """Another one, whose project maps errors for all its views."""

    def post(self, request: Request) -> HttpResponse:
        """Open a ticket."""
        ticket = bus.send(load(OpenTicket, request.data), idempotency_key=idempotency_key(request), concurrent="raise")
        return Response({"id": ticket}, status=201)

    def get_exception_handler(self) -> Any:
        """Return what the setting EXCEPTION_HANDLER may name."""
        return lambda error, context: error_response(error)


@api.post("/decorated")
@answering_errors()
def decorated(request: HttpRequest, data: NewTicket) -> Any:
    """Open a ticket in an operation of ninja."""
    ticket = bus.send(OpenTicket(data.title), idempotency_key=idempotency_key(request), concurrent="raise")
    return {"id": ticket}


@api.post("/handled")
def handled(request: HttpRequest, data: NewTicket) -> Any:
    """Open a ticket; what it raises the API handles."""
    ticket = bus.send(OpenTicket(data.title), idempotency_key=idempotency_key(request), concurrent="raise")
    return {"id": ticket}


@api.exception_handler(CQRSError)
def answer(request: HttpRequest, error: CQRSError) -> HttpResponse:
    """Return the response to an error of ours."""
    response = error_response(error)
    assert response is not None
    return response


urlpatterns = [
    path("plain", plain),
    path("class", csrf_exempt(ClassBased.as_view())),
    path("rest", rest),
    path("rest-view", RestView.as_view()),
    path("ninja/", api.urls),
]
pytestmark = pytest.mark.urls(__name__)
URLS = ["/plain", "/rest", "/rest-view", "/ninja/decorated", "/ninja/handled"]


def each_view(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test with every view, and forget what it has stored."""
    with_url = pytest.mark.parametrize("url", URLS)(test)
    return pytest.mark.usefixtures("users")(with_url)


@pytest.fixture
def users(committed: None) -> Any:
    """Forget the users of a test: the desk's tables are emptied, and not those of Django."""
    yield
    User.objects.all().delete()


def send(url: str, key: str | None, title: str = "printer", *, client: Client | None = None) -> Any:
    """Ask for a ticket."""
    headers = {} if key is None else {"Idempotency-Key": key}
    return (client or Client()).post(url, {"title": title}, content_type="application/json", headers=headers)


def problem(response: Any) -> tuple[int, str, set[str]]:
    """Return what a response says is wrong."""
    return response.status_code, response["Content-Type"], set(json.loads(response.content))


def is_problem(response: Any, status: int) -> bool:
    """Tell whether it has the status and the shape of RFC 9457."""
    return problem(response) == (status, "application/problem+json", {"title", "status", "detail", "error"})


@each_view
def test_a_repeat_is_answered_as_the_first_request_was(url: str) -> None:
    """And opens no second ticket; another key does."""
    first, again, other = send(url, '"k1"'), send(url, '"k1"'), send(url, '"k2"', "scanner")

    assert {r.status_code for r in (first, again, other)} <= {200, 201}
    assert first.content == again.content != other.content
    assert Ticket.objects.count() == 2


@each_view
def test_a_request_needs_a_key(url: str) -> None:
    """Without one it is refused before anything runs."""
    assert is_problem(send(url, None), 400)
    assert is_problem(send(url, "no key"), 400)
    assert Ticket.objects.count() == 0


@each_view
def test_another_payload_under_the_key_is_refused(url: str) -> None:
    """And nothing of ours is told."""
    send(url, '"k1"')

    response = send(url, '"k1"', "scanner")

    assert is_problem(response, 422)
    assert b"OpenTicket" not in response.content
    assert Ticket.objects.count() == 1


class TestAtTheSameTime:
    """A request comes while the same one is at work."""

    #: Whoever writes on SQLite has waited for all others.
    parallel = connection.vendor != "sqlite"

    @pytest.mark.needs("parallel")
    @each_view
    def test_it_is_told_to_come_again(self, url: str) -> None:
        """409, and when to do so."""
        begun, goes_on = threading.Event(), threading.Event()
        first: list[Any] = []

        def wait(**_: object) -> None:
            begun.set()
            assert goes_on.wait(PATIENCE)

        def ask() -> None:
            try:
                first.append(send(url, '"k1"'))
            finally:
                connections.close_all()

        post_save.connect(wait, sender=Ticket)
        thread = threading.Thread(target=ask)
        thread.start()
        try:
            assert begun.wait(PATIENCE)
            response = send(url, '"k1"')
        finally:
            goes_on.set()
            thread.join(PATIENCE)
            post_save.disconnect(wait, sender=Ticket)

        assert is_problem(response, 409)
        assert response["Retry-After"] == "1"
        assert send(url, '"k1"').content == first[0].content


@pytest.mark.usefixtures("users")
def test_a_key_may_be_left_out_where_it_is_not_required() -> None:
    """Then each request is one of its own; one that cannot be read is refused all the same."""
    assert send("/class", None).status_code == 201
    assert send("/class", '"a').status_code == 400
    Ticket.objects.all().delete()
    assert len({send("/class", '"k1"').content for _ in range(2)}) == 1


@each_view
def test_nobody_gets_what_somebody_else_was_answered(url: str) -> None:
    """The same key of another user is another key, and so it is at another path."""
    ada, bob = Client(), Client()
    ada.force_login(User.objects.create(username="ada"))
    bob.force_login(User.objects.create(username="bob"))

    answers = [
        send(url, '"k1"', title, client=client).content
        for client, title in ((ada, "a"), (bob, "b"), (None, "c"), (ada, "a"), (bob, "b"), (None, "c"))
    ]

    assert answers[:3] == answers[3:]
    assert len(set(answers)) == Ticket.objects.count() == 3


def request(key: str, **attributes: Any) -> HttpRequest:
    """Return a request with a key."""
    made = RequestFactory().post("/", headers={"Idempotency-Key": key})
    vars(made).update(attributes)
    return made


@pytest.mark.parametrize(
    "key",
    ['"8e03978e-40d5-43e8-bc93-6894a57f9324"', " 8e03978e ", r'"say \"hi\" \\"', '"a, b; c"', '"' + "x" * 255 + '"'],
    ids=["quoted", "token", "escaped", "signs", "long"],
)
def test_a_key_is_a_string_of_structured_headers_or_a_token(key: str) -> None:
    """The same one gives the same, and another one another."""
    found = idempotency_key(request(key))

    assert found == idempotency_key(request(key)) != idempotency_key(request('"another"'))
    assert len(found) <= 255


def test_with_and_without_quotation_marks_it_is_the_same_key() -> None:
    """A client may have been mended meanwhile."""
    assert idempotency_key(request('"8e03978e"')) == idempotency_key(request("8e03978e"))


@pytest.mark.parametrize(
    "key",
    ["", '""', '"', '"a', 'a"', '"a" "b"', '"a", "b"', "a,b", "a b", '"a";x=1', r'"\x"', '"\xe4"', "x" * 256],
    ids=range(13),
)
def test_what_is_no_such_string_is_refused(key: str) -> None:
    """Two headers are one with a comma, which nobody can tell from a key."""
    with pytest.raises(IdempotencyKeyInvalid, match="the header Idempotency-Key"):
        idempotency_key(request(key))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"auth": "token a"}, {"auth": "token b"}),
        ({"auth": SimpleNamespace(pk=1)}, {"auth": SimpleNamespace(pk=2)}),
        ({"auth": SimpleNamespace(pk=1)}, {"auth": User(pk=1)}),
        ({"auth": "1"}, {"auth": 1}),
        ({"auth": "1"}, {"user": SimpleNamespace(is_authenticated=True, pk=1)}),
        ({"user": SimpleNamespace(is_authenticated=False, pk=1)}, {"auth": "1"}),
        ({"method": "PUT"}, {"method": "POST"}),
        ({"path": "/a"}, {"path": "/b"}),
    ],
    ids=["tokens", "objects", "kinds of objects", "text and number", "token and user", "nobody", "methods", "paths"],
)
def test_keys_of_different_clients_and_requests_are_different(first: dict[str, Any], second: dict[str, Any]) -> None:
    """However they are known: by Django's sessions, by DRF, or by ninja, which sets ``auth``."""
    assert idempotency_key(request('"k"', **first)) != idempotency_key(request('"k"', **second))


@pytest.mark.parametrize("auth", [SimpleNamespace(name="shop"), True], ids=["object", "yes"])
def test_a_client_that_nobody_can_name_is_named_by_the_project(auth: Any) -> None:
    """Else its key would be another one each time, or that of somebody else: ninja's ``auth`` may just say yes."""
    strange = request('"k"', auth=auth)

    with pytest.raises(NotConfigured, match=r"idempotency_key\(request, scope=\.\.\.\)"):
        idempotency_key(strange)

    assert idempotency_key(strange, scope="a") != idempotency_key(strange, scope="b")


@pytest.mark.parametrize("error", [IdempotencyKeyReused("x"), IdempotencyKeyInUse("x")], ids=["reused", "in use"])
def test_names_of_the_project_stay_inside(error: Exception) -> None:
    """What a client is told does not depend on what we call our classes."""
    response = error_response(error, conflict=(ValueError, RuntimeError))  # which ours are as well

    assert response is not None
    assert response["Content-Type"] == "application/problem+json"
    assert "x" not in json.loads(response.content)["detail"].split()
