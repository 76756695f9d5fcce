"""Dependencies: found by type, made once per scope, cleaned up."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NewType, Protocol

import pytest
from attrs import define, frozen

from simplecqrs import Command, DomainEvent, Mediator, Publish, Query, Registry, SyncRequestHandler
from simplecqrs.containers import Provider
from simplecqrs.errors import DependencyNotFound, NotConfigured
from tests.contracts import container_harness as harness
from tests.contracts.container import ContainerContract

Url = NewType("Url", str)


@frozen
class Do(Command[Any]):
    """A command."""


@frozen
class DoInside(Command[Any]):
    """Is sent by a handler of Do."""


@frozen
class Ask(Query[Any]):
    """A query."""


@frozen
class Happened(DomainEvent):
    """An event."""


class Session:
    """Something that is opened and closed."""


@frozen
class Users:
    """Needs a session; its ``__init__`` is written by attrs."""

    session: Session


class Mailer:
    """Needs two things."""

    def __init__(self, users: Users, url: Url, retries: int = 3) -> None:
        self.users = users
        self.url = url


class Clock(Protocol):
    """A port."""

    def now(self) -> int:
        """Tell the time."""


class FixedClock:
    """An adapter."""

    def now(self) -> int:
        """Tell the time."""
        return 7


class Failure(Exception):
    """What a handler raises."""


@define
class Sessions:
    """Opens sessions, and notes what becomes of them."""

    log: list[str]
    swallow: bool = False

    def open(self) -> Generator[Session, None, None]:
        """Open one."""
        self.log.append("open")
        try:
            yield Session()
        except Failure:
            self.log.append("rollback")
            if not self.swallow:
                raise
        else:
            self.log.append("commit")


def users_of(session: Session) -> Users:
    """Make users."""
    return Users(session)


def with_users(command: Do, *, users: Users) -> Users:
    """Take what was injected."""
    return users


class TestContract(ContainerContract):
    """It does what every container does."""

    @pytest.fixture
    def container(self, factories: harness.Factories) -> Provider:
        return Provider(
            {
                harness.Session: factories.session,
                harness.Users: factories.users,
                harness.Broken: harness.Broken,
                harness.Clock: harness.FixedClock,
                harness.Mailer: harness.PaperMailer,
            }
        )


def test_a_handler_gets_what_it_asks_for_by_type() -> None:
    """Classes, functions and lambdas make it."""
    registry = Registry()
    registry.add(Do, with_users)
    bus = Mediator(registry, provide={Users: users_of, Session: Session})

    assert isinstance(bus.send(Do()).session, Session)


def test_factories_need_each_other_in_any_order() -> None:
    """Classes that attrs wrote, with a NewType and a default."""
    provider = Provider({Mailer: Mailer, Users: Users, Url: lambda: Url("smtp://"), Session: Session})

    with provider.scope() as resolve:
        mailer = resolve(Mailer)
        assert mailer.url == "smtp://"
        assert mailer.users.session is resolve(Session)


def test_a_port_is_provided_by_its_adapter() -> None:
    """The key is what handlers ask for."""

    def handler(command: Do, *, clock: Clock) -> int:
        return clock.now()

    registry = Registry()
    registry.add(Do, handler)

    assert Mediator(registry, provide={Clock: FixedClock}).send(Do()) == 7


def test_a_class_handler_gets_its_dependencies_by_constructor() -> None:
    """By position or keyword, by type."""

    class Handler(SyncRequestHandler[Do, Session]):
        def __init__(self, users: Users, *, session: Session) -> None:
            assert users.session is session
            self.session = session

        def handle(self, command: Do) -> Session:
            return self.session

    registry = Registry()
    registry.add(Do, Handler)

    assert isinstance(Mediator(registry, provide={Users: Users, Session: Session}).send(Do()), Session)


def test_publish_and_dependencies_go_together() -> None:
    """All three kinds of parameters."""
    log: list[str] = []

    def handler(command: Do, publish: Publish, *, users: Users) -> None:
        publish(Happened())
        log.append(type(users).__name__)

    registry = Registry()
    registry.add(Do, handler)
    registry.add(Happened, lambda event: log.append("event"))

    Mediator(registry, provide={Users: Users, Session: Session}).send(Do())

    assert log == ["Users", "event"]


def test_one_scope_is_shared_by_a_message_its_events_and_what_it_sends() -> None:
    """Each type is made once for the outermost message, and again for the next one."""
    seen: list[Session] = []
    registry = Registry()
    bus = Mediator(registry, provide={Session: Session})

    @registry.handles(Do)
    def handler(command: Do, publish: Publish, *, session: Session) -> None:
        seen.append(session)
        bus.send(DoInside())
        bus.send(Ask())
        publish(Happened())

    def note(message: Any, *, session: Session) -> None:
        seen.append(session)

    registry.add(DoInside, note)
    registry.add(Ask, note)
    registry.add(Happened, note)

    bus.send(Do())
    first = seen.copy()
    bus.send(Do())

    assert len(first) == 4
    assert len({id(session) for session in first}) == 1
    assert seen[4] is not seen[0]


def test_a_generator_is_cleaned_up_when_the_scope_ends() -> None:
    """After the handlers of the events, and only once."""
    log: list[str] = []
    registry = Registry()

    @registry.handles(Do)
    def handler(command: Do, publish: Publish, *, session: Session) -> None:
        log.append("handler")
        publish(Happened())

    @registry.handles(Happened)
    def happened(event: Happened, *, session: Session) -> None:
        log.append("event")

    Mediator(registry, provide={Session: Sessions(log).open}).send(Do())

    assert log == ["open", "handler", "event", "commit"]


@pytest.mark.parametrize("swallow", [False, True], ids=["raises again", "forgets to raise"])
def test_a_generator_sees_the_exception_and_cannot_swallow_it(swallow: bool) -> None:
    """The caller of ``send`` gets it in any case."""
    log: list[str] = []
    registry = Registry()

    @registry.handles(Do)
    def handler(command: Do, *, session: Session) -> None:
        raise Failure

    with pytest.raises(Failure):
        Mediator(registry, provide={Session: Sessions(log, swallow).open}).send(Do())

    assert log == ["open", "rollback"]


def test_generators_are_cleaned_up_in_reverse_order() -> None:
    """What was made last goes first, since it may use what was made before."""
    log: list[str] = []

    def session() -> Iterator[Session]:
        yield Session()
        log.append("session")

    def users(session: Session) -> Iterator[Users]:
        yield Users(session)
        log.append("users")

    with Provider({Users: users, Session: session}).scope() as resolve:
        resolve(Users)

    assert log == ["users", "session"]


def test_what_nobody_asks_for_is_not_made() -> None:
    """A scope costs what is used."""
    log: list[str] = []
    registry = Registry()
    registry.add(Do, lambda command: "answer")

    assert Mediator(registry, provide={Session: Sessions(log).open}).send(Do()) == "answer"
    assert log == []


def test_a_middleware_that_calls_again_gets_a_new_scope() -> None:
    """The first one is closed by then."""
    log: list[str] = []
    registry = Registry()

    def retrying(message: Any, call_next: Callable[[Any], Any]) -> Any:
        with suppress(Failure):
            return call_next(message)
        return call_next(message)

    @registry.handles(Do)
    def handler(command: Do, *, session: Session) -> str:
        if log == ["open"]:
            raise Failure
        return "answer"

    bus = Mediator(registry, middlewares=[retrying], provide={Session: Sessions(log).open})

    assert bus.send(Do()) == "answer"
    assert log == ["open", "rollback", "open", "commit"]


def test_the_scope_is_around_the_unit_of_work() -> None:
    """So a failing commit is seen by what the scope cleans up."""
    log: list[str] = []
    registry = Registry()

    @contextmanager
    def transaction(message: Any) -> Generator[None, None, None]:
        log.append("begin")
        yield
        log.append("commit fails")
        raise Failure

    @registry.handles(Do)
    def handler(command: Do, *, session: Session) -> None:
        log.append("handler")

    with pytest.raises(Failure):
        Mediator(registry, transaction=transaction, provide={Session: Sessions(log).open}).send(Do())

    assert log == ["begin", "open", "handler", "commit fails", "rollback"]


def test_an_after_commit_handler_has_a_scope_of_its_own() -> None:
    """It is a message of its own."""
    seen: list[Session] = []
    registry = Registry()

    @registry.handles(Do)
    def handler(command: Do, publish: Publish, *, session: Session) -> None:
        seen.append(session)
        publish(Happened())

    @registry.handles(Happened, after_commit=True)
    def later(event: Happened, *, session: Session) -> None:
        seen.append(session)

    Mediator(registry, provide={Session: Session}).send(Do())

    assert len(seen) == 2
    assert seen[0] is not seen[1]


def test_any_container_with_a_scope_will_do() -> None:
    """The port has one method, and one question for ``check()``."""

    class Everything:
        @contextmanager
        def scope(self) -> Generator[Callable[[Any], Any], None, None]:
            yield lambda kind: kind()

        def can_resolve(self, kind: Any, /) -> bool:
            return True

    def handler(command: Do, *, session: Session) -> bool:
        return isinstance(session, Session)

    registry = Registry()
    registry.add(Do, handler)

    assert Mediator(registry, container=Everything()).send(Do()) is True


# What is missing


@pytest.mark.parametrize("provide", [None, {Session: Session}], ids=["nothing", "something else"])
def test_check_names_handler_parameter_and_type_of_what_nothing_provides(provide: Any) -> None:
    """And the cure, before the first message."""
    registry = Registry()
    registry.add(Do, with_users)
    bus = Mediator(registry, provide=provide)

    with pytest.raises(NotConfigured) as caught:
        bus.send(Do())

    assert caught.value.problems == (
        f"function {__name__}.with_users needs users: Users, which nothing provides; add it: provide={{Users: ...}}",
    )


def test_check_names_a_type_that_cannot_be_found() -> None:
    """One that was imported for checkers only."""

    def handler(command: Do, *, users: Users) -> None: ...

    handler.__annotations__["users"] = "Nowhere"
    registry = Registry()
    registry.add(Do, handler)

    with pytest.raises(NotConfigured, match=r"the type 'Nowhere' of users cannot be found in its module; import it"):
        Mediator(registry).check()


def test_a_factory_that_needs_what_nothing_provides_is_refused_at_once() -> None:
    """Where the mediator is made."""
    with pytest.raises(DependencyNotFound, match=r"the factory of Users needs session: Session, which nothing prov"):
        Mediator(Registry(), provide={Users: Users})


def make_session(users: Users) -> Session:
    """Need what needs a session."""
    return Session()


def test_factories_that_need_each_other_are_refused_at_once() -> None:
    """The circle is shown."""
    with pytest.raises(DependencyNotFound, match=r"need each other: Users -> Session -> Users"):
        Provider({Users: Users, Session: make_session})


def test_a_factory_that_cannot_be_called_is_refused_with_the_cure() -> None:
    """An object is given by a lambda."""
    with pytest.raises(DependencyNotFound, match=r"Session is given .*, which is not callable; write lambda"):
        Provider({Session: Session()})  # type: ignore[dict-item]


def test_an_async_factory_is_refused() -> None:
    """It would inject something to await."""

    async def session() -> Session:
        return Session()

    with pytest.raises(DependencyNotFound, match="the factory of Session is async"):
        Provider({Session: session})


def untyped(session):  # type: ignore[no-untyped-def]
    """Need something without a type."""
    return Users(session)


def test_a_parameter_of_a_factory_without_a_type_is_refused() -> None:
    """There is nothing to find it by."""
    with pytest.raises(DependencyNotFound, match=r"the factory of Users: its parameter session has no type"):
        Provider({Users: untyped, Session: Session})


def test_a_type_of_a_factory_that_cannot_be_found_is_refused() -> None:
    """One that was imported for checkers only."""

    def users(session: Session) -> Users:
        return Users(session)

    users.__annotations__["session"] = "Nowhere"

    with pytest.raises(DependencyNotFound, match=r"factory of Users: the type 'Nowhere' of session cannot be found"):
        Provider({Users: users, Session: Session})


def test_a_parameter_of_a_factory_that_has_no_name_is_refused() -> None:
    """Dependencies are given by name."""

    def users(session: Session, /) -> Users:
        return Users(session)

    with pytest.raises(DependencyNotFound, match=r"the factory of Users: its parameter session is positional-only"):
        Provider({Users: users, Session: Session})


def test_resolving_what_nothing_provides_is_an_error() -> None:
    """For who uses a scope by hand."""
    with Provider({}).scope() as resolve, pytest.raises(DependencyNotFound, match="nothing provides Session"):
        resolve(Session)


def test_provide_and_container_exclude_each_other() -> None:
    """Nobody would know which one wins."""
    with pytest.raises(NotConfigured, match="provide= or container=, not both"):
        Mediator(Registry(), provide={}, container=Provider({}))
