"""rodi as a container."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager

import pytest
import rodi

from simplecqrs.containers import Container
from simplecqrs.containers.rodi import RodiContainer
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

    library = "rodi"
    extra = "rodi"
    adapter = RodiContainer

    @pytest.fixture
    def container(self, factories: Factories) -> Container:
        def session(scope: rodi.ActivationScope) -> Session:
            return scope.scoped_services[ExitStack].enter_context(contextmanager(factories.session)())

        def users(scope: rodi.ActivationScope) -> Users:
            opened = contextmanager(factories.users)(scope.get(Session))
            return scope.scoped_services[ExitStack].enter_context(opened)

        container = rodi.Container()
        container.add_scoped_by_factory(session, Session)
        container.add_scoped_by_factory(users, Users)
        container.add_scoped(Broken)
        container.add_scoped(Mailer, PaperMailer)
        container.add_scoped_by_factory(FixedClock, Clock)
        return RodiContainer(container)


def test_names_what_a_factory_asks_for_in_vain() -> None:
    """rodi cannot know before."""

    def users(scope: rodi.ActivationScope) -> Users:
        scope.get(Missing)
        raise AssertionError

    library = rodi.Container()
    library.add_scoped_by_factory(users, Users)
    container = RodiContainer(library)

    with container.scope() as resolve, pytest.raises(DependencyNotFound, match=r"what Users needs.*Missing") as caught:
        resolve(Users)

    assert isinstance(caught.value.__cause__, rodi.CannotResolveTypeException)
