"""The rows of the acceptance list that need neither a database nor a broker; each test is named by its row."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import attrs
import pytest
from attrs import define, evolve, field, frozen, validators

import simplecqrs
from simplecqrs import (
    UNSET,
    Command,
    DomainEvent,
    ECSTEvent,
    Mediator,
    NotificationEvent,
    Publish,
    Query,
    Registry,
    SyncEventHandler,
    SyncRequestHandler,
    Unset,
    context,
    current,
    load,
)
from simplecqrs.errors import (
    CQRSError,
    DuplicateHandler,
    HandlerNotFound,
    InvalidHandler,
    InvalidMessage,
    InvalidPayload,
    MissingExtra,
)
from simplecqrs.memory import MemoryBroker
from simplecqrs.messages import Event

# The users of the article, as everybody writes them


class UserNotFound(LookupError):
    """A domain error."""

    def __init__(self, user_id: int) -> None:
        super().__init__(f"user {user_id} was not found")
        self.user_id = user_id


@define
class User:
    """The write model: what is stored, and changed in place."""

    id: int
    name: str
    email: str | None = None


@frozen
class UserView:
    """What queries answer with."""

    id: int
    name: str
    email: str | None


@define
class Users:
    """A repository."""

    rows: dict[int, User] = field(factory=dict)

    def get(self, user_id: int) -> User:
        """Return a user, or raise UserNotFound."""
        try:
            return self.rows[user_id]
        except KeyError:
            raise UserNotFound(user_id) from None


@frozen
class CreateUser(Command[int]):
    """Returns the new id."""

    name: str = field(validator=validators.min_len(1))
    email: str | None = None


@frozen
class UpdateUser(Command[None]):
    """Changes what is set."""

    user_id: int
    name: str | Unset = UNSET
    email: str | Unset | None = UNSET


@frozen
class DeleteUser(Command[None]):
    """Removes a user."""

    user_id: int


@frozen
class FindUser(Query["UserView | None"]):
    """Answers None if there is none."""

    user_id: int


@frozen
class GetUser(Query[UserView]):
    """Raises UserNotFound if there is none."""

    user_id: int


@frozen
class ListUsers(Query["list[UserView]"]):
    """Answers with all of them."""


@frozen
class UserCreated(DomainEvent):
    """Has happened."""

    user_id: int


@frozen
class Registered(NotificationEvent):
    """Tells others that it has happened."""

    user_id: int


@frozen
class UserState(ECSTEvent):
    """Carries the whole new state."""

    user_id: int
    name: str


class CreateUserHandler(SyncRequestHandler[CreateUser, int]):
    """Gets its repository by constructor."""

    def __init__(self, users: Users) -> None:
        self.users = users

    def handle(self, command: CreateUser) -> int:
        """Store a user."""
        user = User(len(self.users.rows) + 1, command.name, command.email)
        self.users.rows[user.id] = user
        self.publish(UserCreated(user.id))
        return user.id


def update_user(command: UpdateUser, *, users: Users) -> None:
    """Change what is set."""
    user = users.get(command.user_id)
    if command.name is not UNSET:
        user.name = command.name
    if command.email is not UNSET:
        user.email = command.email


def delete_user(command: DeleteUser, *, users: Users) -> None:
    """Remove a user."""
    del users.rows[users.get(command.user_id).id]


def view(user: User) -> UserView:
    """Return what a query shows of a user."""
    return UserView(user.id, user.name, user.email)


def find_user(query: FindUser, *, users: Users) -> UserView | None:
    """Answer None if there is none."""
    return view(users.rows[query.user_id]) if query.user_id in users.rows else None


def get_user(query: GetUser, *, users: Users) -> UserView:
    """Answer, or raise."""
    return view(users.get(query.user_id))


def list_users(query: ListUsers, *, users: Users) -> list[UserView]:
    """Answer with all of them."""
    return [view(user) for user in users.rows.values()]


def users_bus(**options: Any) -> Mediator:
    """Return a mediator with all of the above, over one repository."""
    registry, users = Registry(), Users()
    registry.add(CreateUser, CreateUserHandler)
    registry.add(UpdateUser, update_user)
    registry.add(DeleteUser, delete_user)
    registry.add(FindUser, find_user)
    registry.add(GetUser, get_user)
    registry.add(ListUsers, list_users)
    return Mediator(registry, provide={Users: lambda: users}, **options)


def test_row_01_each_operation_is_a_command_class_of_its_own_and_immutable() -> None:
    """Create, update and delete are separate classes, and nobody changes a command."""
    commands: list[Command[Any]] = [CreateUser("Ada"), UpdateUser(1, name="Ada"), DeleteUser(1)]

    assert len({type(command) for command in commands}) == 3
    for command in commands:
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            command.name = "Eve"  # type: ignore[attr-defined]


def test_row_02_a_command_has_exactly_one_handler_which_gets_its_dependencies_by_constructor() -> None:
    """The second handler is refused; the first one is built with its repository."""
    registry, users = Registry(), Users()
    registry.add(CreateUser, CreateUserHandler)

    with pytest.raises(DuplicateHandler):
        registry.add(CreateUser, lambda command: 1)
    Mediator(registry, provide={Users: lambda: users}).send(CreateUser("Ada"))

    assert users.rows == {1: User(1, "Ada")}


def test_row_03_a_command_returns_a_value() -> None:
    """Creating returns the new id, through the bus."""
    bus = users_bus()

    assert [bus.send(CreateUser("Ada")), bus.send(CreateUser("Grace"))] == [1, 2]


@pytest.mark.parametrize("command", [UpdateUser(7, name="Ada"), DeleteUser(7)], ids=lambda c: type(c).__name__)
def test_row_04_a_typed_domain_error_reaches_the_caller_unchanged(command: Command[None]) -> None:
    """With its type and its attributes; no error of ours is around it."""
    with pytest.raises(UserNotFound) as caught:
        users_bus().send(command)

    assert caught.value.user_id == 7
    assert not isinstance(caught.value, CQRSError)


def test_row_05_leave_unchanged_is_something_else_than_set_to_none() -> None:
    """UNSET leaves a field alone; None and the empty text are values."""
    bus = users_bus()
    user_id = bus.send(CreateUser("Ada", "ada@example.org"))

    bus.send(UpdateUser(user_id, name=""))
    renamed = bus.send(GetUser(user_id))
    bus.send(UpdateUser(user_id, email=None))
    emptied = bus.send(GetUser(user_id))

    assert renamed == UserView(user_id, "", "ada@example.org")
    assert emptied == UserView(user_id, "", None)


def test_row_05_request_data_makes_the_same_difference() -> None:
    """A field that is not given is unset; a null is None."""
    assert load(UpdateUser, {"user_id": 1}) == UpdateUser(1)
    assert load(UpdateUser, {"user_id": 1, "email": None}) == UpdateUser(1, email=None)


def test_row_06_a_missing_id_gives_none_or_a_typed_error_as_the_query_declares() -> None:
    """``Query[UserView | None]`` answers None; ``Query[UserView]`` raises."""
    bus = users_bus()

    assert bus.send(FindUser(7)) is None
    with pytest.raises(UserNotFound):
        bus.send(GetUser(7))


def test_row_06_answers_of_queries_are_no_live_objects() -> None:
    """Nobody changes what is stored through what a query returned."""
    bus = users_bus()
    user_id = bus.send(CreateUser("Ada"))
    answer = bus.send(GetUser(user_id))

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        answer.name = "Eve"  # type: ignore[misc]
    evolve(answer, name="Eve")
    bus.send(ListUsers()).clear()

    assert bus.send(ListUsers()) == [UserView(user_id, "Ada", None)]


def test_row_07_create_get_update_list_delete_runs_in_memory() -> None:
    """The main story, from end to end."""
    bus = users_bus()

    user_id = bus.send(CreateUser("Ada"))
    created = bus.send(GetUser(user_id))
    bus.send(UpdateUser(user_id, email="ada@example.org"))
    listed = bus.send(ListUsers())
    bus.send(DeleteUser(user_id))

    assert created == UserView(user_id, "Ada", None)
    assert listed == [UserView(user_id, "Ada", "ada@example.org")]
    assert bus.send(ListUsers()) == []
    assert bus.send(FindUser(user_id)) is None


def test_row_08_an_invalid_command_cannot_be_made() -> None:
    """Its validators are asked by its constructor."""
    with pytest.raises(ValueError, match="name"):
        CreateUser("")


def test_row_08_invalid_request_data_is_refused_with_errors_by_field() -> None:
    """Before any handler, and all of them at once."""
    with pytest.raises(InvalidPayload) as caught:
        load(CreateUser, {"name": "", "email": 7, "age": 7})

    assert {path for path, _ in caught.value.errors} == {"name", "email", "age"}
    assert all(reason for _, reason in caught.value.errors)


def test_row_11_send_dispatches_by_type_and_returns_the_handlers_answer() -> None:
    """What checkers infer of it is pinned in tests/typing."""
    bus = users_bus()

    user_id: int = bus.send(CreateUser("Ada"))
    answer: UserView = bus.send(GetUser(user_id))

    assert answer.name == "Ada"


def test_row_12_every_message_can_carry_ids() -> None:
    """Its own, the one of its cause, and the one of the first cause; set from outside if wanted."""
    registry = Registry()
    seen: list[Any] = []
    bus = Mediator(registry)

    @registry.handles(DeleteUser)
    def outer(command: DeleteUser, publish: Publish) -> None:
        seen.append(current())
        bus.send(FindUser(1))
        publish(UserCreated(1))

    registry.add(FindUser, lambda query: seen.append(current()))
    registry.add(UserCreated, lambda event: seen.append(current()))

    with context(correlation_id="request-1"):
        bus.send(DeleteUser(1))
    command, query, event = seen

    assert len({command.id, query.id, event.id}) == 3
    assert all(isinstance(metadata.id, UUID) for metadata in seen)
    assert [m.causation_id for m in seen] == [None, str(command.id), str(command.id)]
    assert {m.correlation_id for m in seen} == {"request-1"}


def test_row_13_a_duplicate_is_refused_and_an_unknown_request_is_named() -> None:
    """By errors of their own, which name the types."""
    registry = Registry()
    registry.add(DeleteUser, delete_user)

    with pytest.raises(DuplicateHandler, match="DeleteUser is handled by"):
        registry.add(DeleteUser, lambda command: None)
    with pytest.raises(HandlerNotFound, match="UpdateUser has no handler"):
        Mediator(Registry()).send(UpdateUser(1))


def test_row_16_plain_functions_are_the_native_form_and_async_is_refused() -> None:
    """At registration, so that nothing is half done."""

    async def later(command: DeleteUser) -> None: ...

    with pytest.raises(InvalidHandler, match="is async"):
        Registry().add(DeleteUser, later)


class Emitting(SyncRequestHandler[DeleteUser, None]):
    """Publishes three events, then perhaps fails."""

    def handle(self, command: DeleteUser) -> None:
        """Publish."""
        for number in (1, 2, 3):
            self.publish(UserCreated(number))
        if command.user_id < 0:
            raise UserNotFound(command.user_id)


SHARED = Emitting()


@pytest.mark.parametrize("handler", [Emitting, SHARED.handle], ids=["one instance each", "one instance for all"])
def test_row_20_events_are_emitted_after_success_only_and_once_each(handler: Any) -> None:
    """With one shared instance as well; ``publish`` takes the place of an ``events`` collection on the handler."""
    log: list[int] = []
    registry = Registry()
    registry.add(DeleteUser, handler)
    registry.add(UserCreated, lambda event: log.append(event.user_id))
    bus = Mediator(registry)

    with pytest.raises(UserNotFound):
        bus.send(DeleteUser(-1))
    assert log == []
    bus.send(DeleteUser(1))
    bus.send(DeleteUser(1))

    assert log == [1, 2, 3, 1, 2, 3]


def test_row_21_events_are_emitted_in_the_order_in_which_they_were_recorded() -> None:
    """To handlers here, and to the publisher."""
    log: list[int] = []
    registry, broker = Registry(), MemoryBroker()

    @registry.handles(DeleteUser)
    def handler(command: DeleteUser, publish: Publish) -> None:
        for number in range(5):
            publish(Registered(number))

    registry.add(Registered, lambda event: log.append(event.user_id))

    Mediator(registry, publisher=broker).send(DeleteUser(1))

    assert log == [0, 1, 2, 3, 4]
    assert [envelope.payload for envelope in broker.published] == [f'{{"user_id":{n}}}'.encode() for n in range(5)]


def test_row_22_a_domain_event_has_several_handlers_in_the_order_of_registration() -> None:
    """Functions and classes."""
    log: list[str] = []

    class Second(SyncEventHandler[UserCreated]):
        def handle(self, event: UserCreated) -> None:
            log.append("second")

    registry = Registry()
    registry.add(UserCreated, lambda event: log.append("first"))
    registry.add(UserCreated, Second)
    registry.add(UserCreated, lambda event: log.append("third"))

    Mediator(registry).publish(UserCreated(1))

    assert log == ["first", "second", "third"]


def test_row_22_a_domain_event_without_handlers_is_tolerated_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """At the level DEBUG."""
    with caplog.at_level("DEBUG", logger="simplecqrs"):
        Mediator(Registry()).publish(UserCreated(1))

    assert "UserCreated has no handler" in caplog.text


def test_row_23_a_notification_goes_to_the_broker_and_to_consumers_never_here_by_accident() -> None:
    """A consumer's handler does not run where the event is published; a domain event does not go out."""
    log: list[str] = []
    registry, broker = Registry(), MemoryBroker()
    registry.add(Registered, lambda event: log.append("mailing"), consumer="mailing")
    registry.add(UserCreated, lambda event: log.append("here"))

    @registry.handles(DeleteUser)
    def handler(command: DeleteUser, publish: Publish) -> None:
        publish(Registered(1))
        publish(UserCreated(1))

    Mediator(registry, publisher=broker).send(DeleteUser(1))

    assert log == ["here"]
    assert [envelope.name for envelope in broker.published] == ["Registered"]


def test_row_23_a_notification_that_cannot_go_out_is_no_silent_loss() -> None:
    """Without a publisher it is an error."""
    with pytest.raises(CQRSError, match="has no publisher"):
        Mediator(Registry()).publish(Registered(1))


def test_row_24_an_event_that_carries_state_is_a_kind_of_its_own() -> None:
    """It is subscribed to apart from notifications, and goes out whole."""
    log: list[str] = []
    registry, broker = Registry(), MemoryBroker()
    registry.add(ECSTEvent, lambda event: log.append("state"))
    registry.add(NotificationEvent, lambda event: log.append("notification"))

    class Announce(Command[None]): ...

    registry.add(Announce, lambda command, publish: publish(UserState(1, "Ada")))

    Mediator(registry, publisher=broker).send(Announce())

    assert log == ["state"]
    assert broker.published[0].payload == b'{"user_id":1,"name":"Ada"}'


def test_row_25_an_event_of_an_unknown_kind_raises_instead_of_being_dropped() -> None:
    """A plain Event does not say who may know of it; what is no event cannot be published at all."""

    class Plain(Event): ...

    bus = Mediator(Registry())

    with pytest.raises(InvalidMessage, match="does not say who may know of it"):
        bus.publish(Plain())
    with pytest.raises(InvalidMessage, match="is no event"):
        bus.publish(DeleteUser(1))  # type: ignore[arg-type]


def _through_the_bus(bus: Mediator) -> None:
    bus.publish(Registered(7))


def _through_a_handler(bus: Mediator) -> None:
    bus.send(DeleteUser(7))


def _through_an_event_handler(bus: Mediator) -> None:
    bus.publish(UserCreated(7))


@pytest.mark.parametrize("path", [_through_the_bus, _through_a_handler, _through_an_event_handler])
def test_row_44_the_envelope_is_the_same_on_every_path(path: Callable[[Mediator], None]) -> None:
    """Name, id, topic, kind, payload, time, content type, headers."""
    registry, broker = Registry(), MemoryBroker()
    registry.add(DeleteUser, lambda command, publish: publish(Registered(command.user_id)))
    registry.add(UserCreated, lambda event, publish: publish(Registered(event.user_id)))
    before = datetime.now(timezone.utc)

    with context(user="8"):
        path(Mediator(registry, publisher=broker, source="shop"))
    [envelope] = broker.published

    assert (envelope.name, envelope.kind, envelope.version) == ("Registered", "event", 1)
    assert (envelope.topic, envelope.key, envelope.source) == ("Registered", "", "shop")
    assert (envelope.content_type, envelope.payload) == ("application/json", b'{"user_id":7}')
    assert dict(envelope.headers) == {"user": "8"}
    assert envelope.id.version == 7
    assert before <= envelope.time <= datetime.now(timezone.utc)


ROOT = Path(simplecqrs.__path__[0]).parent


def run(code: str) -> str:
    """Run code in a fresh process and return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SIMPLECQRS_TEST": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return done.stdout.strip()


def test_row_93_the_core_imports_without_any_web_database_or_broker_library() -> None:
    """Even where they are installed."""
    loaded = run(
        "import simplecqrs, simplecqrs.mediator, simplecqrs.memory, simplecqrs.relay, simplecqrs.consumer, sys\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )

    assert {"django", "celery", "redis", "psycopg", "sqlalchemy", "asyncio"} & set(loaded.split()) == set()


def test_row_93_a_missing_extra_gives_an_install_hint() -> None:
    """Where its adapter is made, not where the package is imported."""
    said = run(
        "import sys\n"
        "sys.modules['redis'] = None\n"
        "try:\n"
        "    from simplecqrs.brokers.redis import RedisStreams\n"
        "    RedisStreams('redis://127.0.0.1:1/0')\n"
        "except ImportError as error:\n"
        "    print(type(error).__name__, error)\n"
    )

    assert said.startswith(MissingExtra.__name__)
    assert "pip install 'simplecqrs[redis]'" in said


def test_row_94_importing_touches_neither_environment_files_nor_logger_levels(tmp_path: Path) -> None:
    """A .env in the working directory is not read."""
    (tmp_path / ".env").write_text("SIMPLECQRS_FROM_FILE=1\n")

    said = run(
        f"import os, logging; os.chdir({str(tmp_path)!r})\n"
        "import simplecqrs\n"
        "print('SIMPLECQRS_FROM_FILE' in os.environ, logging.getLogger('simplecqrs').level, logging.root.level)"
    )

    assert said == "False 0 30"
