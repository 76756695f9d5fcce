"""The middleware for Django's MIDDLEWARE: user, tenant and correlation id of a request."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from attrs import frozen
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.models import Session
from django.core.exceptions import PermissionDenied
from django.db import connections, transaction
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.urls import path

from django_cqrs.middlewares import acting
from django_cqrs.permissions import acting_user
from simplecqrs import Command, DomainEvent, Publish, context, current
from tests.desk.project import Project

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_cqrs.middlewares.acting",
]


@frozen
class Tell(Command[dict[str, Any]], name="desk.Tell"):
    """Tell what is known here."""


@frozen
class Told(DomainEvent, name="desk.told"):
    """Handled after the commit."""


@frozen
class Guarded(Command[None], name="desk.Guarded", permission="desk.add_note"):
    """Needs a permission."""


def tell(command: Tell, publish: Publish) -> dict[str, Any]:
    """Return the headers, the correlation id, and who acts."""
    publish(Told())
    return {**current().headers, "id": current().correlation_id, "acts": getattr(acting_user(), "username", None)}


def view(request: HttpRequest) -> HttpResponse:
    """Send it from a plain view."""
    return HttpResponse(repr(Project.current.bus.send(Tell())))


def guarded(request: HttpRequest) -> HttpResponse:
    """Send what needs a permission."""
    Project.current.bus.send(Guarded())
    return HttpResponse("done")


def stream(request: HttpRequest) -> StreamingHttpResponse:
    """Send it while the body is sent."""

    def parts() -> Iterator[str]:
        for _ in range(2):
            yield Project.current.bus.send(Tell())["id"] + "\n"

    return StreamingHttpResponse(parts())


async def later(request: HttpRequest) -> HttpResponse:
    """Send it from an async view."""
    return HttpResponse(repr(await sync_to_async(Project.current.bus.send)(Tell())))


async def later_stream(request: HttpRequest) -> StreamingHttpResponse:
    """Send it while an async body is sent."""

    async def parts() -> AsyncIterator[str]:
        for _ in range(2):
            yield (await sync_to_async(Project.current.bus.send)(Tell()))["id"] + "\n"

    return StreamingHttpResponse(parts())


urlpatterns = [
    path("view", view),
    path("guarded", guarded),
    path("stream", stream),
    path("later", later),
    path("later-stream", later_stream),
]


def tenant_of(request: HttpRequest) -> str | None:
    """Name the tenant of a request."""
    return request.headers.get("X-Tenant")


@pytest.fixture
def desk(project: Project, settings: Any) -> Project:
    """Return a project whose requests go through the middleware."""
    settings.MIDDLEWARE, settings.ROOT_URLCONF = MIDDLEWARE, __name__
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "TENANT": f"{__name__}.tenant_of"}
    project.registry.add(Tell, tell)
    project.registry.add(Guarded, lambda command: None)
    project.registry.add(Told, lambda event: project.seen.append(current().correlation_id), after_commit=True)
    return project


@pytest.fixture
def logins(committed: None) -> Iterator[None]:
    """Forget who was logged in."""
    yield
    Session.objects.all().delete()
    User.objects.all().delete()


def ask(url: str, **headers: str) -> Any:
    """Ask through WSGI as Ada, who may nothing."""
    client = Client()
    client.force_login(User.objects.get_or_create(username="ada")[0])
    return client.get(f"/{url}", headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.usefixtures("logins")
class TestRequests:
    """What messages know of the request that caused them."""

    def test_messages_have_user_tenant_and_correlation_id(self, desk: Project) -> None:
        """And the response names the correlation id."""
        response = ask("view", X_Request_ID="abc-1", X_Tenant="acme")
        user = str(User.objects.get().pk)

        assert eval(response.content) == {"user": user, "tenant": "acme", "id": "abc-1", "acts": "ada"}
        assert response.headers["X-Request-ID"] == "abc-1"

    def test_after_the_response_nothing_of_it_is_left(self, desk: Project) -> None:
        """What is sent then is a story of its own."""
        ask("view")

        assert desk.bus.send(Tell())["acts"] is None

    def test_what_the_user_may_not_is_403(self, desk: Project) -> None:
        """Django answers it by itself."""
        response = ask("guarded")

        assert response.status_code == 403

    def test_a_streamed_body_has_the_context_to_its_end(self, desk: Project) -> None:
        """Though the middleware has returned long ago."""
        response = ask("stream", X_Correlation_ID="abc-2")
        body = b"".join(response.streaming_content)

        assert body == b"abc-2\nabc-2\n"
        assert response.headers["X-Correlation-ID"] == "abc-2"

    def test_atomic_requests_commit_inside_of_it(self, desk: Project) -> None:
        """So that after-commit handlers belong to the request as well."""
        request = RequestFactory().get("/", headers={"X-Request-ID": "abc-3"})
        acting(transaction.atomic(view))(request)

        assert desk.seen == ["abc-3"]

    def test_async_views_and_bodies_have_it_as_well(self, desk: Project) -> None:
        """Through ASGI's handler; their threads see what was set."""

        async def both() -> tuple[Any, bytes]:
            client = AsyncClient()
            answer = await client.get("/later", headers={"X-Request-ID": "abc-4"})
            streamed: Any = await client.get("/later-stream", headers={"X-Request-ID": "abc-5"})
            body = b"".join([part async for part in streamed.streaming_content])
            await sync_to_async(connections.close_all)()  # those of the thread in which the views were
            return answer, body

        answer, body = asyncio.run(both())

        assert eval(answer.content) == {"id": "abc-4", "acts": None}
        assert body == b"abc-5\nabc-5\n"


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "a\nb", "é", "<script>"])
def test_a_correlation_id_that_is_none_is_replaced(given: str) -> None:
    """It goes into logs, tables and to brokers."""
    request = RequestFactory().get("/", headers={"X-Request-ID": given})
    response = acting(lambda request: HttpResponse())(request)

    assert UUID(response.headers["X-Request-ID"]).version == 7


def test_nobody_asks_who_the_user_is_before_a_message_is_sent() -> None:
    """Who reads the session has each response vary by its cookie; and a REST framework logs in later."""
    asked: list[str] = []

    class Lazy:
        @property
        def pk(self) -> int:
            asked.append("pk")
            return 7

    def answer(request: Any) -> HttpResponse:
        with context(colour="red"):
            before = list(asked)
            request.user = Lazy()  # as a REST framework does it
            return HttpResponse(f"{before} {acting_user() is request.user}")

    request: Any = RequestFactory().get("/")
    request.user = AnonymousUser()

    assert acting(answer)(request).content == b"[] True"


@pytest.mark.usefixtures("unblocked")
def test_a_file_is_sent_as_it_is() -> None:
    """The server may have a way of its own for it."""
    response = FileResponse(io.BytesIO(b"x"))
    file = response.file_to_stream
    sent = acting(lambda request: response)(RequestFactory().get("/"))

    assert sent.file_to_stream is file
    sent.close()


def test_an_error_passes() -> None:
    """And leaves nothing behind."""

    def refuse(request: HttpRequest) -> HttpResponse:
        raise PermissionDenied

    request: Any = RequestFactory().get("/")
    request.user = User(username="ada")
    with pytest.raises(PermissionDenied):
        acting(refuse)(request)

    assert acting_user() is None
