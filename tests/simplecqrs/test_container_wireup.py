"""wireup as a container."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
import wireup
from wireup.errors import UnknownServiceRequestedError

from simplecqrs.containers import Container
from simplecqrs.containers.wireup import WireupContainer
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


def clock() -> Clock:
    """Make a clock."""
    return FixedClock()


def mailer() -> Mailer:
    """Make a mailer."""
    return PaperMailer()


class TestContract(AdapterContract):
    """It does what every container does."""

    library = "wireup"
    extra = "wireup"
    adapter = WireupContainer

    @pytest.fixture
    def container(self, factories: Factories) -> Container:
        def session() -> Generator[Session, Any, None]:
            yield from factories.session()

        def users(session: Session) -> Generator[Users, Any, None]:
            yield from factories.users(session)

        def broken(session: Session) -> Broken:
            return Broken(session)

        makers = [session, users, broken, clock, mailer]
        return WireupContainer(
            wireup.create_sync_container(injectables=[wireup.injectable(maker, lifetime="scoped") for maker in makers])
        )


def test_what_is_overridden_is_overridden_here() -> None:
    """As in tests."""
    library = wireup.create_sync_container(injectables=[wireup.injectable(clock, lifetime="scoped")])
    container, other = WireupContainer(library), FixedClock()

    library.override.set(Clock, other)

    with container.scope() as resolve:
        assert resolve(Clock) is other


def test_says_what_wireup_says() -> None:
    """Its error is the cause of ours."""
    container = WireupContainer(wireup.create_sync_container())

    with container.scope() as resolve, pytest.raises(DependencyNotFound) as caught:
        resolve(Missing)

    assert isinstance(caught.value.__cause__, UnknownServiceRequestedError)


def test_names_what_a_factory_asks_for_in_vain() -> None:
    """wireup cannot know before."""

    def users() -> Users:
        with library.enter_scope() as scope:
            return Users(scope.get(Missing))

    library = wireup.create_sync_container(injectables=[wireup.injectable(users, lifetime="scoped")])
    container = WireupContainer(library)

    with container.scope() as resolve, pytest.raises(DependencyNotFound, match=r"what Users needs.*Missing"):
        resolve(Users)
