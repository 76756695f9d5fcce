"""di as a container."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import di
import pytest
from attrs import frozen
from di.dependent import Dependent

from simplecqrs.containers import Container
from simplecqrs.containers.di import DiContainer
from simplecqrs.errors import DependencyNotFound
from tests.contracts.container import AdapterContract
from tests.contracts.container_harness import (
    Clock,
    Factories,
    FixedClock,
    Mailer,
    PaperMailer,
    Session,
    Users,
)


@frozen
class Report:
    """Is not bound; its ``__init__`` is written by attrs."""

    users: Users
    title: str = "report"


@frozen
class Letter:
    """Needs what nobody has bound."""

    text: str


@frozen
class Post:
    """Needs what needs it."""

    letter: Letter


class TestContract(AdapterContract):
    """It does what every container does."""

    library = "di"
    extra = "di"
    adapter = DiContainer

    @pytest.fixture
    def container(self, factories: Factories) -> Container:
        def session() -> Generator[Session, Any, None]:
            yield from factories.session()

        def users(session: Session) -> Generator[Users, Any, None]:
            yield from factories.users(session)

        makers: dict[Any, Any] = {Session: session, Users: users, Clock: FixedClock, Mailer: PaperMailer}
        container = di.Container()
        for kind, maker in makers.items():
            container.bind(di.bind_by_type(Dependent(maker, scope="request"), kind))
        return DiContainer(container)


def test_wires_a_class_that_is_not_bound() -> None:
    """By the hints of its constructor, as di does; defaults stay."""
    container = DiContainer(di.Container())

    assert container.can_resolve(Report)
    with container.scope() as resolve:
        report = resolve(Report)
        assert report.users.session is resolve(Session)
    assert report.title == "report"


@pytest.mark.parametrize("kind", [Letter, Post], ids=["at once", "further down"])
def test_does_not_make_up_a_string(kind: Any) -> None:
    """di would, an empty one."""
    container = DiContainer(di.Container())

    assert not container.can_resolve(kind)
    with container.scope() as resolve, pytest.raises(DependencyNotFound, match="nothing provides str; bind it"):
        resolve(kind)


def test_what_belongs_to_a_wider_scope_is_made_once() -> None:
    """The application opens it."""
    library = di.Container()
    library.bind(di.bind_by_type(Dependent(FixedClock, scope="app"), Clock))

    with library.enter_scope("app") as state:
        container = DiContainer(library, state=state)
        with container.scope() as first, container.scope() as second:
            assert first(Clock) is second(Clock)


def test_refuses_what_is_async() -> None:
    """There is nobody to await it."""

    async def clock() -> Clock:
        return FixedClock()

    library = di.Container()
    library.bind(di.bind_by_type(Dependent(clock, scope="request"), Clock))
    container = DiContainer(library)

    assert not container.can_resolve(Clock)
    with container.scope() as resolve, pytest.raises(DependencyNotFound, match="clock is async"):
        resolve(Clock)
