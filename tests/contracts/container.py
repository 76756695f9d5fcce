"""What every container does."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, Literal

import pytest

from simplecqrs import Mediator, Registry, SyncRequestHandler
from simplecqrs.containers import Container
from simplecqrs.errors import DependencyNotFound, MissingExtra, NotConfigured
from tests.contracts.container_harness import (
    FAILURE,
    Ask,
    Broken,
    Clock,
    Do,
    DoInside,
    Factories,
    Failure,
    FixedClock,
    Log,
    Mailer,
    Missing,
    PaperMailer,
    Session,
    Users,
)


class ContainerContract:
    """
    What every container does.

    Override ``container``: one that makes Session and Users, once for each scope, by the generators of ``factories``;
    Broken; Clock, by FixedClock; and Mailer, by PaperMailer.  ``sees`` says how factories learn of a failure.
    """

    sees: Literal["thrown", "given", "not at all"] = "thrown"

    @pytest.fixture
    def log(self) -> Log:
        """Note what factories do."""
        return []

    @pytest.fixture
    def factories(self, log: Log) -> Factories:
        """Make what is opened and closed."""
        return Factories(log)

    @pytest.fixture
    def container(self, factories: Factories) -> Container:
        raise NotImplementedError

    # Making

    def test_makes_a_type_once_in_a_scope(self, container: Container) -> None:
        """Who asks again gets the same."""
        with container.scope() as resolve:
            first, second = resolve(Session), resolve(Session)

        assert isinstance(first, Session)
        assert first is second

    def test_makes_it_anew_in_the_next_scope(self, container: Container) -> None:
        """Nothing is left of a scope."""
        with container.scope() as resolve:
            first = resolve(Users)
        with container.scope() as resolve:
            second = resolve(Users)

        assert first is not second
        assert first.session is not second.session

    def test_makes_what_a_factory_needs(self, container: Container) -> None:
        """In the same scope: everybody has the same session."""
        with container.scope() as resolve:
            users, session = resolve(Users), resolve(Session)

        assert users.session is session

    def test_makes_only_what_is_asked_for(self, container: Container, log: Log) -> None:
        """A scope costs what is used."""
        with container.scope() as resolve:
            resolve(Clock)

        assert log == []

    def test_finds_an_adapter_by_its_protocol(self, container: Container) -> None:
        """The key is what handlers ask for."""
        with container.scope() as resolve:
            assert isinstance(resolve(Clock), FixedClock)

    def test_finds_an_adapter_by_its_abstract_class(self, container: Container) -> None:
        """The key is what handlers ask for."""
        with container.scope() as resolve:
            assert isinstance(resolve(Mailer), PaperMailer)

    def test_lets_pass_what_a_factory_raises(self, container: Container) -> None:
        """The very same exception, not wrapped."""
        with pytest.raises(Failure) as caught, container.scope() as resolve:
            resolve(Broken)

        assert caught.value is FAILURE

    # Cleaning up

    def test_cleans_up_in_reverse_order(self, container: Container, log: Log) -> None:
        """What was made last goes first, since it may use what was made before; and nothing goes early."""
        with container.scope() as resolve:
            resolve(Users)
            assert log == ["open session", "open users"]

        assert log == ["open session", "open users", "close users", "close session"]

    def test_cleans_up_in_reverse_order_of_asking(self, container: Container, log: Log) -> None:
        """It does not matter who has asked."""
        with container.scope() as resolve:
            resolve(Session)
            resolve(Users)

        assert log == ["open session", "open users", "close users", "close session"]

    def test_cleans_up_after_a_failure(self, container: Container, log: Log) -> None:
        """And the failure passes."""
        failure = Failure()

        with pytest.raises(Failure) as caught, container.scope() as resolve:
            resolve(Users)
            raise failure

        assert caught.value is failure
        assert [entry for entry in log if entry.startswith("close")] == ["close users", "close session"]

    def test_cleans_up_what_was_made_before_a_factory_failed(self, container: Container, log: Log) -> None:
        """Broken takes a session."""
        with pytest.raises(Failure), container.scope() as resolve:
            resolve(Broken)

        assert (log[0], log[-1]) == ("open session", "close session")

    def test_tells_factories_of_a_failure_as_the_library_does(self, container: Container, log: Log) -> None:
        """Thrown into generators, given to them, or neither."""
        with pytest.raises(Failure), container.scope() as resolve:
            resolve(Session)
            raise Failure

        told = {"thrown": ["failure in session"], "given": ["session is given the failure"], "not at all": []}
        assert log == ["open session", *told[self.sees], "close session"]

    # Sharing nothing

    def test_threads_do_not_share(self, container: Container, log: Log) -> None:
        """Two scopes that are open at the same time, each in its thread."""
        both, made = threading.Barrier(2, timeout=10), list[Session]()

        def work() -> None:
            with container.scope() as resolve:
                made.append(resolve(Session))
                both.wait()
                made.append(resolve(Session))
                both.wait()

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)

        assert len(made) == 4
        assert len(set(made)) == 2
        assert sorted(log) == ["close session"] * 2 + ["open session"] * 2

    def test_a_scope_inside_of_another_does_not_share(self, container: Container, log: Log) -> None:
        """The end of the inner one, as that of an after-commit handler, leaves the outer one as it was."""
        with container.scope() as outer:
            session = outer(Session)
            with container.scope() as inner:
                assert inner(Session) is not session
            assert log == ["open session", "open session", "close session"]
            assert outer(Session) is session

        assert log[3:] == ["close session"]

    # Not found

    def test_names_a_type_that_nothing_provides(self, container: Container) -> None:
        """It is one of our errors, and says what to do."""
        with container.scope() as resolve, pytest.raises(DependencyNotFound, match=r"nothing provides Missing; \w+"):
            resolve(Missing)

    def test_knows_what_it_can_make_without_making_it(self, container: Container, log: Log) -> None:
        """So that a mistake is found before the first message."""
        answers = [container.can_resolve(kind) for kind in (Session, Users, Broken, Clock, Mailer, Missing, str)]

        assert answers == [True, True, True, True, True, False, False]
        assert log == []

    def test_does_not_change_its_mind_when_asked_first(self, container: Container) -> None:
        """A type may be asked for before, within and after a scope."""
        before = container.can_resolve(Users)
        with container.scope() as resolve:
            resolve(Users)
            within = container.can_resolve(Users)

        assert (before, within, container.can_resolve(Users)) == (True, True, True)
        assert not container.can_resolve(Missing)

    # In a mediator

    def test_gives_a_function_its_keyword_parameters(self, container: Container, log: Log) -> None:
        """By type; they are open as long as the handler works."""

        def handler(command: Do, *, users: Users, clock: Clock) -> int:
            log.append(type(users).__name__)
            return clock.now()

        registry = Registry()
        registry.add(Do, handler)

        assert Mediator(registry, container=container).send(Do()) == 7
        assert log == ["open session", "open users", "Users", "close users", "close session"]

    def test_gives_a_class_what_its_constructor_takes(self, container: Container) -> None:
        """By type; the object is built for each message."""

        class Handler(SyncRequestHandler[Do, bool]):
            def __init__(self, session: Session, *, users: Users) -> None:
                self.shared = users.session is session

            def handle(self, command: Do) -> bool:
                return self.shared

        registry = Registry()
        registry.add(Do, Handler)

        assert Mediator(registry, container=container).send(Do()) is True

    def test_messages_inside_of_a_message_share_its_scope(self, container: Container, log: Log) -> None:
        """Whatever is sent inside joins the outermost one, and the next message has a scope of its own."""
        seen: list[Session] = []
        registry = Registry()
        bus = Mediator(registry, container=container)

        def note(message: DoInside | Ask, *, session: Session) -> None:
            seen.append(session)

        def handler(command: Do, *, session: Session) -> None:
            seen.append(session)
            bus.send(DoInside())
            bus.send(Ask())

        registry.add(Do, handler)
        registry.add(DoInside, note)
        registry.add(Ask, note)

        bus.send(Do())
        bus.send(Ask())

        assert len(seen) == 4
        assert len(set(map(id, seen[:3]))) == 1
        assert seen[3] is not seen[0]
        assert log == ["open session", "close session"] * 2

    def test_check_names_handler_parameter_and_type_of_what_is_missing(self, container: Container) -> None:
        """Before the first message."""

        def handler(command: Do, *, users: Users, clerk: Missing) -> None: ...

        registry = Registry()
        registry.add(Do, handler)

        with pytest.raises(NotConfigured) as caught:
            Mediator(registry, container=container).check()

        (problem,) = caught.value.problems
        assert "handler needs clerk: Missing, which nothing provides" in problem


class AdapterContract(ContainerContract):
    """What a container does that adapts another library's."""

    #: The name of the package to import, and that of our extra.
    library: str
    extra: str
    adapter: Callable[[Any], Container]

    def test_names_the_extra_that_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """When it is made, and not before."""
        monkeypatch.setitem(sys.modules, self.library, None)

        with pytest.raises(MissingExtra, match=rf"pip install 'simplecqrs\[{self.extra}\]'"):
            type(self).adapter(object())
