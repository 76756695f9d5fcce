"""svcs as a container."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager

import pytest
import svcs

from simplecqrs.containers import Container
from simplecqrs.containers.svcs import SvcsContainer
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

    library = "svcs"
    extra = "svcs"
    adapter = SvcsContainer
    sees = "not at all"

    @pytest.fixture
    def container(self, factories: Factories) -> Container:
        def users(svcs_container: svcs.Container) -> AbstractContextManager[Users]:
            return contextmanager(factories.users)(svcs_container.get(Session))

        def broken(svcs_container: svcs.Container) -> Broken:
            return Broken(svcs_container.get(Session))

        registry = svcs.Registry()
        registry.register_factory(Session, factories.session)
        registry.register_factory(Users, users)
        registry.register_factory(Broken, broken)
        registry.register_factory(Clock, FixedClock)
        registry.register_factory(Mailer, PaperMailer)
        return SvcsContainer(registry)


def test_names_what_a_factory_asks_for_in_vain() -> None:
    """And not what it would have made; svcs cannot know before."""

    def users(svcs_container: svcs.Container) -> Users:
        svcs_container.get(Missing)
        raise AssertionError

    registry = svcs.Registry()
    registry.register_factory(Users, users)
    container = SvcsContainer(registry)

    with container.scope() as resolve, pytest.raises(DependencyNotFound, match="nothing provides Missing") as caught:
        resolve(Users)

    assert isinstance(caught.value.__cause__, svcs.exceptions.ServiceNotFoundError)
    assert container.can_resolve(Users)
