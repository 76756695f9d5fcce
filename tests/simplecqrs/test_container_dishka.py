"""dishka as a container."""

from __future__ import annotations

from collections.abc import Iterator

import dishka
import pytest
from dishka.exceptions import NoFactoryError

from simplecqrs.containers import Container
from simplecqrs.containers.dishka import DishkaContainer
from simplecqrs.errors import DependencyNotFound
from tests.contracts.container import AdapterContract
from tests.contracts.container_harness import (
    Broken,
    Clock,
    Factories,
    FixedClock,
    Mailer,
    Missing,
    PaperMailer,
    Session,
    Users,
)


class TestContract(AdapterContract):
    """It does what every container does."""

    library = "dishka"
    extra = "dishka"
    adapter = DishkaContainer
    sees = "given"

    @pytest.fixture
    def container(self, factories: Factories) -> Container:
        def session() -> Iterator[Session]:
            yield from factories.session()

        def users(session: Session) -> Iterator[Users]:
            yield from factories.users(session)

        provider = dishka.Provider(scope=dishka.Scope.REQUEST)
        provider.provide(session)
        provider.provide(users)
        provider.provide(Broken)
        provider.provide(FixedClock, provides=Clock)
        provider.provide(PaperMailer, provides=Mailer)
        return DishkaContainer(dishka.make_container(provider))


def test_what_belongs_to_the_app_is_made_once() -> None:
    """Its scope is a wider one, and it is found there."""
    provider = dishka.Provider()
    provider.provide(FixedClock, provides=Clock, scope=dishka.Scope.APP)
    container = DishkaContainer(dishka.make_container(provider))

    with container.scope() as first, container.scope() as second:
        assert first(Clock) is second(Clock)
    assert container.can_resolve(Clock)


def test_what_belongs_to_a_narrower_scope_is_not_found() -> None:
    """Neither at start-up nor later."""
    provider = dishka.Provider()
    provider.provide(FixedClock, provides=Clock, scope=dishka.Scope.STEP)
    container = DishkaContainer(dishka.make_container(provider))

    with container.scope() as resolve, pytest.raises(DependencyNotFound, match="nothing provides Clock"):
        resolve(Clock)

    assert not container.can_resolve(Clock)


def test_says_what_dishka_says() -> None:
    """Its error is the cause of ours."""
    container = DishkaContainer(dishka.make_container())

    with container.scope() as resolve, pytest.raises(DependencyNotFound) as caught:
        resolve(Missing)

    assert isinstance(caught.value.__cause__, NoFactoryError)
