"""dependency-injector as a container."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from dependency_injector import containers, providers, resources

from simplecqrs.containers import Container
from simplecqrs.containers.dependency_injector import DependencyInjectorContainer
from simplecqrs.containers.dependency_injector_types import providers_by_type
from simplecqrs.errors import DependencyNotFound
from tests.contracts.container import AdapterContract
from tests.contracts.container_harness import (
    Broken,
    Clock,
    Factories,
    FixedClock,
    Mailer,
    PaperMailer,
    Session,
    Users,
)


def clock() -> Clock:
    """Make a clock."""
    return FixedClock()


class OtherMailer(PaperMailer):
    """Replaces a mailer."""


class TestContract(AdapterContract):
    """It does what every container does."""

    library = "dependency_injector"
    extra = "dependency-injector"
    adapter = DependencyInjectorContainer
    sees = "not at all"

    @pytest.fixture
    def container(self, factories: Factories) -> Container:
        class Desk(containers.DeclarativeContainer):
            session = providers.ContextLocalResource(factories.session)
            users = providers.ContextLocalResource(factories.users, session)
            broken = providers.Factory(Broken, session)
            clock = providers.Callable(globals()["clock"])
            mailer = providers.ContextLocalSingleton(PaperMailer)

        return DependencyInjectorContainer(Desk())


class Storage(containers.DeclarativeContainer):
    """Is nested in another one."""

    config = providers.Configuration()
    dsn = providers.Object("sqlite://")
    session = providers.ContextLocalSingleton(Session)


class People(containers.DeclarativeContainer):
    """Depends on what the outer one gives it."""

    session = providers.Dependency(instance_of=Session)
    users = providers.Factory(Users, session=session)


class App(containers.DeclarativeContainer):
    """Nests both."""

    storage = providers.Container(Storage)
    people = providers.Container(People, session=storage.session)
    mailer = providers.AbstractSingleton(Mailer)
    broken = providers.Factory(Broken, session=providers.Dependency(instance_of=Session))


def test_finds_providers_in_nested_containers() -> None:
    """One that is handed from one container to another is one."""
    container = DependencyInjectorContainer(App())

    with container.scope() as resolve:
        assert resolve(Users).session is resolve(Session)


def test_what_nobody_gave_cannot_be_made() -> None:
    """An abstract provider without a concrete one, and a dependency of a dependency."""
    container = DependencyInjectorContainer(App())

    assert not container.can_resolve(Mailer)
    assert not container.can_resolve(Broken)


def test_an_override_is_seen() -> None:
    """One that comes after the adapter, and only as long as it lasts; types stay those of what it replaces."""
    app = App()
    container = DependencyInjectorContainer(app)

    with app.mailer.override(providers.Singleton(OtherMailer)), container.scope() as resolve:
        assert container.can_resolve(Mailer)
        assert isinstance(resolve(Mailer), OtherMailer)
    assert not container.can_resolve(Mailer)


def test_an_override_of_what_is_needed_is_seen() -> None:
    """As a test replaces a session."""
    app, session = App(), Session()
    container = DependencyInjectorContainer(app)

    with app.storage.session.override(providers.Object(session)), container.scope() as resolve:
        assert resolve(Users).session is session


class Lease(resources.Resource):
    """A resource that is a class."""

    def init(self) -> Session:
        return Session()

    def shutdown(self, resource: Session | None) -> None:
        """Close nothing."""


async def later() -> Users:
    """Is not for synchronous handlers."""
    raise AssertionError


@pytest.mark.parametrize(
    ("provider", "kinds"),
    [
        pytest.param(providers.Factory(PaperMailer), {PaperMailer}, id="class"),
        pytest.param(providers.Singleton(clock), {Clock}, id="function"),
        pytest.param(providers.Resource(Lease), {Session}, id="class of a resource"),
        pytest.param(providers.Resource(clock), {Clock}, id="resource that only returns"),
        pytest.param(providers.Object(FixedClock()), {FixedClock}, id="object"),
        pytest.param(providers.Dependency(instance_of=Session), {Session}, id="dependency"),
        pytest.param(providers.Object("text"), set(), id="text"),
        pytest.param(providers.Configuration(), set(), id="configuration"),
        pytest.param(providers.Callable(lambda: 7), set(), id="function without hints"),
        pytest.param(providers.Callable(later), set(), id="async function"),
        pytest.param(providers.List(), set(), id="list"),
    ],
)
def test_knows_what_a_provider_makes(provider: Any, kinds: set[Any]) -> None:
    """By its class, its function's hint, or what it is said to be an instance of."""
    app = containers.DynamicContainer()
    app.it = provider

    assert set(providers_by_type(app)) == kinds


def test_a_dependency_without_a_type_is_what_it_was_given() -> None:
    """Of which there is one."""
    app = containers.DynamicContainer()
    app.session = providers.Singleton(Session)
    app.given = providers.Dependency()
    app.given.override(app.session)

    assert {kind: len(found) for kind, found in providers_by_type(app).items()} == {Session: 1}


def test_two_providers_of_a_type_are_not_chosen_from() -> None:
    """The cure is to name one."""
    app = containers.DynamicContainer()
    app.first, app.second = providers.Singleton(PaperMailer), providers.Singleton(OtherMailer)
    container = DependencyInjectorContainer(app)

    with container.scope() as resolve, pytest.raises(DependencyNotFound, match=r"2 providers make Mailer; .*by_type="):
        resolve(Mailer)
    chosen = DependencyInjectorContainer(app, by_type={Mailer: app.first})

    assert not container.can_resolve(Mailer)
    with chosen.scope() as resolve:
        assert type(resolve(Mailer)) is PaperMailer


def test_what_is_made_outside_of_scopes_is_left_alone() -> None:
    """The context outside has its own; so have scopes."""
    closed: list[str] = []
    factories = Factories(closed)
    app = containers.DynamicContainer()
    app.session = providers.ContextLocalResource(factories.session)
    container = DependencyInjectorContainer(app, by_type={Session: app.session})
    outside = app.session()

    with container.scope() as resolve:
        assert resolve(Session) is not outside

    assert app.session() is outside
    app.session.shutdown()
    assert closed == ["open session", "open session", "close session", "close session"]


def test_a_resource_of_the_process_outlives_scopes() -> None:
    """It is not local to a context."""
    log: list[str] = []
    app = containers.DynamicContainer()
    app.session = providers.Resource(Factories(log).session)
    container = DependencyInjectorContainer(app)

    with container.scope() as resolve:
        first = resolve(Session)
    with container.scope() as resolve:
        assert resolve(Session) is first

    assert log == ["open session"]
    app.shutdown_resources()


def test_every_resource_is_closed_though_one_cannot_be() -> None:
    """The failure to close is told, after the others are closed."""
    log: list[str] = []

    def users(session: Session) -> Iterator[Users]:
        yield Users(session)
        raise OSError("cannot be closed")

    app = containers.DynamicContainer()
    app.session = providers.ContextLocalResource(Factories(log).session)
    app.users = providers.ContextLocalResource(users, app.session)
    container = DependencyInjectorContainer(app)

    with pytest.raises(OSError, match="cannot be closed"), container.scope() as resolve:
        resolve(Users)

    assert log == ["open session", "close session"]
