"""Retries of requests, each in a transaction of its own."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import pytest
import stamina
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
    Stream,
)
from simplecqrs.errors import MissingExtra, NotConfigured
from simplecqrs.metadata import uuid7
from simplecqrs.middlewares import logged, retrying


@frozen
class Do(Command[int]):
    """A command."""


@frozen
class Outer(Command[int]):
    """Sends Do."""


@frozen
class Ask(Query[int]):
    """A query."""


@frozen
class Count(Stream[int]):
    """Is answered by numbers."""


@frozen
class Happened(DomainEvent):
    """An event."""


@frozen
class Placed(NotificationEvent):
    """An event that comes from elsewhere."""


class Deadlock(Exception):
    """What is worth another attempt."""


class Business(Exception):
    """What is not."""


@pytest.fixture(autouse=True)
def no_hooks() -> Iterator[None]:
    """Let stamina log nothing by itself."""
    stamina.instrumentation.set_on_retry_hooks([])
    yield
    stamina.instrumentation.set_on_retry_hooks(None)


def quick(attempts: int = 3, **options: Any) -> Any:
    """Make the middleware with pauses of no time at all."""
    return retrying(attempts, **{"on": Deadlock, "first": 0, "cap": 0, "jitter": 0, **options})


class Failing:
    """A handler that fails so many times, and then answers by how often it was called."""

    def __init__(self, times: int, error: type[Exception] = Deadlock) -> None:
        self.times = times
        self.error = error
        self.errors: list[Exception] = []
        self.calls = 0

    def __call__(self, message: Message) -> int:
        self.calls += 1
        if self.calls <= self.times:
            self.errors.append(self.error(self.calls))
            raise self.errors[-1]
        return self.calls


def bus_of(*handlers: tuple[type[Message], Callable[..., Any]], **options: Any) -> Mediator:
    """Return a mediator with these handlers."""
    registry = Registry()
    for kind, handler in handlers:
        registry.add(kind, handler)  # type: ignore[call-overload]
    return Mediator(registry, **options)


@pytest.mark.parametrize("kind", [Do, Ask])
def test_a_request_is_handled_again_until_it_succeeds(kind: Any) -> None:
    """The caller sees the answer only."""
    bus = bus_of((kind, Failing(2)), middlewares=[quick(3)])

    assert bus.send(kind()) == 3


def test_the_last_error_is_raised_as_it_is() -> None:
    """Attempts are counted in all."""
    handler = Failing(9)

    with pytest.raises(Deadlock) as caught:
        bus_of((Do, handler), middlewares=[quick(3)]).send(Do())

    assert handler.calls == 3
    assert caught.value is handler.errors[-1]


def test_other_errors_are_not_worth_another_attempt() -> None:
    """They are answers."""
    handler = Failing(9, Business)

    with pytest.raises(Business):
        bus_of((Do, handler), middlewares=[quick(3)]).send(Do())

    assert handler.calls == 1


@pytest.mark.parametrize(
    ("on", "calls"),
    [
        pytest.param((Deadlock, Business), 2, id="types"),
        pytest.param(lambda error: isinstance(error, Business), 2, id="function"),
        pytest.param(lambda error: 0.0 if isinstance(error, Business) else False, 2, id="seconds"),
        pytest.param(lambda error: False, 1, id="never"),
    ],
)
def test_what_is_worth_another_attempt_may_be_said_in_several_ways(on: Any, calls: int) -> None:
    """By types, or by a function that may tell when."""
    handler = Failing(9, Business)

    with pytest.raises(Business):
        bus_of((Do, handler), middlewares=[quick(2, on=on)]).send(Do())

    assert handler.calls == calls


def test_whole_transactions_are_repeated_with_their_events() -> None:
    """What the failed attempt has published is gone with it."""
    log: list[str] = []
    fail = Failing(1)

    @contextmanager
    def transaction(message: Message) -> Generator[None, None, None]:
        log.append("begin")
        try:
            yield
        except Deadlock:
            log.append("rollback")
            raise
        log.append("commit")

    def handler(command: Do, publish: Publish) -> int:
        publish(Happened())
        return fail(command)

    bus = bus_of(
        (Do, handler),
        (Happened, lambda event: log.append("event")),
        middlewares=[quick(3)],
        transaction=transaction,
    )

    assert bus.send(Do()) == 2
    assert log == ["begin", "rollback", "begin", "event", "commit"]


def test_a_request_is_repeated_when_the_handler_of_its_event_fails() -> None:
    """They are one unit of work."""
    fail = Failing(1)
    handled: list[Message] = []

    def handler(command: Do, publish: Publish) -> int:
        handled.append(command)
        publish(Happened())
        return 7

    bus = bus_of((Do, handler), (Happened, fail), middlewares=[quick(3)])

    assert bus.send(Do()) == 7
    assert (len(handled), fail.calls) == (2, 2)


def test_a_request_that_a_handler_sends_is_repeated_with_the_outer_one_only() -> None:
    """A part of a transaction cannot be repeated."""
    inner = Failing(1)
    outer: list[Message] = []

    def handler(command: Outer) -> int:
        outer.append(command)
        return bus.send(Do())

    bus = bus_of((Outer, handler), (Do, inner), middlewares=[quick(3)])

    assert bus.send(Outer()) == 2
    assert (len(outer), inner.calls) == (2, 2)


def test_events_are_left_to_who_handles_them() -> None:
    """A consumer has a Retry of its own."""
    handler = Failing(9)
    registry = Registry()
    registry.add(Placed, handler, consumer="c")
    bus = Mediator(registry, middlewares=[quick(3)])
    now = datetime.now(timezone.utc)
    envelope = Envelope(id=uuid7(), kind="event", name="Placed", topic="Placed", time=now, payload=b"{}")

    with pytest.raises(Deadlock):
        bus.receive(envelope, consumer="c")

    assert handler.calls == 1


def test_a_stream_is_not_repeated() -> None:
    """Its reader may have items already."""
    begun: list[Message] = []

    def count(message: Count) -> Iterator[int]:
        begun.append(message)
        yield 1
        raise Deadlock

    items = bus_of((Count, count), middlewares=[quick(3)]).stream(Count())

    assert next(items) == 1
    with pytest.raises(Deadlock):
        next(items)
    assert len(begun) == 1


def test_messages_may_be_excepted() -> None:
    """For example those for which a transaction is open already."""
    handler = Failing(9)

    with pytest.raises(Deadlock):
        bus_of((Do, handler), middlewares=[quick(3, unless=lambda message: isinstance(message, Do))]).send(Do())

    assert handler.calls == 1


def test_what_is_outside_surrounds_all_attempts_and_what_is_inside_each(caplog: pytest.LogCaptureFixture) -> None:
    """And a further attempt leaves a line that names the message."""
    caplog.set_level(logging.INFO, logger="simplecqrs")
    inner = logging.getLogger("simplecqrs.inner")

    bus_of((Do, Failing(1)), middlewares=[logged(), quick(3), logged(inner)]).send(Do())

    assert [(r.name, r.getMessage().partition(" after")[0]) for r in caplog.records] == [
        ("simplecqrs.inner", "Do failed"),
        ("simplecqrs", "Do: attempt 2 of 3"),
        ("simplecqrs.inner", "Do ended"),
        ("simplecqrs", "Do ended"),
    ]


def test_stamina_can_be_switched_off() -> None:
    """By what it offers for tests."""
    handler = Failing(1)
    bus = bus_of((Do, handler), middlewares=[quick(3)])

    stamina.set_active(False)
    try:
        with pytest.raises(Deadlock):
            bus.send(Do())
    finally:
        stamina.set_active(True)

    assert handler.calls == 1


def test_less_than_one_attempt_is_an_error() -> None:
    """When it is made."""
    with pytest.raises(NotConfigured, match="attempts=0"):
        retrying(0, on=Deadlock)


def test_the_extra_is_named_when_stamina_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is made, and not at the first failure."""
    monkeypatch.setitem(sys.modules, "stamina", None)

    with pytest.raises(MissingExtra, match=r"simplecqrs\[retry\]"):
        retrying(3, on=Deadlock)
