"""Middlewares: their order, what they surround, and what they may do."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import pytest
from attrs import frozen

from simplecqrs import (
    Command,
    DomainEvent,
    Envelope,
    Mediator,
    Message,
    NotificationEvent,
    Publish,
    Query,
    Registry,
    SyncRequestHandler,
    around,
    current,
)
from simplecqrs.errors import NotPublished
from simplecqrs.metadata import uuid7
from simplecqrs.pipeline import Middleware, Unswallowed, compose


@frozen
class Do(Command[str]):
    """A command."""


@frozen
class DoInside(Command[str]):
    """Is sent by a handler of Do."""


@frozen
class Ask(Query[str]):
    """A query."""


@frozen
class Happened(DomainEvent):
    """An event."""


@frozen
class Placed(NotificationEvent):
    """An event that comes from elsewhere."""


class Failure(Exception):
    """What a handler raises."""


def logging(log: list[str], name: str) -> Middleware:
    """Return a middleware that notes what it surrounds."""

    def middleware(message: Message, call_next: Callable[[Any], Any]) -> Any:
        log.append(f"{name} enters {type(message).__name__}")
        try:
            return call_next(message)
        finally:
            log.append(f"{name} leaves {type(message).__name__}")

    return middleware


def test_the_first_middleware_is_outermost() -> None:
    """As they are written, from the outside in."""
    log: list[str] = []
    registry = Registry()
    registry.add(Do, lambda command: log.append("handler"))

    Mediator(registry, middlewares=[logging(log, "a"), logging(log, "b")]).send(Do())

    assert log == ["a enters Do", "b enters Do", "handler", "b leaves Do", "a leaves Do"]


def test_a_middleware_may_answer_by_itself() -> None:
    """The handler, and the middlewares inside, are not called."""
    log: list[str] = []
    registry = Registry()
    registry.add(Ask, lambda query: log.append("handler"))
    bus = Mediator(registry, middlewares=[lambda message, call_next: "cached", logging(log, "inner")])

    assert bus.send(Ask()) == "cached"
    assert log == []


def test_a_middleware_may_change_message_answer_and_error() -> None:
    """What it passes on is what the handler sees, and what it returns is what the caller gets."""

    @frozen
    class Say(Command[str]):
        what: str

    def twice(message: Any, call_next: Callable[[Any], Any]) -> Any:
        try:
            return call_next(Say(message.what * 2)) + "!"
        except Failure as error:
            raise LookupError from error

    registry = Registry()

    @registry.handles(Say)
    def say(command: Say) -> str:
        if command.what == "badbad":
            raise Failure
        return command.what

    bus = Mediator(registry, middlewares=[twice])

    assert bus.send(Say("ab")) == "abab!"
    with pytest.raises(LookupError):
        bus.send(Say("bad"))


def test_middlewares_surround_commands_queries_nested_sends_and_each_call_of_an_event_handler() -> None:
    """One pipeline for all."""
    log: list[str] = []
    registry = Registry()
    bus = Mediator(registry, middlewares=[logging(log, "m")])

    @registry.handles(Do)
    def handler(command: Do, publish: Publish) -> str:
        bus.send(DoInside())
        publish(Happened())
        return bus.send(Ask())

    registry.add(DoInside, lambda command: log.append("inside"))
    registry.add(Ask, lambda query: log.append("asked"))
    registry.add(Happened, lambda event: log.append("first"))
    registry.add(Happened, lambda event: log.append("second"), after_commit=True)
    registry.add(Happened, lambda event: log.append("third"))

    bus.send(Do())

    assert log == [
        "m enters Do",
        *("m enters DoInside", "inside", "m leaves DoInside"),
        *("m enters Ask", "asked", "m leaves Ask"),
        *("m enters Happened", "first", "m leaves Happened"),
        *("m enters Happened", "third", "m leaves Happened"),
        *("m enters Happened", "second", "m leaves Happened"),
        "m leaves Do",
    ]


def test_middlewares_surround_received_messages() -> None:
    """Events and commands that came from elsewhere."""
    log: list[str] = []
    registry = Registry()
    registry.add(Placed, lambda event: log.append("event"), consumer="c")
    registry.add(Do, lambda command: log.append("command"))
    bus = Mediator(registry, middlewares=[logging(log, "m")])

    for kind, name in (("event", "Placed"), ("command", "Do")):
        envelope = Envelope(
            id=uuid7(),
            kind=kind,
            name=name,
            topic=name,
            time=datetime.now(timezone.utc),
            payload=b"{}",  # type: ignore[arg-type]
        )
        bus.receive(envelope, consumer="c", allow_commands=True)

    assert log == ["m enters Placed", "event", "m leaves Placed", "m enters Do", "command", "m leaves Do"]


def test_a_middleware_sees_the_metadata_of_what_it_surrounds() -> None:
    """Before and after the handler, the same."""
    seen: list[Any] = []
    registry = Registry()
    registry.add(Do, lambda command: seen.append(current()))

    def middleware(message: Message, call_next: Callable[[Any], Any]) -> Any:
        seen.append(current())
        answer = call_next(message)
        seen.append(current())
        return answer

    Mediator(registry, middlewares=[middleware]).send(Do())

    assert len(seen) == 3
    assert seen[0] is seen[1] is seen[2]


def test_a_handlers_publish_is_of_no_use_in_a_middleware() -> None:
    """It is outside of the unit of work; the handler has returned."""
    kept: list[Publish] = []
    registry = Registry()
    registry.add(Do, lambda command, publish: kept.append(publish))

    def middleware(message: Message, call_next: Callable[[Any], Any]) -> Any:
        call_next(message)
        kept[0](Happened())

    with pytest.raises(NotPublished, match="after its handler had returned"):
        Mediator(registry, middlewares=[middleware]).send(Do())


def test_self_publish_is_of_no_use_in_a_middleware_either() -> None:
    """One rule for both."""

    class Handler(SyncRequestHandler[Do, str]):
        def handle(self, command: Do) -> str:
            return ""

    registry = Registry()
    registry.add(Do, Handler)

    def middleware(message: Message, call_next: Callable[[Any], Any]) -> Any:
        Handler().publish(Happened())

    with pytest.raises(NotPublished, match="after its handler had returned"):
        Mediator(registry, middlewares=[middleware]).send(Do())


def test_around_makes_a_middleware_of_a_context_manager() -> None:
    """It lasts as long as the handler works, its events included, and sees the exception."""
    log: list[str] = []

    @around
    @contextmanager
    def noted(message: Message) -> Generator[None, None, None]:
        log.append(f"enter {type(message).__name__}")
        try:
            yield
        except Failure:
            log.append("saw it")
            raise
        finally:
            log.append(f"leave {type(message).__name__}")

    registry = Registry()
    registry.add(Do, lambda command, publish: publish(Happened()))

    @registry.handles(Happened)
    def failing(event: Happened) -> None:
        raise Failure

    with pytest.raises(Failure):
        Mediator(registry, middlewares=[noted]).send(Do())

    assert log == ["enter Do", "enter Happened", "saw it", "leave Happened", "saw it", "leave Do"]


@pytest.mark.parametrize(("only", "expected"), [(Query, ["Ask"]), ((Query, Command), ["Do", "Ask"])], ids=str)
def test_around_only_surrounds_what_it_is_told_to(only: Any, expected: list[str]) -> None:
    """Other messages pass untouched."""
    log: list[str] = []

    @contextmanager
    def noted(message: Message) -> Generator[None, None, None]:
        log.append(type(message).__name__)
        yield

    registry = Registry()
    registry.add(Do, lambda command, publish: publish(Happened()))
    registry.add(Ask, lambda query: "answer")
    registry.add(Happened, lambda event: None)
    bus = Mediator(registry, middlewares=[around(noted, only=only)])

    bus.send(Do())

    assert bus.send(Ask()) == "answer"
    assert log == expected


def test_around_keeps_the_name_of_its_manager() -> None:
    """For tracebacks and descriptions."""

    @contextmanager
    def timed(message: Message) -> Generator[None, None, None]:
        yield

    assert around(timed).__name__ == "timed"  # type: ignore[attr-defined]


def test_compose_of_nothing_is_the_call_itself() -> None:
    """Who has no middlewares pays for none."""
    assert compose([], print) is print


def test_unswallowed_shows_a_failure_to_a_manager_that_cannot_swallow_it() -> None:
    """The exception goes on, unchanged."""
    seen: list[BaseException] = []

    @contextmanager
    def swallowing() -> Generator[int, None, None]:
        try:
            yield 7
        except Failure as error:
            seen.append(error)

    with pytest.raises(Failure) as caught, Unswallowed(swallowing()) as value:
        assert value == 7
        raise Failure

    assert seen == [caught.value]
