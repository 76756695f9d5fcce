"""How long dependencies are shared: for a message and all that it causes, or for each handler."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
from attrs import Factory, define, frozen

from simplecqrs import (
    Command,
    DomainEvent,
    Mediator,
    Publish,
    Registry,
    Stream,
    SyncEventHandler,
    SyncRequestHandler,
    fallback,
)
from simplecqrs.errors import DependencyNotFound


@frozen
class Do(Command[None]):
    """Publishes an event."""


@frozen
class DoInside(Command[None]):
    """Is sent by a handler."""


@frozen
class Count(Stream[int]):
    """Is answered item by item."""


@frozen
class Done(DomainEvent):
    """Is handled by a class."""


class Failure(Exception):
    """What a handler raises."""


class Session:
    """What is opened for each scope."""


@define
class Diary:
    """Opens sessions and takes down what happens."""

    log: list[str] = Factory(list)

    def session(self) -> Callable[[], Generator[Session, None, None]]:
        """Return a factory."""

        def open_session() -> Generator[Session, None, None]:
            self.log.append("open")
            try:
                yield Session()
            except BaseException as error:
                self.log.append(f"saw {type(error).__name__}")
                raise
            finally:
                self.log.append("close")

        return open_session

    def mediator(self, registry: Registry, **options: Any) -> Mediator:
        """Make a mediator that provides sessions."""
        return Mediator(registry, provide={Session: self.session()}, **options)


@pytest.fixture
def diary() -> Diary:
    """Take down what happens in a test."""
    return Diary()


@pytest.fixture
def registry(diary: Diary) -> Registry:
    """Register a command that publishes, and an event, both of which need a session."""
    registry = Registry()

    @registry.handles(Do)
    def do(command: Do, publish: Publish, *, session: Session) -> None:
        diary.log.append("command")
        publish(Done())

    @registry.handles(Done)
    class OnDone(SyncEventHandler[Done]):
        def __init__(self, session: Session) -> None:
            self.session = session

        def handle(self, event: Done) -> None:
            diary.log.append("event")

    return registry


def test_a_message_and_what_it_causes_share_a_scope(diary: Diary, registry: Registry) -> None:
    """Opened once, closed when all is done."""
    diary.mediator(registry).send(Do())

    assert diary.log == ["open", "command", "event", "close"]


def test_each_handler_may_have_a_scope_of_its_own(diary: Diary, registry: Registry) -> None:
    """Closed when it returns, before the events that it published are handled."""
    diary.mediator(registry, scope="handler").send(Do())

    assert diary.log == ["open", "command", "close", "open", "event", "close"]


@pytest.mark.parametrize("scope", ["message", "handler"])
def test_factories_see_the_failure(diary: Diary, scope: str) -> None:
    """Whichever scope it is."""
    registry = Registry()

    @registry.handles(Do)
    def do(command: Do, *, session: Session) -> None:
        raise Failure

    with pytest.raises(Failure):
        diary.mediator(registry, scope=scope).send(Do())

    assert diary.log == ["open", "saw Failure", "close"]


def test_nested_commands_have_scopes_of_their_own_if_handlers_have(diary: Diary, registry: Registry) -> None:
    """One inside of the other."""

    @registry.handles(DoInside)
    class Inside(SyncRequestHandler[DoInside, None]):
        def __init__(self, session: Session) -> None:
            self.session = session

        def handle(self, command: DoInside) -> None:
            bus.send(Do())

    bus = diary.mediator(registry, scope="handler")
    bus.send(DoInside())

    assert diary.log == ["open", "open", "command", "close", "open", "event", "close", "close"]


def test_a_failed_attempt_ends_its_scope_before_the_backup_opens_another(diary: Diary) -> None:
    """So that its session is rolled back by itself."""
    registry = Registry()

    def primary(command: Do, *, session: Session) -> None:
        raise Failure

    def backup(command: Do, *, session: Session) -> None:
        diary.log.append("backup")

    registry.handles(Do)(fallback(primary, backup))
    diary.mediator(registry, scope="handler").send(Do())

    assert diary.log == ["open", "saw Failure", "close", "open", "backup", "close"]


@pytest.mark.parametrize("scope", ["message", "handler"])
def test_a_streams_scope_lasts_until_its_last_item_was_taken(diary: Diary, scope: str) -> None:
    """Not only until its generator was made."""
    registry = Registry()

    @registry.handles(Count)
    def count(stream: Count, *, session: Session) -> Iterator[int]:
        yield 1

    for _ in diary.mediator(registry, scope=scope).stream(Count()):
        diary.log.append("taken")

    assert diary.log == ["open", "taken", "close"]


def test_a_handler_without_dependencies_opens_no_scope_of_its_own(diary: Diary) -> None:
    """There is nothing to make."""
    registry = Registry()
    registry.add(Do, lambda command: None)

    diary.mediator(registry, scope="handler").send(Do())

    assert diary.log == []


def test_a_container_that_does_not_know_a_type_is_named_with_the_handler() -> None:
    """Even if its can_resolve had promised it."""

    class Forgetful:
        """Promises everything and has nothing."""

        def can_resolve(self, kind: Any, /) -> bool:
            return True

        def scope(self) -> Any:
            from contextlib import nullcontext

            def resolve(kind: Any) -> Any:
                raise DependencyNotFound(f"nothing makes {kind.__name__}")

            return nullcontext(resolve)

    registry = Registry()

    @registry.handles(Do)
    def do(command: Do, *, session: Session) -> None:
        """Need a session."""

    with pytest.raises(DependencyNotFound, match=r"do needs session: Session; nothing makes Session"):
        Mediator(registry, container=Forgetful()).send(Do())


# Handlers that the container makes


@frozen
class Greet(Command[str]):
    """Is handled by a class."""


class Greeter(SyncRequestHandler[Greet, str]):
    """Has a parameter that only a container could know."""

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self.count = 0

    def handle(self, command: Greet) -> str:
        """Count the calls of this instance."""
        self.count += 1
        return f"{self.words[0]} {self.count}"


@pytest.mark.parametrize("scope", ["message", "handler"])
def test_a_handler_class_that_the_container_knows_is_made_by_it(scope: Any) -> None:
    """One instance for all, if it says so: nothing of a dispatch is stored on it."""
    greeter, registry = Greeter(["hello"]), Registry()
    registry.handles(Greet)(Greeter)
    bus = Mediator(registry, provide={Greeter: lambda: greeter}, scope=scope)

    assert bus.problems() == []
    assert [bus.send(Greet()), bus.send(Greet())] == ["hello 1", "hello 2"]


def test_a_handler_class_that_the_container_does_not_know_is_built_for_each_message() -> None:
    """Of what it needs."""
    registry = Registry()
    registry.handles(Greet)(Greeter)
    bus = Mediator(registry, provide={list[str]: lambda: ["hi"]})

    assert [bus.send(Greet()), bus.send(Greet())] == ["hi 1", "hi 1"]
