"""What both checkers have to see: each line with ``# expect: error`` is wrong, and no other one is.

For a class, one checker points at the decorator and the other one at the class.
"""

# pyright: strict

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from simplecqrs import (
    NOT_MINE,
    Command,
    DomainEvent,
    Mediator,
    NotificationEvent,
    NotMine,
    Publish,
    Query,
    Registry,
    Stream,
    SyncEventHandler,
    SyncRequestHandler,
    SyncStreamHandler,
    chain,
    context,
    fallback,
    load,
)


@frozen
class CreateUser(Command[int]):
    """Answers with an int."""

    name: str


@frozen
class RenameUser(Command[None]):
    """Answers nothing."""


@frozen
class FindUser(Query[str]):
    """Answers with text."""


@frozen
class UserCreated(DomainEvent):
    """An event."""


@frozen
class UserRenamed(DomainEvent):
    """Another event."""


class NoMessage:
    """No message."""


registry = Registry()
bus = Mediator(registry)


# The wrong message


@registry.handles(CreateUser)  # expect: error
def wrong_message(command: RenameUser) -> int:
    """Take another command."""
    return 1


@registry.handles(UserCreated)  # expect: error
def wrong_event(event: UserRenamed) -> None:
    """Take another event."""


@registry.handles(UserCreated, UserRenamed)  # expect: error
def only_one_of_two(event: UserCreated) -> None:
    """Take only one of them."""


# The wrong answer


@registry.handles(CreateUser)  # expect: error
def wrong_answer(command: CreateUser) -> str:
    """Answer with text."""
    return ""


@registry.handles(CreateUser)  # expect: error
def no_answer(command: CreateUser) -> None:
    """Answer nothing."""


@registry.handles(UserCreated)  # expect: error
def answering_event(event: UserCreated) -> int:
    """Answer an event."""
    return 1


answer: str = bus.send(CreateUser("Ada"))  # expect: error


# Async, and generators


@registry.handles(CreateUser)  # expect: error
async def asynchronous(command: CreateUser) -> int:
    """Be async."""
    return 1


@registry.handles(UserCreated)  # expect: error
async def asynchronous_event(event: UserCreated) -> None:
    """Be async."""


@registry.handles(CreateUser)  # expect: error
def generating(command: CreateUser) -> Iterator[int]:
    """Be a generator."""
    yield 1


# What is no message


@registry.handles(NoMessage)  # expect: error
def no_message(command: NoMessage) -> None:
    """Take something else."""


@registry.handles(CreateUser, RenameUser)  # expect: error
def two_commands(command: CreateUser | RenameUser) -> None:
    """Take two commands."""


bus.send(NoMessage())  # expect: error
bus.send(CreateUser("Ada"), idempotency_key=7)  # expect: error
bus.send(CreateUser("Ada"), idempotency_key="key", concurrent="retry")  # expect: error
bus.send(CreateUser("Ada"), CreateUser("Bob"))  # expect: error
bus.send(UserCreated())  # expect: error
bus.publish(CreateUser("Ada"))  # expect: error


# Class handlers of the wrong kind


@registry.handles(UserCreated)  # expect: error in pyright
class RequestHandlerOfEvent(SyncRequestHandler[CreateUser, int]):  # expect: error in mypy
    """Take a command."""

    def handle(self, command: CreateUser) -> int:
        """Answer."""
        return 1


@registry.handles(CreateUser)  # expect: error in pyright
class EventHandlerOfRequest(SyncEventHandler[UserCreated]):  # expect: error in mypy
    """Take an event."""

    def handle(self, event: UserCreated) -> None:
        """Handle it."""


# Streams


class Numbers(Stream[int]):
    """Is answered by numbers."""


@registry.handles(Numbers)  # expect: error
def no_iterator(stream: Numbers) -> int:
    """Return one."""
    return 1


@registry.handles(Numbers)  # expect: error
def wrong_items(stream: Numbers) -> Iterator[str]:
    """Yield text."""
    yield ""


@registry.handles(Numbers)
class WrongItems(SyncStreamHandler[FindUser, int]):  # expect: error
    """Take a query."""

    def handle(self, stream: FindUser) -> Iterator[int]:
        """Yield numbers."""
        yield 1


bus.send(Numbers())  # expect: error
bus.stream(FindUser())  # expect: error
item: str = next(bus.stream(Numbers()))  # expect: error


# Handlers made of handlers


def finding(query: FindUser) -> str | NotMine:
    """Leave it."""
    return NOT_MINE


def finding_number(query: FindUser) -> int:
    """Answer with a number."""
    return 1


def creating(command: CreateUser) -> int:
    """Take another message."""
    return 1


registry.handles(FindUser)(finding)  # expect: error
registry.handles(FindUser)(chain(finding, finding_number))  # expect: error
registry.handles(FindUser)(chain(finding, creating))  # expect: error
registry.handles(CreateUser)(chain(finding))  # expect: error
registry.handles(FindUser)(fallback(finding, finding_number))  # expect: error
registry.handles(CreateUser)(fallback(creating, finding))  # expect: error
registry.handles(FindUser)(fallback(finding_number, finding_number))  # expect: error
fallback(creating, creating, on="ConnectionError")  # expect: error
fallback(creating, creating, on=KeyboardInterrupt)  # expect: error
fallback(creating, creating, breaker=object())  # expect: error
Mediator(registry, event_errors="ignore")  # expect: error
Mediator(registry, scope="request")  # expect: error
registry.handles(Numbers, transaction="each")  # expect: error


# Keywords


class Misspelt(NotificationEvent, topc="users"):  # expect: error
    """A misspelt class keyword."""


class WrongKeyword(NotificationEvent, version="2"):  # expect: error
    """A class keyword of the wrong type."""


registry.handles(UserCreated, consummer="mailing")  # expect: error
registry.handles(UserCreated, retry=5)  # expect: error
registry.handles(UserCreated, on_dead="drop")  # expect: error
Mediator(registry, middlewear=[])  # expect: error


# Around


@registry.handles(CreateUser)
def publishing(command: CreateUser, publish: Publish) -> int:
    """Publish what is no event."""
    publish(command)  # expect: error
    return 1


loaded: RenameUser = load(CreateUser, {})  # expect: error
with context(user=7):  # expect: error
    pass
