"""The acceptance rows of middlewares, containers, scopes and start-up: 33 to 38."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import dependency_injector.containers
import dependency_injector.providers
import di.dependent
import dishka
import pytest
import rodi
import svcs
import wireup
from attrs import evolve, field, frozen

from simplecqrs import (
    NOT_MINE,
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
    SyncStreamHandler,
    around,
    chain,
    fallback,
)
from simplecqrs.containers.dependency_injector import DependencyInjectorContainer
from simplecqrs.containers.di import DiContainer
from simplecqrs.containers.dishka import DishkaContainer
from simplecqrs.containers.rodi import RodiContainer
from simplecqrs.containers.svcs import SvcsContainer
from simplecqrs.containers.wireup import WireupContainer
from simplecqrs.errors import NotConfigured
from simplecqrs.memory import MemoryBroker
from simplecqrs.middlewares import logged
from simplecqrs.pipeline import Call

WAIT = 10  # seconds that a thread waits for another one, before the test has failed


@frozen
class Join(Command[str]):
    """Publishes."""

    name: str = "Ada"
    password: str = field(default="hunter2", repr=False)


@frozen
class Find(Query[object]):
    """Answers anything."""

    answer: object = None


@frozen
class Watch(Stream[int]):
    """Is answered item by item."""


@frozen
class Joined(DomainEvent):
    """Is handled here."""

    name: str = "Ada"


@frozen
class Told(NotificationEvent):
    """Goes out."""


class Failure(Exception):
    """What a handler raises."""


class Session:
    """Is opened, and committed or rolled back."""


class Users:
    """Needs a session."""

    def __init__(self, session: Session) -> None:
        self.session = session


def noting(log: list[str], name: str) -> Callable[[Message, Call], Any]:
    """Make a middleware that notes what it sees."""

    def middleware(message: Message, call_next: Call) -> Any:
        log.append(f"{name} before {type(message).__name__}")
        answer = call_next(message)
        log.append(f"{name} after {type(message).__name__}")
        return answer

    return middleware


# 33


def test_row_33_the_first_is_outermost() -> None:
    """Before 1, before 2, after 2, after 1."""
    log: list[str] = []
    registry = Registry()
    registry.add(Find, lambda query: log.append("handler"))

    Mediator(registry, middlewares=[noting(log, "1"), noting(log, "2")]).send(Find())

    assert log == ["1 before Find", "2 before Find", "handler", "2 after Find", "1 after Find"]


def test_row_33_one_may_answer_itself_and_change_request_and_answer() -> None:
    """The handler, and what is inside, are not called then."""
    log: list[str] = []
    registry = Registry()
    registry.add(Join, lambda command: command.name)

    def short_circuit(message: Message, call_next: Call) -> Any:
        return "nobody" if message == Join("nobody") else call_next(message)

    def rewrite(message: Any, call_next: Call) -> Any:
        return call_next(evolve(message, name=message.name.upper())) + "!"

    bus = Mediator(registry, middlewares=[short_circuit, noting(log, "inner"), rewrite])

    assert [bus.send(Join("nobody")), log] == ["nobody", []]
    assert bus.send(Join("ada")) == "ADA!"


def test_row_33_all_kinds_of_messages_pass() -> None:
    """Requests, queries, streams, each handler of an event, chains, fallbacks, after-commit and received ones."""
    log: list[str] = []
    registry, broker = Registry(), MemoryBroker()
    registry.add(Join, lambda command, publish: publish(Joined()))
    registry.handles(Find)(chain(lambda query: NOT_MINE, lambda query: 1))
    registry.add(Watch, watch)
    registry.handles(Joined)(fallback(lambda event: None, lambda event: None))
    registry.add(Joined, lambda event: None)
    registry.add(Joined, lambda event: None, after_commit=True)
    registry.add(Told, lambda event: None, consumer="elsewhere")
    bus = Mediator(registry, middlewares=[noting(log, "m")], publisher=broker)

    def seen(call: Callable[[], object]) -> list[str]:
        log.clear()
        call()
        return [entry.removeprefix("m before ") for entry in log if "before" in entry]

    assert seen(lambda: bus.send(Join())) == ["Join", "Joined", "Joined", "Joined"]
    assert seen(lambda: bus.send(Find())) == ["Find"]
    assert seen(lambda: list(bus.stream(Watch()))) == ["Watch"]
    bus.publish(Told())
    assert seen(lambda: bus.receive(broker.published[0], consumer="elsewhere")) == ["Told"]


def watch(stream: Watch) -> Iterator[int]:
    """Yield two items."""
    yield 1
    yield 2


def test_row_33_around_a_stream_lasts_until_its_end_and_sees_its_failure() -> None:
    """Not only until its first item; closing it early ends it too."""
    log: list[str] = []

    @contextmanager
    def surround(message: Message) -> Generator[None, None, None]:
        log.append("begins")
        try:
            yield
        except Failure:
            log.append("saw it")
            raise
        finally:
            log.append("ends")

    def failing(stream: Watch) -> Iterator[int]:
        yield 1
        raise Failure

    registry = Registry()
    registry.add(Watch, failing)
    items = Mediator(registry, middlewares=[around(surround)]).stream(Watch())

    first = [next(items), log[:]]
    with pytest.raises(Failure):
        next(items)

    assert first == [1, ["begins"]]
    assert log == ["begins", "saw it", "ends"]


# 34


class Odd:
    """An answer that nobody can do anything with."""

    def __repr__(self) -> str:
        raise AssertionError("an answer is not shown")

    __str__ = __repr__


@pytest.mark.parametrize("answer", [None, 7, "text", ["a"], {"k": 1}, Odd(), object()], ids=lambda a: type(a).__name__)
def test_row_34_start_end_and_duration_are_logged_whatever_is_answered(
    answer: object, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is asked of an answer (fix)."""
    registry = Registry()
    registry.add(Find, lambda query: answer)

    with caplog.at_level("DEBUG", logger="simplecqrs"):
        given = Mediator(registry, middlewares=[logged()]).send(Find())

    assert given is answer
    start, end = caplog.records
    assert "Find" in start.getMessage()
    assert "started" in start.getMessage()
    assert end.__dict__["cqrs_message"] == "Find"
    assert end.__dict__["cqrs_seconds"] >= 0


def test_row_34_a_failure_is_logged_and_raised(caplog: pytest.LogCaptureFixture) -> None:
    """As it is; its text, which may be secret, is not in the line."""

    def failing(command: Join) -> str:
        raise Failure("hunter2")

    registry = Registry()
    registry.add(Join, failing)

    with caplog.at_level("DEBUG", logger="simplecqrs"), pytest.raises(Failure):
        Mediator(registry, middlewares=[logged()]).send(Join())

    last = caplog.records[-1]
    assert last.levelno == logging.WARNING
    assert last.__dict__["cqrs_error"] == "Failure"
    assert "hunter2" not in caplog.text


@frozen
class SignIn(Command[str]):
    """Has secrets at any depth."""

    name: str
    pin: int
    csrf_token: str
    nested: dict[str, Any]
    password: str = field(repr=False, default="hunter2")


def test_row_34_secrets_are_masked(caplog: pytest.LogCaptureFixture) -> None:
    """Marked ``repr=False``, named in the default list or in one's own, nested ones too; all else can be shown."""
    registry = Registry()
    registry.add(SignIn, lambda command: "ok")
    command = SignIn("Ada", 4711, "t0ken", {"card": "4111", "items": [{"secret": "s3cret", "size": "XL"}]})

    with caplog.at_level("DEBUG", logger="simplecqrs"):
        middleware = logged(fields=True, mask=("pin", "card", "*token*", "*secret*"))
        Mediator(registry, middlewares=[middleware]).send(command)

    everything = caplog.text + repr([record.__dict__ for record in caplog.records])
    assert "Ada" in everything
    assert "XL" in everything
    for secret in ("4711", "t0ken", "4111", "s3cret", "hunter2"):
        assert secret not in everything


def test_row_34_without_a_logger_that_listens_nothing_is_formatted() -> None:
    """And no level is set by us."""
    registry = Registry()
    registry.add(Find, lambda query: 1)
    logger = logging.getLogger("simplecqrs")

    assert logger.level == logging.NOTSET
    assert logger.handlers == []
    assert Mediator(registry, middlewares=[logged()]).send(Find()) == 1
    assert logger.level == logging.NOTSET


# 35


def join_with(command: Join, *, users: Users) -> str:
    """Tell what was injected."""
    assert isinstance(users.session, Session)
    return type(users).__name__


class JoinWith(SyncRequestHandler[Join, str]):
    """Gets it by constructor."""

    def __init__(self, users: Users) -> None:
        self.users = users

    def handle(self, command: Join) -> str:
        """Tell what was injected."""
        return join_with(command, users=self.users)


class Minimal:
    """A container of one's own: a scope that resolves, and whether it could."""

    @contextmanager
    def scope(self) -> Generator[Callable[[Any], Any], None, None]:
        """Make a user list."""
        yield lambda kind: Users(Session())

    def can_resolve(self, kind: Any, /) -> bool:
        """Tell whether it is known."""
        return kind is Users


def _dishka() -> Any:
    provider = dishka.Provider(scope=dishka.Scope.REQUEST)
    provider.provide(Session)
    provider.provide(Users)
    return DishkaContainer(dishka.make_container(provider))


def _rodi() -> Any:
    container = rodi.Container()
    container.add_scoped(Session)
    container.add_scoped(Users)
    return RodiContainer(container)


def _svcs() -> Any:
    registry = svcs.Registry()
    registry.register_factory(Session, Session)
    registry.register_factory(Users, lambda svcs_container: Users(svcs_container.get(Session)))
    return SvcsContainer(registry)


def _wireup() -> Any:
    kinds = [wireup.injectable(kind, lifetime="scoped") for kind in (_make_session, _make_users)]
    return WireupContainer(wireup.create_sync_container(injectables=kinds))


def _make_session() -> Session:
    return Session()


def _make_users(session: Session) -> Users:
    return Users(session)


def _di() -> Any:
    container = di.Container()
    container.bind(di.bind_by_type(di.dependent.Dependent(Session, scope="request"), Session))
    return DiContainer(container)


def _dependency_injector() -> Any:
    class Desk(dependency_injector.containers.DeclarativeContainer):
        session = dependency_injector.providers.Factory(Session)
        users = dependency_injector.providers.Factory(Users, session)

    return DependencyInjectorContainer(Desk())


CONTAINERS = [Minimal, _dishka, _rodi, _svcs, _wireup, _di, _dependency_injector]


@pytest.mark.parametrize("handler", [join_with, JoinWith], ids=["function", "class"])
@pytest.mark.parametrize("make", CONTAINERS, ids=lambda make: make.__name__.strip("_"))
def test_row_35_any_container_can_make_what_handlers_need(make: Callable[[], Any], handler: Any) -> None:
    """By its adapter, or by the port's method alone; for requests here, all else goes the same way."""
    registry = Registry()
    registry.add(Join, handler)
    bus = Mediator(registry, container=make())

    bus.check()

    assert bus.send(Join()) == "Users"


def test_row_35_the_built_in_one_is_a_mapping_of_factories() -> None:
    """Which may need each other; instances and lambdas do as well."""
    session = Session()
    registry = Registry()
    registry.add(Join, JoinWith)

    assert Mediator(registry, provide={Users: Users, Session: lambda: session}).send(Join()) == "Users"


@pytest.mark.parametrize("make", [lambda: None, *CONTAINERS[1:]], ids=lambda make: make.__name__.strip("_<>"))
def test_row_35_what_nothing_provides_is_found_before_the_first_message(make: Callable[[], Any]) -> None:
    """The error names handler, parameter and type."""

    class Nowhere:
        def __init__(self, text: str) -> None: ...

    def handler(command: Join, *, where: Nowhere) -> str:
        return ""

    handler.__annotations__["where"] = Nowhere
    registry = Registry()
    registry.add(Join, handler)

    with pytest.raises(NotConfigured, match=r"handler.*where.*Nowhere"):
        Mediator(registry, container=make()).check()


def test_row_35_a_container_that_raises_is_heard() -> None:
    """Its error reaches the caller as it is."""

    def broken() -> Session:
        raise Failure

    registry = Registry()
    registry.add(Join, JoinWith)

    with pytest.raises(Failure):
        Mediator(registry, provide={Users: Users, Session: broken}).send(Join())


# 36


def office(log: list[str], scope: Literal["message", "handler"], **options: Any) -> Mediator:
    """Make a mediator whose session notes what becomes of it."""

    def session() -> Iterator[Session]:
        log.append("enter")
        try:
            yield Session()
        except BaseException as error:
            log.append(f"rollback {type(error).__name__}")
            raise
        else:
            log.append("commit")
        finally:
            log.append("exit")

    sessions: list[Session] = []

    def handle(command: Join, publish: Publish, *, session: Session) -> str:
        log.append("handle")
        sessions.append(session)
        publish(Joined(command.name))
        return "same" if len({id(s) for s in sessions}) == 1 else "another"

    class OnJoined(SyncEventHandler[Joined]):
        def __init__(self, session: Session) -> None:
            sessions.append(session)

        def handle(self, event: Joined) -> None:
            log.append("event")
            if event.name == "broken":
                raise Failure

    class OnWatch(SyncStreamHandler[Watch, int]):
        def __init__(self, session: Session) -> None:
            sessions.append(session)

        def handle(self, stream: Watch) -> Iterator[int]:
            log.append("item")
            yield 1

    registry = Registry()
    registry.add(Join, handle)
    registry.add(Joined, OnJoined)
    registry.add(Watch, OnWatch)
    return Mediator(registry, provide={Session: session}, scope=scope, **options)


def test_row_36_a_scope_can_last_for_the_outermost_message() -> None:
    """SEND: handler and events share one unit of work; it is the default."""
    log: list[str] = []

    office(log, "message").send(Join())

    assert log == ["enter", "handle", "event", "commit", "exit"]


def test_row_36_a_scope_can_last_for_each_handler() -> None:
    """HANDLER: each has its own."""
    log: list[str] = []

    office(log, "handler").send(Join())

    assert log == ["enter", "handle", "commit", "exit", "enter", "event", "commit", "exit"]


def test_row_36_the_exception_is_seen_and_cleaned_up_after() -> None:
    """The handler's one in its own scope, the event's one in the whole."""
    whole, each = list[str](), list[str]()

    with pytest.raises(Failure):
        office(whole, "message").send(Join("broken"))
    with pytest.raises(Failure):
        office(each, "handler").send(Join("broken"))

    assert whole == ["enter", "handle", "event", "rollback Failure", "exit"]
    assert each == ["enter", "handle", "commit", "exit", "enter", "event", "rollback Failure", "exit"]


def test_row_36_nested_sends_share_the_outer_scope() -> None:
    """One session for all that an outermost message causes; two outermost messages share nothing."""
    buses: list[Mediator] = []
    made: list[int] = []

    def session() -> Iterator[Session]:
        made.append(1)
        yield Session()

    seen: list[Session] = []

    def outer(command: Join, *, session: Session) -> str:
        seen.append(session)
        buses[0].send(Find())
        return ""

    def inner(query: Find, *, session: Session) -> None:
        seen.append(session)

    registry = Registry()
    registry.add(Join, outer)
    registry.add(Find, inner)
    buses.append(Mediator(registry, provide={Session: session}))

    buses[0].send(Join())
    buses[0].send(Join())

    assert (len(made), len(set(map(id, seen)))) == (2, 2)
    assert seen[0] is seen[1]
    assert seen[0] is not seen[2]


def test_row_36_what_is_needed_by_none_is_made_by_none() -> None:
    """NONE: a handler without dependencies makes nothing, whatever there is; it needs no scope of its own."""
    made: list[str] = []
    registry = Registry()
    registry.add(Find, lambda query: 7)

    assert Mediator(registry, provide={Session: lambda: made.append("session")}).send(Find()) == 7

    assert made == []


def test_row_36_a_streams_scope_ends_with_it_and_threads_share_none() -> None:
    """Parallel handlers of one event have a session each."""
    log: list[str] = []
    meeting = threading.Barrier(2, timeout=WAIT)
    seen: list[int] = []

    def meet(event: Joined, *, session: Session) -> None:
        seen.append(id(session))
        meeting.wait()

    def meet_too(event: Joined, *, session: Session) -> None:
        meet(event, session=session)

    def join(command: Join, publish: Publish) -> str:
        publish(Joined())
        return ""

    registry = Registry()
    registry.add(Join, join)
    registry.add(Joined, meet)
    registry.add(Joined, meet_too)

    assert list(office(log, "message").stream(Watch())) == [1]
    Mediator(registry, provide={Session: Session}, event_workers=2).send(Join())

    assert log == ["enter", "item", "commit", "exit"]
    assert len(set(seen)) == 2


# 37 and 38


def test_row_37_one_call_wires_everything() -> None:
    """Registries of commands, queries, events; container, broker, middlewares, start-up.  (Sagas come later.)"""
    log: list[str] = []
    commands, queries, events = Registry(), Registry(), Registry()

    @commands.handles(Join)
    def join(command: Join, publish: Publish, *, session: Session) -> str:
        publish(Joined())
        publish(Told())
        return command.name

    queries.add(Find, lambda query: "found")
    events.add(Joined, lambda event: log.append("event"))
    registry, broker = Registry(), MemoryBroker()
    for part in (commands, queries, events):
        registry.include(part)

    bus = Mediator(
        registry,
        provide={Session: Session},
        publisher=broker,
        middlewares=[noting(log, "m")],
        on_startup=[lambda: log.append("first"), lambda: log.append("second")],
    )
    answers = [bus.send(Join()), bus.send(Find())]

    assert answers == ["Ada", "found"]
    assert [envelope.name for envelope in broker.published] == ["Told"]
    assert log[:2] == ["first", "second"]
    assert "event" in log
    assert log.count("m before Join") == 1


def test_row_37_what_is_wired_wrong_is_told_all_at_once() -> None:
    """By ``check()`` or before the first message, with every problem and its cure."""

    def join(command: Join, *, session: Session) -> str:
        return ""

    registry = Registry()
    registry.add(Join, join)
    registry.add(Joined, lambda event: None, consumer="nobody publishes to it")
    bus = Mediator(registry, event_workers=0)

    with pytest.raises(NotConfigured) as caught:
        bus.check()
    with pytest.raises(NotConfigured):
        bus.send(Join())

    assert len(caught.value.problems) == 3


def test_row_38_start_up_runs_in_order_once_before_the_first_message() -> None:
    """Not when the mediator is made; also when threads send the first messages at once."""
    log: list[str] = []
    registry = Registry()
    registry.add(Find, lambda query: log.append("handler"))
    bus = Mediator(registry, on_startup=[lambda: log.append("1"), lambda: log.append("2")])
    meeting = threading.Barrier(3, timeout=WAIT)

    def send() -> None:
        meeting.wait()
        bus.send(Find())

    made = log[:]
    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)

    assert made == []
    assert log == ["1", "2", "handler", "handler", "handler"]


@pytest.mark.parametrize("first", ["publish", "stream", "receive"])
def test_row_38_whatever_comes_first_starts_it(first: str) -> None:
    """A send, an event, a stream, a received message."""
    log: list[str] = []
    registry, broker = Registry(), MemoryBroker()
    registry.add(Watch, watch)
    registry.add(Told, lambda event: log.append("handler"), consumer="c")
    Mediator(Registry(), publisher=broker).publish(Told())
    bus = Mediator(registry, on_startup=[lambda: log.append("start")])
    calls: dict[str, Callable[[], object]] = {
        "publish": lambda: bus.publish(Joined()),
        "stream": lambda: list(bus.stream(Watch())),
        "receive": lambda: bus.receive(broker.published[0], consumer="c"),
    }

    calls[first]()
    calls[first]()

    assert log[0] == "start"
    assert log.count("start") == 1


def test_row_38_a_start_that_fails_is_raised_and_tried_again() -> None:
    """No message is handled before it has succeeded."""
    log: list[str] = []

    def start() -> None:
        log.append("start")
        if len(log) == 1:
            raise Failure

    registry = Registry()
    registry.add(Find, lambda query: log.append("handler"))
    bus = Mediator(registry, on_startup=[start])

    with pytest.raises(Failure):
        bus.send(Find())
    bus.send(Find())
    bus.send(Find())

    assert log == ["start", "start", "handler", "handler"]
