"""Who may give which message: the acting user, and the project itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import frozen
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.core import checks
from django.core.exceptions import PermissionDenied
from django.db import transaction

from django_cqrs.errors import NotPermitted
from django_cqrs.http import error_response
from django_cqrs.permissions import acting_as, acting_as_system, acting_user
from simplecqrs import Command, DomainEvent, NotificationEvent, Publish, Query, Saga, Step, Stream, current
from simplecqrs.errors import NotPermitted as CoreNotPermitted
from tests.desk.models import Note
from tests.desk.project import Project

committing = pytest.mark.usefixtures("committed")


def is_writer(user: Any, command: Any) -> bool:
    """Tell whether a user may write this."""
    return bool(user.username == command.text)


@frozen
class Write(Command[None], name="desk.Write", permission="desk.add_note"):
    """Write a note."""

    text: str = "note"


@frozen
class WriteOwn(Command[None], name="desk.WriteOwn", permission=is_writer):
    """Write one's own name."""

    text: str


@frozen
class Count(Query[int], name="desk.Count", permission="desk.view_note"):
    """Count the notes."""


@frozen
class Follow(Stream[int], name="desk.Follow", permission="desk.view_note"):
    """Go through the notes."""


@frozen
class Outer(Command[None], name="desk.Outer"):
    """Sends another one."""


@frozen
class Asked(NotificationEvent, name="desk.asked", topic="asked"):
    """Somebody asked for a note."""

    who: str = "somebody"


@frozen
class Noticed(DomainEvent, name="desk.noticed"):
    """For after the commit."""


@frozen
class Trip:
    """What a saga knows."""

    day: int = 1


@pytest.fixture
def desk(project: Project) -> Project:
    """Return a project with guarded messages."""

    def follow(stream: Follow) -> Iterator[int]:
        yield from Note.objects.values_list("pk", flat=True)

    add = project.registry.add
    add(Write, lambda command: Note.objects.create(text=command.text) and None)
    add(WriteOwn, lambda command: Note.objects.create(text=command.text) and None)
    add(Count, lambda query: Note.objects.count())
    add(Follow, follow)
    add(Outer, lambda command: project.bus.send(Write("nested")))
    return project


def somebody(*names: str) -> Any:
    """Return a user with these permissions."""
    user = User.objects.create_user("ada")
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    return user


def notes() -> list[str]:
    """Return what was written."""
    return list(Note.objects.order_by("pk").values_list("text", flat=True))


@pytest.mark.django_db
class TestUsers:
    """What is sent while a user acts."""

    def test_one_who_has_the_permission_may(self, desk: Project) -> None:
        """Commands, queries, streams."""
        with acting_as(somebody("add_note", "view_note"), tenant="acme"):
            desk.bus.send(Write())
            seen = [desk.bus.send(Count()), len(list(desk.bus.stream(Follow())))]

        assert (notes(), seen) == (["note"], [1, 1])

    def test_one_who_has_it_not_may_not_and_no_transaction_is_opened(
        self, desk: Project, django_assert_num_queries: Any
    ) -> None:
        """Two statements: the user's permissions and the groups'."""
        user = somebody("view_note")

        with acting_as(user), django_assert_num_queries(2), pytest.raises(NotPermitted, match=r"'desk.add_note'"):
            desk.bus.send(Write())

        assert notes() == []

    def test_a_function_is_asked_with_user_and_message(self, desk: Project) -> None:
        """So that it may look at both."""
        with acting_as(somebody()):
            desk.bus.send(WriteOwn("ada"))
            with pytest.raises(NotPermitted, match="is_writer"):
                desk.bus.send(WriteOwn("eve"))

        assert notes() == ["ada"]

    def test_nobody_may_nothing(self, desk: Project) -> None:
        """Neither where nobody acts, nor one who is not logged in, whatever a function would say."""
        anonymous: Any = AnonymousUser()
        with pytest.raises(NotPermitted, match="nobody acts here"):
            desk.bus.send(Write())
        for command in (Write(), WriteOwn("")):
            with acting_as(anonymous), pytest.raises(NotPermitted):
                desk.bus.send(command)

        assert notes() == []

    def test_what_a_handler_sends_is_the_users_too(self, desk: Project) -> None:
        """Unless the handler says that the project itself does it."""
        desk.registry.add(Noticed, lambda event: None)

        with acting_as(somebody()), pytest.raises(NotPermitted):
            desk.bus.send(Outer())
        with acting_as(somebody_else := somebody_of("eve")), acting_as_system():
            desk.bus.send(Outer())

        assert (notes(), somebody_else.username) == (["nested"], "eve")

    def test_deferring_and_dry_runs_and_batches_are_no_way_around(self, desk: Project) -> None:
        """What is deferred is handled by the project itself, so the question is asked when it is deferred."""
        with acting_as(somebody()):
            for give in (desk.bus.defer, desk.bus.dry_run, lambda command: desk.bus.send_all([Outer(), command])):
                with pytest.raises(NotPermitted):
                    give(Write())

        assert notes() == []

    def test_messages_say_who_caused_them_and_acting_user_tells_who_acts(self, desk: Project) -> None:
        """The one is a header, the other the object."""
        seen: list[Any] = []

        @frozen
        class Tell(Command[None], name="desk.Tell"):
            pass

        desk.registry.add(Tell, lambda command: seen.append((dict(current().headers), acting_user())))
        user = somebody()
        with acting_as(user, tenant="acme", correlation_id="request-7"):
            desk.bus.send(Tell())
        with acting_as_system():
            desk.bus.send(Tell())

        assert seen == [({"user": str(user.pk), "tenant": "acme"}, user), ({}, None)]

    def test_the_error_is_403(self) -> None:
        """Django's own, the core's, and in JSON, without a word of what it would take."""
        error = NotPermitted("Write needs 'desk.add_note'")
        response = error_response(error)

        assert isinstance(error, PermissionDenied)
        assert isinstance(error, CoreNotPermitted)
        assert response is not None
        assert (response.status_code, json.loads(response.content)) == (403, {"error": "not permitted"})


def somebody_of(name: str) -> Any:
    """Return a user without any permission."""
    return User.objects.create_user(name)


@committing
class TestSystem:
    """What the project itself does later was allowed when it was asked for."""

    def test_what_a_consumer_handles_may_do_anything(self, desk: Project) -> None:
        """Its headers name a user, who is not asked; what it publishes for after the commit likewise."""
        later: list[str] = []
        desk.consume(Asked, consumer="mailing", work=lambda event, publish: write_and_notice(desk, publish))
        desk.registry.add(Noticed, lambda event: later.append(str(desk.bus.send(Count()))), after_commit=True)

        with acting_as(SimpleNamespace(pk=7, has_perm=lambda name: False)):
            desk.publish(Asked())
            desk.ship()
            desk.work()

        assert (notes(), later) == (["by mailing"], ["1"])

    def test_a_deferred_command_is_handled_by_the_project(self, desk: Project) -> None:
        """Who deferred it was asked then."""
        with acting_as(SimpleNamespace(pk=7, has_perm=lambda name: name == "desk.add_note")), transaction.atomic():
            desk.bus.defer(Write("later"))
        desk.work()

        assert notes() == ["later"]

    def test_a_consumer_may_let_a_user_act(self, desk: Project) -> None:
        """Who was asked to act inside comes before the project, for what is sent there and what that sends."""
        refused: list[str] = []

        def as_user(event: Asked, publish: Publish) -> None:
            with acting_as(SimpleNamespace(pk=7, has_perm=lambda name: False)):
                try:
                    desk.bus.send(Outer())
                except NotPermitted as error:
                    refused.append(str(error))

        desk.consume(Asked, consumer="mailing", work=as_user)
        desk.publish(Asked())
        desk.ship()
        desk.work()

        assert len(refused) == 1
        assert notes() == []

    def test_the_steps_of_a_saga_are_the_projects(self, desk: Project) -> None:
        """Who may begin one is decided by the command that begins it."""
        steps = [Step("write", act=lambda state: desk.bus.send(Write("by a step")))]
        saga = Saga("trip", Trip, steps, registry=desk.registry)
        saga.run(desk.bus, Trip())

        assert notes() == ["by a step"]


def write_and_notice(desk: Project, publish: Publish) -> None:
    """Do in a consumer what needs a permission."""
    desk.bus.send(Write("by mailing"))
    publish(Noticed())


def test_a_permission_that_no_model_defines_is_a_warning(project: Project) -> None:
    """With the one that is meant."""

    @frozen
    class Misspelt(Command[None], name="desk.Misspelt", permission="desk.ad_note"):
        pass

    project.registry.add(Misspelt, lambda command: None)
    project.registry.add(Write, lambda command: None)
    project.registry.add(WriteOwn, lambda command: None)

    (warning,) = [m for m in checks.run_checks(tags=["cqrs"]) if m.id == "cqrs.W020"]

    assert "Misspelt needs the permission 'desk.ad_note'" in warning.msg
    assert warning.hint == "Did you mean 'desk.add_note'?"
