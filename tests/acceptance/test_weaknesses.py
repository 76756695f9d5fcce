"""The weaknesses of the predecessors, each shown absent; named as in 5-sync-equivalents.md, part b."""

from __future__ import annotations

import ast
import configparser
import gc
import importlib
import inspect
import os
import re
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest
from attrs import field, frozen, validators
from django.apps import apps
from django.db import connection
from django.http import HttpRequest
from pybreaker import CircuitBreakerError

import simplecqrs
from django_cqrs import DjangoMediator
from django_cqrs.errors import QueryWrote
from django_cqrs.sse import last_event_number, sse_response
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
    SyncRequestHandler,
    chain,
    fallback,
    load,
)
from simplecqrs.breakers import NamedBreaker
from simplecqrs.containers import Provider
from simplecqrs.errors import (
    DuplicateHandler,
    HandlerNotFound,
    InvalidHandler,
    InvalidMessage,
    InvalidPayload,
    NotConfigured,
    NotPublished,
)
from simplecqrs.memory import MemoryBroker
from simplecqrs.messages import Event
from simplecqrs.middlewares import logged
from simplecqrs.middlewares.validation import validating
from simplecqrs.pipeline import Call
from simplecqrs.testing import recording
from tests.desk.models import Note

ROOT = Path(simplecqrs.__path__[0]).parent
WAIT = 10  # seconds that a thread waits for another one, before the test has failed
T = TypeVar("T")


@frozen
class Do(Command[Any]):
    """Is handled in some way."""

    number: int = 0


@frozen
class Ask(Query[Any]):
    """Is answered in some way."""


@frozen
class Watch(Stream[int]):
    """Is answered item by item."""


@frozen
class Happened(DomainEvent):
    """Is handled here."""

    number: int = 0


@frozen
class Told(NotificationEvent):
    """Goes out."""

    number: int = 0


class Failure(Exception):
    """What a handler raises."""


@pytest.fixture
def registry() -> Registry:
    """Register nothing yet."""
    return Registry()


def publishing(*events: Event, answer: object = None) -> Callable[..., Any]:
    """Make a handler that publishes."""

    def handler(message: Message, publish: Publish) -> object:
        for event in events:
            publish(event)
        return answer

    return handler


def raising(error: Exception) -> Callable[[Any], Any]:
    """Make a handler that fails."""

    def handler(message: Message) -> Any:
        raise error

    return handler


def test_b01_events_of_the_last_link_of_a_chain_are_not_lost(registry: Registry) -> None:
    """And only its own are emitted."""
    seen: list[int] = []
    registry.handles(Do)(
        chain(
            publishing(Happened(1), answer=NOT_MINE), publishing(Happened(2), answer=NOT_MINE), publishing(Happened(3))
        )
    )
    registry.add(Happened, lambda event: seen.append(event.number))

    Mediator(registry).send(Do())

    assert seen == [3]


@dataclass(frozen=True)
class Changed(NotificationEvent, Generic[T]):
    """A generic event, as a dataclass."""

    payload: T


@dataclass(frozen=True)
class DoChanged(Changed[Do]):
    """What is sent of it."""


def test_b02_generic_dataclass_events_match_and_keep_the_type_of_their_payload(registry: Registry) -> None:
    """Here, and after a way through bytes."""
    seen: list[Any] = []
    broker = MemoryBroker()
    registry.add(DoChanged, seen.append)
    registry.add(DoChanged, seen.append, consumer="elsewhere")
    bus = Mediator(registry, publisher=broker)

    bus.publish(DoChanged(Do(7)))
    bus.receive(broker.published[0], consumer="elsewhere")

    assert [type(event.payload) for event in seen] == [Do, Do]


@pytest.mark.parametrize("event", [Happened(), Told()], ids=["domain", "notification"])
def test_b03_no_failure_of_an_event_handler_is_swallowed(registry: Registry, event: Event) -> None:
    """Domain and notification, sent and received, and nothing goes out."""
    broker, incoming = MemoryBroker(), MemoryBroker()
    registry.add(Do, publishing(event, Told(1)))
    registry.add(type(event), raising(Failure()))
    registry.add(Told, publishing(event), consumer="c")
    bus = Mediator(registry, publisher=broker)
    Mediator(Registry(), publisher=incoming).publish(Told())

    for call in (lambda: bus.send(Do()), lambda: bus.receive(incoming.published[0], consumer="c")):
        with pytest.raises(Failure):
            call()

    assert broker.published == []


def test_b08_breaker_and_middlewares_work_for_streams_and_events_too(registry: Registry) -> None:
    """There is one pipeline."""
    surrounded: list[str] = []
    asked: list[int] = []

    def middleware(message: Message, call_next: Call) -> Any:
        surrounded.append(type(message).__name__)
        return call_next(message)

    def primary(stream: Watch) -> Iterator[int]:
        asked.append(1)
        raise Failure
        yield

    def backup(stream: Watch) -> Iterator[int]:
        yield 1

    registry.handles(Watch)(fallback(primary, backup, on=Failure, breaker=NamedBreaker("b08", fail_max=2)))
    registry.add(Happened, lambda event: None)
    bus = Mediator(registry, middlewares=[middleware])

    answers = [list(bus.stream(Watch())) for _ in range(6)]
    bus.publish(Happened())

    assert answers == [[1]] * 6
    assert len(asked) == 2
    assert surrounded == ["Watch"] * 6 + ["Happened"]


@pytest.mark.parametrize("answer", ["text", 7, None, [1], {"a": 1}], ids=repr)
def test_b09_logging_takes_any_answer(registry: Registry, answer: object) -> None:
    """It asks nothing of it."""
    registry.add(Do, lambda command: answer)

    assert Mediator(registry, middlewares=[logged(fields=True)]).send(Do()) == answer


@pytest.mark.parametrize(("workers", "most"), [(1, 1), (2, 2)])
def test_b10_the_limit_counts_handlers_off_is_off_and_nobody_is_orphaned(
    registry: Registry, workers: int, most: int
) -> None:
    """Five handlers of one event; the first one fails."""
    lock = threading.Lock()
    inside: list[int] = []
    peaks: list[int] = []
    failed = threading.Event()

    def handler(number: int) -> Callable[[Happened], None]:
        def handle(event: Happened) -> None:
            with lock:
                inside.append(number)
                peaks.append(len(inside))
            try:
                if number == 0:
                    failed.set()
                    raise Failure
                assert failed.wait(WAIT)
            finally:
                with lock:
                    inside.remove(number)

        return handle

    for number in range(5):
        registry.add(Happened, handler(number))

    with pytest.raises(Failure):
        Mediator(registry, event_workers=workers).publish(Happened())

    assert inside == []
    assert max(peaks) <= most
    assert not [thread for thread in threading.enumerate() if "simplecqrs" in thread.name]


def test_b12_plain_events_and_missing_handlers_are_no_silence(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    """A plain event and a request without a handler are errors; an event may have none, and that is logged."""

    class Plain(Event):
        """Says not who may know of it."""

    bus = Mediator(registry)

    with pytest.raises(InvalidMessage, match="Plain"):
        bus.publish(Plain())
    with pytest.raises(HandlerNotFound, match="Do"):
        bus.send(Do())
    with caplog.at_level("DEBUG", logger="simplecqrs"):
        bus.publish(Happened())
    assert "Happened has no handler" in caplog.text


class Singleton(SyncRequestHandler[Do, None]):
    """A container hands out one instance to all."""

    def handle(self, command: Do) -> None:
        """Publish one event."""
        self.publish(Happened(command.number))


def test_b15_one_instance_for_all_keeps_no_events(registry: Registry) -> None:
    """Neither from message to message nor from thread to thread; its instance has no state at all."""
    single, seen = Singleton(), list[int]()
    registry.add(Do, single.handle)
    registry.add(Happened, lambda event: seen.append(event.number))
    bus = Mediator(registry)
    threads = [threading.Thread(target=bus.send, args=[Do(number)]) for number in range(8)]

    bus.send(Do(100))
    bus.send(Do(101))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)

    assert seen[:2] == [100, 101]
    assert sorted(seen) == [*range(8), 100, 101]
    assert vars(single) == {}


def test_b16_there_is_no_broker_that_drops_and_none_that_collects_behind_ones_back(registry: Registry) -> None:
    """Without a publisher a notification is an error; what a memory broker keeps, it keeps itself, and goes with it."""
    registry.add(Do, publishing(Told()))

    with pytest.raises(NotPublished, match="publisher"):
        Mediator(registry).send(Do())

    broker = MemoryBroker()
    Mediator(Registry(), publisher=broker).publish(Told())
    kept = weakref.ref(broker.published[0])
    assert MemoryBroker().published == []
    del broker
    gc.collect()
    assert kept() is None


@frozen
class AttrsTold(NotificationEvent, name="told.attrs", topic="t"):
    """The same fields, made by attrs."""

    user_id: int
    first_name: str


@dataclass(frozen=True)
class DataTold(NotificationEvent, name="told.data", topic="t"):
    """The same fields, made by dataclasses."""

    user_id: int
    first_name: str


def test_b17_the_wire_format_depends_neither_on_the_family_of_types_nor_on_the_path(registry: Registry) -> None:
    """Names of fields are those of Python; name, content type and headers are always there."""
    broker = MemoryBroker()
    registry.add(Do, publishing(DataTold(1, "Ada")))
    bus = Mediator(registry, publisher=broker)

    bus.publish(AttrsTold(1, "Ada"))
    bus.publish(DataTold(1, "Ada"))
    bus.send(Do())

    assert {e.payload for e in broker.published} == {b'{"user_id":1,"first_name":"Ada"}'}
    assert [e.name for e in broker.published] == ["told.attrs", "told.data", "told.data"]
    assert {(e.content_type, e.topic) for e in broker.published} == {("application/json", "t")}


IMPORTED = """
import logging, os, sys
before = dict(os.environ), len(logging.root.handlers), logging.root.level
import simplecqrs
import simplecqrs.mediator, simplecqrs.memory, simplecqrs.middlewares, simplecqrs.containers
assert before == (dict(os.environ), len(logging.root.handlers), logging.root.level)
assert logging.getLogger("simplecqrs").level == 0 and not logging.getLogger("simplecqrs").handlers
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_b18_importing_does_nothing_and_needs_no_container_library(tmp_path: Path) -> None:
    """Nor a .env file; what is needed is attrs and cattrs."""
    (tmp_path / ".env").write_text("SIMPLECQRS_B18=1\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    needed = [re.split(r"[<>=;\s]", line)[0] for line in setup["options"]["install_requires"].split("\n") if line]

    libraries = {
        "di",
        "dependency_injector",
        "dishka",
        "svcs",
        "rodi",
        "wireup",
        "dotenv",
        "django",
        "pydantic",
        "redis",
    }
    assert libraries & set(done.stdout.split()) == set()
    assert {*needed} <= {"attrs", "cattrs", "exceptiongroup"}


def test_b18_maps_cannot_be_changed_behind_the_registrys_back(registry: Registry) -> None:
    """By any method that a dict has."""
    registry.add(Do, lambda command: "first")

    with pytest.raises(DuplicateHandler):
        registry.add(Do, lambda command: "second")
    with pytest.raises(TypeError):
        registry[Do] = lambda command: "second"  # type: ignore[index]
    assert not {"pop", "update", "setdefault", "clear"} & set(dir(registry))


@frozen
class Transfer(Command[None]):
    """Has rules."""

    account: str = field(validator=validators.matches_re(r"\d{4}"))
    amount: int = field(validator=validators.gt(0))


def test_b20_every_wrong_field_is_told_before_any_handler(registry: Registry) -> None:
    """Of request data, and of messages that were built in Python past their validators."""
    handled: list[Any] = []
    registry.add(Transfer, handled.append)
    bus = Mediator(registry, middlewares=[validating()])
    broken = Transfer("1234", 1)
    object.__setattr__(broken, "account", "x")
    object.__setattr__(broken, "amount", "1")

    with pytest.raises(InvalidPayload) as loaded:
        load(Transfer, {"account": "x", "amount": 0, "note": "?"})
    with pytest.raises(InvalidPayload) as sent:
        bus.send(broken)

    assert {path for path, _ in loaded.value.errors} == {"account", "amount", "note"}
    assert {path for path, _ in sent.value.errors} == {"account", "amount"}
    assert handled == []


@pytest.mark.usefixtures("committed")
def test_b21_a_query_neither_writes_nor_publishes() -> None:
    """It is refused, not only frowned upon; what it wrote before that is not there."""
    registry = Registry()
    registry.add(Ask, lambda query: Note.objects.create(text="x"))
    publishes = Registry()
    publishes.add(Ask, publishing(Happened()))

    with pytest.raises(QueryWrote, match="Ask"):
        DjangoMediator(registry).send(Ask())
    with pytest.raises(NotPublished, match="Ask"):
        Mediator(publishes).send(Ask())

    assert not Note.objects.exists()


class Session:
    """Is opened for a message, and closed."""


@pytest.mark.usefixtures("committed")
def test_b22_a_command_is_a_unit_of_work_by_default_and_its_dependencies_live_as_long(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In Django without a word; generators are open while the handler works, and emission follows the commit."""
    log: list[str] = []

    def open_session() -> Generator[Session, None, None]:
        log.append("open")
        try:
            yield Session()
        finally:
            log.append("closed")

    def do(command: Do, publish: Publish, *, session: Session) -> bool:
        log.append("handler")
        Note.objects.create(text="x")
        publish(Happened())
        if command.number:
            raise Failure
        return connection.in_atomic_block

    registry = Registry()
    registry.add(Do, do)
    registry.add(Happened, lambda event: log.append(f"later {connection.in_atomic_block}"), after_commit=True)
    monkeypatch.setattr("tests.desk.project.sessions", Provider({Session: open_session}), raising=False)
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "CONTAINER": "tests.desk.project.sessions"}
    bus = DjangoMediator(registry)

    assert bus.send(Do()) is True
    with pytest.raises(Failure):
        bus.send(Do(1))

    assert log == ["open", "handler", "later True", "closed", "open", "handler", "closed"]
    assert Note.objects.count() == 1


def test_b33_everything_is_synchronous_and_threads_share_a_mediator(registry: Registry) -> None:
    """No coroutine anywhere in what is public; async handlers are refused with a cure."""

    async def later(command: Do) -> None: ...

    with pytest.raises(InvalidHandler, match="async_to_sync"):
        registry.add(Do, later)
    registry.add(Do, lambda command: threading.get_ident())
    bus, answers = Mediator(registry), list[tuple[int, int]]()
    threads = [
        threading.Thread(target=lambda: answers.append((bus.send(Do()), threading.get_ident()))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)

    assert len(answers) == 8
    assert all(handled == sent for handled, sent in answers)
    methods = inspect.getmembers(Mediator, inspect.isfunction)
    assert not [name for name, method in methods if inspect.iscoroutinefunction(method)]


def test_b34_handlers_register_themselves_are_found_checked_and_listed(registry: Registry) -> None:
    """By decorator; in Django by discovery of handlers.py; who handles what can be asked."""

    @registry.handles(Do)
    def do(command: Do, *, missing: Happened) -> None: ...

    bus = Mediator(registry)

    with pytest.raises(NotConfigured, match=r"do needs missing: Happened"):
        bus.check()
    assert [(r.messages, r.handler) for r in bus.registrations()] == [((Do,), do)]
    assert apps.is_installed("tests.desk")
    assert "tests.desk.handlers" in sys.modules  # nobody here has imported it
    assert simplecqrs.registry.default_registry is not registry


def test_b37_handlers_are_tested_by_given_when_then(registry: Registry) -> None:
    """By functions and a list, or in a recording."""
    events: list[Event] = []

    publishing(Happened(1))(Do(), events.append)
    with recording() as recorded:
        Singleton().handle(Do(2))

    assert (events, recorded) == ([Happened(1)], [Happened(2)])


def test_b38_server_sent_events_have_ids_retry_heartbeats_and_go_on() -> None:
    """As the standard says."""
    release = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        assert release.wait(WAIT)
        yield 2

    request = HttpRequest()
    request.META["HTTP_LAST_EVENT_ID"] = "41"
    response = sse_response(items(), after=last_event_number(request), retry=1500, heartbeat=0.01)
    told: list[bytes] = []
    for part in response:
        told.append(bytes(part))
        if bytes(part).startswith(b":") and len(told) > 2:
            release.set()
    response.close()
    text = b"".join(told).decode()

    assert "retry: 1500\n" in text
    assert "id: 42\n" in text
    assert "id: 43\n" in text
    assert re.search(r"^:", text, re.MULTILINE)


def test_b39_a_breaker_shows_the_real_error_shares_its_state_and_lets_one_try() -> None:
    """By a storage of one's choice; others are refused while one tries."""
    kept: dict[str, Any] = {}

    def storage(name: str) -> Any:
        from pybreaker import CircuitMemoryStorage

        return kept.setdefault(name, CircuitMemoryStorage("closed"))

    one = NamedBreaker("b39", fail_max=1, reset_seconds=0, storage=storage)
    other = NamedBreaker("b39", fail_max=1, reset_seconds=3600, storage=storage)

    with pytest.raises(Failure), one.calling():
        raise Failure
    with pytest.raises(CircuitBreakerError), other.calling():
        pass

    refused: list[str] = []

    def try_too() -> None:
        try:
            with one.calling():
                refused.append("passed")
        except CircuitBreakerError:
            refused.append("refused")

    with one.calling():
        thread = threading.Thread(target=try_too)
        thread.start()
        thread.join(WAIT)
    assert refused == ["refused"]


PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_b40_what_the_docs_import_exists(page: Path) -> None:
    """Every Python block is Python, and what it imports of ours is there; tests/test_docs*.py run the blocks."""
    for block in re.findall(r"^```python[^\n]*\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in OURS:
                module = importlib.import_module(node.module or "")
                missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
                assert missing == [], f"{page.name}: from {node.module} import {missing}"


OURS = {"simplecqrs", "django_cqrs"}
