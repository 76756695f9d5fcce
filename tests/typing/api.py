"""The public signatures, pinned: what mypy and pyright infer, without any hint at the call."""

# pyright: strict

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar
from uuid import UUID

from attrs import frozen
from typing_extensions import assert_type

from simplecqrs import (
    NOT_MINE,
    UNSET,
    Command,
    DomainEvent,
    ECSTEvent,
    Envelope,
    Mediator,
    Message,
    Metadata,
    NotificationEvent,
    NotMine,
    Publish,
    Query,
    Registry,
    Retry,
    Stream,
    SyncEventHandler,
    SyncRequestHandler,
    SyncStreamHandler,
    Unset,
    around,
    chain,
    context,
    current,
    fallback,
    handles,
    load,
    message,
)
from simplecqrs.backoff import Pause
from simplecqrs.containers import Container, Provider
from simplecqrs.handlers import Combined
from simplecqrs.idempotency import IdempotencyStore
from simplecqrs.memory import MemoryBroker
from simplecqrs.memory_idempotency import MemoryIdempotency
from simplecqrs.pipeline import Middleware
from simplecqrs.testing import recording
from simplecqrs.timing import Timed

T = TypeVar("T")


class Users:
    """A dependency."""

    def add(self, name: str) -> int:
        """Add a user."""
        return len(name)


@frozen
class UserView:
    """An answer."""

    name: str


# Messages


@frozen
class CreateUser(Command[int]):
    """Answers with the new id."""

    name: str


@frozen
class RenameUser(Command[None]):
    """Answers nothing."""

    user_id: int
    name: str | Unset = UNSET


@frozen
class FindUser(Query["UserView | None"]):
    """May answer None."""

    user_id: int


@frozen
class ListUsers(Query["list[UserView]"]):
    """Answers with several."""


@frozen
class UserCreated(DomainEvent):
    """An event."""

    user_id: int


@frozen
class UserRenamed(DomainEvent):
    """Another one."""

    user_id: int


@frozen
class Registered(NotificationEvent, name="users.registered", version=2, topic="users", key="user_id"):
    """An event with all class keywords."""

    user_id: int


@frozen
class UserState(ECSTEvent):
    """An event that carries state."""

    user_id: int


@message(name="users.removed", topic="users")
class UserRemoved(NotificationEvent):
    """An event that says so by a decorator."""


@frozen
class Changed(DomainEvent, Generic[T]):
    """A generic event."""

    to: T


class NameChanged(Changed[str]):
    """What is sent."""


assert_type(UserRemoved, type[UserRemoved])
assert_type(NameChanged("Ada").to, str)


# Handlers: the decorator gives back what it was given


@handles(CreateUser)
def create_user(command: CreateUser, publish: Publish, *, users: Users) -> int:
    """Take everything."""
    publish(UserCreated(1))
    return users.add(command.name)


@handles(RenameUser)
def rename_user(command: RenameUser) -> None:
    """Take the command alone."""
    if command.name is not UNSET:
        assert_type(command.name, str)


@handles(FindUser)
def find_user(query: FindUser, *, users: Users) -> UserView | None:
    """Answer None."""
    return None


@handles(UserCreated)
def greet(event: UserCreated) -> None:
    """Handle an event."""


@handles(UserCreated, UserRenamed)
def note_two(event: UserCreated | UserRenamed, publish: Publish) -> None:
    """Handle two events."""


@handles(UserCreated, UserRenamed, Registered)
def note_three(event: UserCreated | UserRenamed | Registered) -> None:
    """Handle three events."""


@handles(UserCreated, UserRenamed, Registered, UserState)
def note_four(event: DomainEvent | NotificationEvent | ECSTEvent) -> None:
    """Handle four events."""


@handles(
    Registered,
    consumer="mailing",
    retry=Retry(5, first=1.0),
    on_dead="continue",
    on_error={KeyError: "discard", OSError: Pause(first=5), ValueError: Retry(2)},
)
def send_welcome(event: Registered) -> None:
    """Handle an event later."""


@handles(UserCreated, after_commit=True)
def ring(event: UserCreated) -> None:
    """Handle an event after the commit."""


@handles(NameChanged)
def changed(event: Changed[str]) -> None:
    """Take the generic base."""


bus_events: list[Message] = []
assert_type(create_user(CreateUser("Ada"), bus_events.append, users=Users()), int)
assert_type(rename_user(RenameUser(1)), None)
assert_type(find_user(FindUser(1), users=Users()), "UserView | None")
note_two(UserRenamed(1), bus_events.append)


registry = Registry()


@registry.handles(ListUsers)
class ListUsersHandler(SyncRequestHandler[ListUsers, "list[UserView]"]):
    """A class handler."""

    def __init__(self, users: Users) -> None:
        self.users = users

    def handle(self, query: ListUsers) -> list[UserView]:
        """Answer."""
        self.publish(UserCreated(1))
        return [UserView("Ada")]


@registry.handles(CreateUser)
@frozen
class CreateUserHandler(SyncRequestHandler[CreateUser, int]):
    """A frozen class handler."""

    users: Users

    def handle(self, command: CreateUser, /) -> int:
        """Answer."""
        return 1


@registry.handles(UserCreated, UserRenamed)
class NoteUsers(SyncEventHandler["UserCreated | UserRenamed"]):
    """A class handler of two events."""

    def handle(self, event: UserCreated | UserRenamed) -> None:
        """Handle them."""


assert_type(ListUsersHandler, type[ListUsersHandler])
assert_type(CreateUserHandler(Users()).users, Users)
assert_type(NoteUsers().handle(UserCreated(1)), None)
assert_type(registry.add(RenameUser, rename_user), None)
assert_type(registry.include(Registry()), None)


# The mediator


def middleware(message: Message, call_next: Callable[[Any], Any]) -> Any:
    """Pass on."""
    return call_next(message)


@around
@contextmanager
def timed(message: Message) -> Generator[None, None, None]:
    """Surround."""
    yield


@contextmanager
def unit_of_work(message: Message) -> Generator[None, None, None]:
    """Open a transaction."""
    yield


def open_users() -> Generator[Users, None, None]:
    """Make users, and clean up."""
    yield Users()


assert_type(timed, Middleware)

keys = MemoryIdempotency()
store: IdempotencyStore = keys
bus = Mediator(
    registry,
    middlewares=[middleware, timed],
    transaction=unit_of_work,
    provide={Users: open_users, int: lambda: 7},
    publisher=MemoryBroker(),
    source="shop",
    max_generations=10,
    on_startup=[Registry],
)
provider: Container = Provider({Users: Users})
assert_type(Mediator(), Mediator)
assert_type(Mediator(container=provider), Mediator)
assert_type(Mediator(idempotency=store, transaction=keys.transaction), Mediator)

assert_type(bus.send(CreateUser("Ada")), int)
assert_type(bus.send(RenameUser(1)), None)
assert_type(bus.send(CreateUser("Ada"), idempotency_key="key"), int)
assert_type(bus.send(RenameUser(1), idempotency_key=None, concurrent="raise"), None)
assert_type(bus.send(FindUser(1)), "UserView | None")
assert_type(bus.send(ListUsers()), "list[UserView]")
assert_type(bus.publish(Registered(1)), None)
assert_type(bus.publish(Timed(Registered(1), expires=timedelta(hours=1))), None)
assert_type(bus.check(), None)


def receive(envelope: Envelope) -> None:
    """Receive."""
    assert_type(bus.receive(envelope, consumer="mailing"), bool)
    assert_type(envelope.metadata, Metadata)
    assert_type(envelope.payload, bytes)


# Streams


@frozen
class ExportUsers(Stream[UserView]):
    """Is answered item by item."""

    since: int = 0


@registry.handles(ExportUsers)
def export_users(stream: ExportUsers, *, users: Users) -> Iterator[UserView]:
    """Be a generator."""
    yield UserView("Ada")


@Registry().handles(ExportUsers, transaction="item")
def import_users(stream: ExportUsers, publish: Publish) -> Generator[UserView, None, None]:
    """Be a generator that publishes."""
    publish(UserCreated(1))
    yield UserView("Ada")


@Registry().handles(ExportUsers, transaction="all")
class ExportUsersHandler(SyncStreamHandler[ExportUsers, UserView]):
    """Be a class."""

    def __init__(self, users: Users) -> None:
        self.users = users

    def handle(self, stream: ExportUsers) -> Iterator[UserView]:
        """Yield the items."""
        yield UserView("Ada")


assert_type(bus.stream(ExportUsers()), Generator[UserView, None, None])
assert_type(next(bus.stream(ExportUsers())), UserView)
assert_type([*export_users(ExportUsers(), users=Users())], "list[UserView]")
assert_type(ExportUsersHandler, type[ExportUsersHandler])


# Handlers made of handlers


def not_every_user(query: FindUser) -> UserView | NotMine | None:
    """Leave some to others."""
    return NOT_MINE


def any_user(query: FindUser, *, users: Users) -> UserView | None:
    """Take all."""
    return None


class SomeUsers(SyncRequestHandler[FindUser, "UserView | None | NotMine"]):
    """Leaves some to others."""

    def handle(self, query: FindUser) -> UserView | NotMine | None:
        """Leave it."""
        return NOT_MINE


class AllUsers(SyncRequestHandler[FindUser, "UserView | None"]):
    """Takes all."""

    def handle(self, query: FindUser) -> UserView | None:
        """Take it."""
        return None


class NoteCreated(SyncEventHandler[UserCreated]):
    """Handles an event."""

    def handle(self, event: UserCreated) -> None:
        """Handle it."""


def note_some(event: UserCreated) -> NotMine | None:
    """Leave some to others."""
    return NOT_MINE


def export_some(stream: ExportUsers) -> Iterator[UserView] | NotMine:
    """Leave some to others."""
    return NOT_MINE


def export_later(stream: ExportUsers, taken: int, last: UserView) -> ExportUsers:
    """Go on behind what was taken."""
    return ExportUsers(stream.since + taken)


assert_type(chain(not_every_user, any_user), Combined[FindUser, "UserView | None"])
assert_type(chain(SomeUsers, AllUsers), Combined[FindUser, "UserView | None"])
assert_type(chain(SomeUsers, any_user, default=None), Combined[FindUser, "UserView | None"])
assert_type(chain(NoteCreated, note_some), Combined[UserCreated, None])
assert_type(fallback(AllUsers, any_user, on=ConnectionError), Combined[FindUser, "UserView | None"])
assert_type(fallback(any_user, AllUsers, on=(OSError, KeyError)), Combined[FindUser, "UserView | None"])
registry.handles(FindUser)(chain(not_every_user, AllUsers))
Registry().handles(FindUser)(chain(chain(SomeUsers, default=NOT_MINE), fallback(any_user, AllUsers)))
Registry().handles(FindUser)(fallback(chain(not_every_user, any_user), AllUsers))
Registry().handles(UserCreated)(chain(note_some, NoteCreated))
Registry().handles(UserCreated)(fallback(NoteCreated, NoteCreated))
Registry().handles(ExportUsers)(chain(export_some, export_users))
Registry().handles(ExportUsers)(chain(ExportUsersHandler))
Registry().handles(ExportUsers)(fallback(export_users, ExportUsersHandler, resume=export_later))
Registry().handles(CreateUser)(fallback(create_user, CreateUserHandler))
Mediator(scope="handler", event_workers=8, event_errors="collect")


# Around it

assert_type(load(CreateUser, {"name": "Ada"}), CreateUser)
assert_type(Retry(5).pause(1), float)


def metadata() -> None:
    """Ask for the metadata."""
    found = current()
    assert_type(found, Metadata)
    assert_type(found.id, UUID)
    assert_type(found.time, datetime)
    assert_type(found.correlation_id, str)
    assert_type(found.causation_id, "str | None")
    assert_type(found.headers, Mapping[str, str])
    with context(correlation_id="1", user="7"):
        pass


def unit_test() -> None:
    """Test a handler by itself."""
    events: list[Message] = []
    assert_type(create_user(CreateUser("Ada"), events.append, users=Users()), int)
    with recording() as recorded:
        CreateUserHandler(Users()).handle(CreateUser("Ada"))
    assert recorded == []
