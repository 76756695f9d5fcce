"""Fallbacks: a backup answers where the primary handler fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from attrs import Factory, define, evolve, frozen

from simplecqrs import (
    Command,
    DomainEvent,
    Mediator,
    Message,
    NotificationEvent,
    Publish,
    Query,
    Registry,
    Stream,
    SyncEventHandler,
    SyncRequestHandler,
    fallback,
)
from simplecqrs.errors import InvalidHandler
from simplecqrs.memory import MemoryBroker


@frozen
class Do(Command[str]):
    """Is done by the primary handler, or by its backup."""


@frozen
class Ask(Query[str]):
    """Is asked of the primary handler, or of its backup."""


@frozen
class List(Stream[int]):
    """Is listed by the primary handler, or by its backup."""

    begin: int = 0


@frozen
class Noted(DomainEvent):
    """Is handled here."""

    what: str


@frozen
class Told(NotificationEvent):
    """Goes out."""

    what: str


class Failure(Exception):
    """What the backup answers for."""


class Bug(Exception):
    """What it does not answer for."""


class IsOpen(Exception):
    """What the breaker raises while it is open."""


@define
class Fuse:
    """A breaker that opens after so many failures, and hides the last one, as some do."""

    left: int = 2
    failures: list[BaseException] = Factory(list)
    successes: int = 0

    @contextmanager
    def calling(self) -> Generator[None, None, None]:
        """Count failures."""
        if self.left <= len(self.failures):
            raise IsOpen
        try:
            yield
        except BaseException as error:
            self.failures.append(error)
            if self.left <= len(self.failures):
                raise IsOpen from error
            raise
        self.successes += 1


@define
class Ledger:
    """Transactions that take down what becomes of them."""

    log: list[str] = Factory(list)

    @contextmanager
    def __call__(self, message: Message) -> Generator[None, None, None]:
        """Open a transaction, or a savepoint in it."""
        name = type(message).__name__
        self.log.append(f"begin {name}")
        try:
            yield
        except BaseException:
            self.log.append(f"rollback {name}")
            raise
        self.log.append(f"commit {name}")


@pytest.fixture
def registry() -> Registry:
    """Register nothing yet."""
    return Registry()


def raising(error: BaseException | type[BaseException]) -> Callable[[Any], Any]:
    """Make a handler that raises."""

    def handler(message: Any) -> Any:
        raise error

    return handler


def backup(message: Any) -> str:
    """Answer."""
    return "backup"


# Which failures


def test_the_backup_answers_where_the_primary_handler_fails(registry: Registry) -> None:
    """And only there."""
    errors: list[Exception] = [Failure(), Failure()]

    def primary(command: Do) -> str:
        if errors:
            raise errors.pop()
        return "primary"

    registry.handles(Do)(fallback(primary, backup))
    bus = Mediator(registry)

    assert [bus.send(Do()) for _ in range(3)] == ["backup", "backup", "primary"]


@pytest.mark.parametrize("on", [Failure, (Failure, KeyError)])
def test_only_the_named_failures_fall_back(registry: Registry, on: Any) -> None:
    """All others reach the caller."""
    registry.add(Do, fallback(raising(Failure), backup, on=on))
    registry.add(Ask, fallback(raising(Bug), backup, on=on))
    bus = Mediator(registry)

    assert bus.send(Do()) == "backup"
    with pytest.raises(Bug):
        bus.send(Ask())


def test_what_is_no_exception_never_falls_back(registry: Registry) -> None:
    """Who interrupts the program means it."""
    registry.add(Do, fallback(raising(KeyboardInterrupt), backup))

    with pytest.raises(KeyboardInterrupt):
        Mediator(registry).send(Do())


def test_the_backups_failure_reaches_the_caller_with_the_first_one_as_its_context(registry: Registry) -> None:
    """So that both are seen."""
    registry.add(Do, fallback(raising(Failure("first")), raising(Bug("second"))))

    with pytest.raises(Bug, match="second") as caught:
        Mediator(registry).send(Do())
    assert isinstance(caught.value.__context__, Failure)


def test_falling_back_is_logged(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    """With both handlers, the message and the failure."""
    registry.add(Do, fallback(raising(Failure("why")), backup))

    Mediator(registry).send(Do())

    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "handler failed with Do; function" in record.getMessage()
    assert record.exc_info
    assert record.exc_info[0] is Failure


def test_classes_can_be_primary_and_backup(registry: Registry) -> None:
    """Injected as any handler."""

    class Primary(SyncRequestHandler[Do, str]):
        def handle(self, command: Do) -> str:
            raise Failure

    class Backup(SyncRequestHandler[Do, str]):
        def __init__(self, name: str) -> None:
            self.name = name

        def handle(self, command: Do) -> str:
            return self.name

    registry.handles(Do)(fallback(Primary, Backup))

    assert Mediator(registry, provide={str: lambda: "injected"}).send(Do()) == "injected"


# What a failed attempt leaves


def test_what_a_failed_attempt_published_is_gone(registry: Registry) -> None:
    """Here and outside; what its nested commands published as well."""
    handled: list[str] = []
    broker = MemoryBroker()

    @frozen
    class Inner(Command[None]):
        """Is sent by the primary handler."""

    def inner(command: Inner, publish: Publish) -> None:
        publish(Told("inner"))

    def primary(command: Do, publish: Publish) -> str:
        publish(Noted("primary"))
        publish(Told("primary"))
        bus.send(Inner())
        raise Failure

    def second(command: Do, publish: Publish) -> str:
        publish(Noted("backup"))
        publish(Told("backup"))
        return "backup"

    registry.handles(Do)(fallback(primary, second))
    registry.add(Inner, inner)
    registry.add(Noted, lambda event: handled.append(event.what))
    bus = Mediator(registry, publisher=broker)

    assert bus.send(Do()) == "backup"
    assert handled == ["backup"]
    assert [envelope.payload for envelope in broker.published] == [b'{"what":"backup"}']


def test_an_attempt_is_a_nested_transaction_and_the_backup_is_not(registry: Registry) -> None:
    """Rolled back before the backup is asked."""
    ledger = Ledger()
    registry.add(Do, fallback(raising(Failure), lambda command: ledger.log.append("backup") or "backup"))

    Mediator(registry, transaction=ledger).send(Do())

    assert ledger.log == ["begin Do", "begin Do", "rollback Do", "backup", "commit Do"]


def test_a_query_falls_back_without_a_transaction(registry: Registry) -> None:
    """It has nothing to roll back."""
    ledger = Ledger()
    registry.add(Ask, fallback(raising(Failure), backup))

    assert Mediator(registry, transaction=ledger).send(Ask()) == "backup"
    assert ledger.log == []


def test_an_events_attempt_is_nested_in_the_commands_transaction(registry: Registry) -> None:
    """Where the event is handled, not where its own name would point to."""
    ledger = Ledger()

    class Second(SyncEventHandler[Noted]):
        def handle(self, event: Noted) -> None:
            ledger.log.append(f"backup {event.what}")

    registry.add(Do, lambda command, publish: publish(Noted("it")))
    registry.add(Noted, fallback(raising(Failure), Second))

    Mediator(registry, transaction=ledger).send(Do())

    assert ledger.log == ["begin Do", "begin Do", "rollback Do", "backup it", "commit Do"]


def test_fallbacks_nest(registry: Registry) -> None:
    """The backup of one is another one."""
    registry.add(Do, fallback(raising(Failure("1")), fallback(raising(Failure("2")), backup)))
    registry.add(Ask, fallback(fallback(raising(Failure("1")), raising(Bug("2"))), backup))
    bus = Mediator(registry)

    assert [bus.send(Do()), bus.send(Ask())] == ["backup", "backup"]


# Breakers


def test_an_open_breaker_goes_to_the_backup_at_once(registry: Registry) -> None:
    """The primary handler is not asked any more."""
    asked: list[int] = []

    def primary(command: Do) -> str:
        asked.append(1)
        raise Failure

    registry.handles(Do)(fallback(primary, backup, breaker=Fuse(2)))
    bus = Mediator(registry)

    assert [bus.send(Do()) for _ in range(5)] == ["backup"] * 5
    assert len(asked) == 2


@pytest.mark.parametrize("error", [Bug("real"), KeyboardInterrupt("real")])
def test_failures_that_the_backup_does_not_answer_for_do_not_count(registry: Registry, error: BaseException) -> None:
    """They reach the caller as they are, and the breaker stays closed."""
    fuse = Fuse(1)
    registry.add(Do, fallback(raising(error), backup, on=Failure, breaker=fuse))
    bus = Mediator(registry)

    for _ in range(3):
        with pytest.raises(type(error), match="real"):
            bus.send(Do())
    assert fuse.failures == []


def test_the_failure_that_trips_the_breaker_stays_visible(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    """Even if the breaker raises an error of its own instead."""
    registry.add(Do, fallback(raising(Failure("real")), backup, on=Failure, breaker=Fuse(1)))

    assert Mediator(registry).send(Do()) == "backup"
    assert caplog.records[0].exc_info
    assert str(caplog.records[0].exc_info[1]) == "real"


def test_a_success_is_told_to_the_breaker(registry: Registry) -> None:
    """It counts failures in a row."""
    fuse = Fuse()
    registry.add(Do, fallback(backup, raising(Bug), breaker=fuse))

    Mediator(registry).send(Do())

    assert fuse.successes == 1


def test_a_breaker_that_fails_by_itself_does_not_undo_a_success(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    """The backup is not asked for what was done already; the log tells of it."""

    class Forgetful:
        """Cannot store that a call has succeeded."""

        @contextmanager
        def calling(self) -> Generator[None, None, None]:
            yield
            raise ConnectionError("the storage is away")

    registry.add(Do, fallback(lambda command: "primary", backup, breaker=Forgetful()))

    assert Mediator(registry).send(Do()) == "primary"
    assert "the breaker of function" in caplog.text


# Streams


def numbers(fail_at: int) -> Callable[[List], Iterator[int]]:
    """Make a handler that fails before it yields a number."""

    def handler(stream: List) -> Iterator[int]:
        for number in range(stream.begin, 4):
            if number == fail_at:
                raise Failure(str(number))
            yield number

    return handler


def negatives(stream: List) -> Iterator[int]:
    """Answer as backup."""
    for number in range(stream.begin, 4):
        yield -number


def test_a_stream_falls_back_as_long_as_nothing_was_taken(registry: Registry) -> None:
    """Later, its failure reaches the caller: items would come twice."""
    registry.handles(List)(fallback(numbers(0), negatives))
    assert [*Mediator(registry).stream(List())] == [0, -1, -2, -3]

    late = Registry()
    late.handles(List)(fallback(numbers(2), negatives))
    items = Mediator(late).stream(List())
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(Failure, match="2"):
        next(items)


def test_a_stream_goes_on_in_the_middle_by_a_hook(registry: Registry) -> None:
    """Which says what the backup is to answer."""

    def go_on(stream: List, taken: int, last: int) -> List:
        assert (taken, last) == (2, 1)
        return evolve(stream, begin=last + 1)

    registry.handles(List)(fallback(numbers(2), negatives, resume=go_on))

    assert [*Mediator(registry).stream(List())] == [0, 1, -2, -3]


def test_a_streams_breaker_is_honoured(registry: Registry) -> None:
    """A failure in the middle counts as well, and an early end does not."""
    fuse = Fuse(2)
    registry.handles(List)(fallback(numbers(2), negatives, breaker=fuse))
    bus = Mediator(registry)
    for _ in range(3):
        items = bus.stream(List())
        next(items)
        items.close()
    assert fuse.failures == []

    for _ in range(2):
        with suppress(Failure):
            [*bus.stream(List())]

    assert [*bus.stream(List())] == [0, -1, -2, -3]


def test_a_writing_stream_falls_back_within_its_transaction(registry: Registry) -> None:
    """What the failed attempt has published in this step is gone."""
    broker = MemoryBroker()
    ledger = Ledger()

    def primary(stream: List, publish: Publish) -> Iterator[int]:
        publish(Told("primary"))
        raise Failure
        yield 1

    def second(stream: List, publish: Publish) -> Iterator[int]:
        publish(Told("backup"))
        yield 2

    registry.handles(List, transaction="item")(fallback(primary, second))

    assert [*Mediator(registry, publisher=broker, transaction=ledger).stream(List())] == [2]
    assert [envelope.payload for envelope in broker.published] == [b'{"what":"backup"}']
    assert ledger.log[:4] == ["begin List", "begin List", "rollback List", "commit List"]


# What is refused


@pytest.mark.parametrize("on", [(), "Failure", KeyboardInterrupt, (Failure, 7), Failure("an instance")])
def test_on_takes_exception_classes(on: Any) -> None:
    """At once."""
    with pytest.raises(InvalidHandler, match="must be an exception class"):
        fallback(backup, backup, on=on)


def test_a_breaker_has_calling() -> None:
    """The error names what would have."""
    breaker: Any = object()

    with pytest.raises(InvalidHandler, match=r"has no calling\(\), as pybreaker"):
        fallback(backup, backup, breaker=breaker)


def test_only_a_stream_is_resumed(registry: Registry) -> None:
    """What has one answer is asked again from its beginning."""
    with pytest.raises(InvalidHandler, match="resume= is for streams"):
        registry.add(Do, fallback(backup, backup, resume=lambda message, taken, last: message))
