"""Events side by side, and what becomes of the failures of their handlers."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from threading import Barrier, Event, Lock
from typing import Any, Literal

import pytest
from attrs import frozen

from simplecqrs import (
    Command,
    DomainEvent,
    Mediator,
    NotificationEvent,
    Publish,
    Registry,
    SyncEventHandler,
    around,
    context,
    current,
)
from simplecqrs.errors import HandlersFailed, NotConfigured, TooManyEvents
from simplecqrs.memory import MemoryBroker
from simplecqrs.metadata import active_context

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

WAIT = 10  # seconds that a thread waits for another one, before the test has failed
Errors = Literal["raise", "collect", "log"]


@frozen
class Do(Command[str]):
    """Publishes as many events as it says."""

    events: int = 1


@frozen
class DoInside(Command[None]):
    """Is sent by handlers of events."""


@frozen
class First(DomainEvent):
    """Is caused by the command."""

    number: int = 0


@frozen
class Second(DomainEvent):
    """Is caused by the first event."""

    number: int = 0


@frozen
class Told(NotificationEvent):
    """Goes out."""

    number: int = 0


class Session:
    """Is made for each scope."""


class Failure(Exception):
    """What a handler raises."""


@pytest.fixture
def registry() -> Registry:
    """Register the command that publishes."""
    registry = Registry()

    @registry.handles(Do)
    def do(command: Do, publish: Publish) -> str:
        for number in range(command.events):
            publish(First(number))
        return "done"

    return registry


class Peak:
    """Counts how many are inside at a time."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self.highest = 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            self.highest = max(self.highest, self._inside)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1


# Side by side


def test_handlers_run_side_by_side(registry: Registry) -> None:
    """Those of one event, and those of several."""
    together = Barrier(4)
    for _ in range(2):
        registry.add(First, lambda event: together.wait(WAIT))
        registry.add(First, lambda event: None)

    assert Mediator(registry, event_workers=4).send(Do(2)) == "done"
    assert not together.broken


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_limit_counts_running_handlers(registry: Registry, workers: int) -> None:
    """Not events; and one worker is none at a time beside another."""
    peak = Peak()
    gate = Barrier(workers)

    def handler() -> Callable[[First], None]:
        def handle(event: First) -> None:
            with peak:
                gate.wait(WAIT)

        return handle

    for _ in range(6):
        registry.add(First, handler())

    Mediator(registry, event_workers=workers).send(Do(2))

    assert peak.highest == workers


def test_one_level_has_ended_when_the_next_begins(registry: Registry) -> None:
    """Breadth first, all levels; follow-ups in the order of their causes, whoever was quicker."""
    log: list[str] = []
    zero_may_end = Event()

    def first(event: First, publish: Publish) -> None:
        if event.number == 0:
            zero_may_end.wait(WAIT)
        else:
            zero_may_end.set()
        publish(Second(event.number))
        log.append("first")

    registry.handles(First)(first)
    registry.add(Second, lambda event: log.append(f"second {event.number}"))

    Mediator(registry, event_workers=2).send(Do(2))

    assert log[:2] == ["first", "first"]
    assert sorted(log[2:]) == ["second 0", "second 1"]


def test_what_goes_out_goes_out_in_one_call_in_the_order_of_its_causes(registry: Registry) -> None:
    """When all handlers have ended."""
    zero_may_end = Event()
    broker = MemoryBroker()

    def tell(event: First, publish: Publish) -> None:
        if event.number == 0:
            zero_may_end.wait(WAIT)
        zero_may_end.set()
        publish(Told(event.number))

    registry.handles(First)(tell)

    Mediator(registry, publisher=broker, event_workers=2).send(Do(2))

    assert [envelope.payload for envelope in broker.published] == [b'{"number":0}', b'{"number":1}']


def test_metadata_travels_into_threads_and_a_dispatch_does_not(registry: Registry) -> None:
    """A handler sees the event's metadata and the context; its follow-ups name it as their cause."""
    seen: dict[str, Any] = {}
    both = Barrier(2)

    @registry.handles(First)
    def look(event: First, publish: Publish) -> None:
        both.wait(WAIT)
        found = active_context()
        seen[f"first {event.number}"] = (current(), found and found.headers["user"], threading.current_thread())
        publish(Second(event.number))

    registry.add(Second, lambda event: seen.update({f"second {event.number}": current()}))

    with context(user="7", correlation_id="one"):
        Mediator(registry, event_workers=2).send(Do(2))

    (first, user, thread), second = seen["first 0"], seen["second 0"]
    assert user == "7"
    assert thread is not threading.current_thread()
    assert (first.correlation_id, second.correlation_id) == ("one", "one")
    assert second.causation_id == str(first.id)


def test_handlers_of_one_event_see_the_same_metadata(registry: Registry) -> None:
    """Made once, whoever asks first."""
    seen: list[Any] = []
    both = Barrier(2)

    def handler() -> Callable[[First], None]:
        def handle(event: First) -> None:
            both.wait(WAIT)
            seen.append(current())

        return handle

    registry.add(First, handler())
    registry.add(First, handler())

    Mediator(registry, event_workers=2).send(Do())

    assert seen[0] is seen[1]


def test_nested_commands_in_a_thread_have_their_events_handled_there(registry: Registry) -> None:
    """Threads of threads would not be bounded."""
    threads: dict[str, str] = {}
    both = Barrier(2)

    @registry.handles(First)
    def send(event: First) -> None:
        both.wait(WAIT)
        threads[f"first {event.number}"] = threading.current_thread().name
        bus.send(DoInside())
        threads[f"after {event.number}"] = threading.current_thread().name

    @registry.handles(DoInside)
    def inside(command: DoInside, publish: Publish) -> None:
        publish(Second())
        publish(Second())

    handled: list[str] = []
    registry.add(Second, lambda event: handled.append(threading.current_thread().name))
    bus = Mediator(registry, event_workers=2)

    bus.send(Do(2))

    assert set(handled) == {threads["first 0"], threads["first 1"]}
    assert len(handled) == 4


def test_threads_share_no_dependencies(registry: Registry) -> None:
    """Each handler has a scope of its own, which ends with it."""
    log: list[str] = []
    made: list[object] = []
    both = Barrier(2)

    def open_session() -> Generator[Session, None, None]:
        session = Session()
        made.append(session)
        yield session
        log.append("closed")

    class Use(SyncEventHandler[First]):
        def __init__(self, session: Session) -> None:
            self.session = session

        def handle(self, event: First) -> None:
            both.wait(WAIT)
            made.remove(self.session)

    registry.handles(First)(Use)

    Mediator(registry, provide={Session: open_session}, event_workers=2).send(Do(2))

    assert (made, log) == ([], ["closed", "closed"])


def test_middlewares_surround_each_handler_in_its_thread(registry: Registry) -> None:
    """As they do everywhere."""
    seen: list[tuple[str, str]] = []
    both = Barrier(2)

    @contextmanager
    def watching(message: Any) -> Generator[None, None, None]:
        seen.append((type(message).__name__, threading.current_thread().name))
        yield

    registry.add(First, lambda event: both.wait(WAIT))

    Mediator(registry, middlewares=[around(watching)], event_workers=2).send(Do(2))

    assert [name for name, _ in seen] == ["Do", "First", "First"]
    assert len({thread for _, thread in seen}) == 3


def test_endless_events_are_noticed_side_by_side(registry: Registry) -> None:
    """As they are one after the other."""
    registry.add(First, lambda event, publish: publish(First(event.number + 1)))

    with pytest.raises(TooManyEvents, match="more than 5 generations"):
        Mediator(registry, event_workers=2, max_generations=5).send(Do())


# Failures


def failing(registry: Registry, log: list[str]) -> None:
    """Let the second of three handlers fail, after it has published."""

    def first(event: First, publish: Publish) -> None:
        publish(Told(1))
        log.append("first")

    def second(event: First, publish: Publish) -> None:
        publish(Told(2))
        publish(Second())
        raise Failure("second")

    registry.handles(First)(first)
    registry.handles(First)(second)
    registry.add(First, lambda event: log.append("third"))
    registry.add(Second, lambda event: log.append("never"))


def test_the_first_failure_is_raised_one_after_the_other(registry: Registry) -> None:
    """And the handlers behind it do not run; nothing goes out."""
    log: list[str] = []
    broker = MemoryBroker()
    failing(registry, log)

    with pytest.raises(Failure, match="second"):
        Mediator(registry, publisher=broker).send(Do())

    assert (log, broker.published) == (["first"], [])


def test_nothing_is_orphaned_by_a_failure_side_by_side(registry: Registry) -> None:
    """What runs is waited for, what waits does not begin, and the first failure is raised."""
    log: list[str] = []
    failed, both = Event(), Barrier(2)

    def slow(event: First) -> None:
        both.wait(WAIT)
        failed.wait(WAIT)
        log.append("ended")

    def fail(event: First) -> None:
        both.wait(WAIT)
        failed.set()
        raise Failure("fail")

    registry.add(First, slow)
    registry.add(First, fail)
    registry.add(Second, lambda event: log.append("never"))

    with pytest.raises(Failure, match="fail"):
        Mediator(registry, event_workers=2).send(Do())
    assert log == ["ended"]


@pytest.mark.parametrize("workers", [1, 3])
def test_collected_failures_name_event_and_handler(registry: Registry, workers: int) -> None:
    """All handlers have run; what the failed ones have published is gone, and nothing goes out."""
    log: list[str] = []
    broker = MemoryBroker()
    failing(registry, log)

    with pytest.raises(HandlersFailed, match="second with First") as caught:
        Mediator(registry, publisher=broker, event_workers=workers, event_errors="collect").send(Do())

    [failure] = caught.value.failures
    assert (failure.event, failure.handler.__name__, str(failure.error)) == (First(0), "second", "second")
    assert isinstance(caught.value, ExceptionGroup)
    assert caught.value.exceptions == (failure.error,)
    assert (sorted(log), broker.published) == (["first", "third"], [])


def test_failures_of_all_levels_are_collected(registry: Registry) -> None:
    """In the order in which their handlers were to run."""

    @registry.handles(First)
    def publish_more(event: First, publish: Publish) -> None:
        publish(Second(event.number))
        if event.number == 1:
            raise Failure("first")

    @registry.handles(Second)
    def fail(event: Second) -> None:
        raise Failure(f"second {event.number}")

    with pytest.raises(HandlersFailed) as caught:
        Mediator(registry, event_workers=2, event_errors="collect").send(Do(3))

    assert [str(failure.error) for failure in caught.value.failures] == ["first", "second 0", "second 2"]


def test_a_group_can_be_split() -> None:
    """As any group of exceptions."""
    from simplecqrs.failures import Failure as Record

    group = HandlersFailed([Record(First(), print, Failure("a")), Record(First(), print, KeyError("b"))])

    matching, rest = group.split(Failure)

    assert matching is not None
    assert rest is not None
    assert ([str(e) for e in matching.exceptions], len(rest.exceptions)) == (["a"], 1)


@pytest.mark.parametrize("workers", [1, 3])
def test_logged_failures_do_not_reach_the_caller(
    registry: Registry, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    """What the other handlers have published goes out, what the failed one has does not."""
    log: list[str] = []
    broker = MemoryBroker()
    failing(registry, log)

    bus = Mediator(registry, publisher=broker, event_workers=workers, event_errors="log")

    assert bus.send(Do()) == "done"
    assert sorted(log) == ["first", "third"]
    assert [envelope.payload for envelope in broker.published] == [b'{"number":1}']
    [record] = caplog.records
    assert record.getMessage().endswith("second failed with First")
    assert record.exc_info


@pytest.mark.parametrize("errors", ["collect", "log"])
def test_the_policy_is_the_same_for_events_that_are_published_from_outside(
    registry: Registry, errors: Errors, caplog: pytest.LogCaptureFixture
) -> None:
    """One policy on all paths."""
    log: list[str] = []
    failing(registry, log)
    bus = Mediator(registry, publisher=MemoryBroker(), event_errors=errors)

    with pytest.raises(HandlersFailed) if errors == "collect" else nullcontext():
        bus.publish(First())

    assert log == ["first", "third"]


def test_who_interrupts_the_program_is_not_collected(registry: Registry) -> None:
    """What is no Exception is raised as it is, and begins nothing more."""
    log: list[str] = []

    def interrupt(event: First) -> None:
        raise KeyboardInterrupt

    registry.add(First, interrupt)
    registry.add(First, lambda event: log.append("never"))

    with pytest.raises(KeyboardInterrupt):
        Mediator(registry, event_errors="collect").send(Do())
    assert log == []


# After the commit


def test_after_commit_handlers_run_side_by_side(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    """Of a mediator with transactions as well; their failures are logged, each for itself."""
    both = Barrier(2)
    handled: list[int] = []

    def handler(fails: bool) -> Callable[[First], None]:
        def handle(event: First) -> None:
            both.wait(WAIT)
            if fails:
                raise Failure
            handled.append(event.number)

        return handle

    registry.add(First, handler(True), after_commit=True)
    registry.add(First, handler(False), after_commit=True)

    assert Mediator(registry, transaction=lambda _: nullcontext(), event_workers=2).send(Do()) == "done"
    assert handled == [0]
    assert [record.getMessage() for record in caplog.records] == ["an after-commit handler of First failed"]


@pytest.mark.parametrize("options", [{}, {"event_errors": "collect"}, {"event_workers": 2}])
def test_after_commit_handlers_have_one_order_in_every_mode(registry: Registry, options: dict[str, Any]) -> None:
    """What an event's handlers have caused comes before the event itself; events in their order."""
    log: list[str] = []

    @registry.handles(First)
    def send(event: First) -> None:
        bus.send(DoInside())

    registry.add(DoInside, lambda command, publish: publish(Second()))
    registry.add(Second, lambda event: log.append("second"), after_commit=True)
    registry.add(First, lambda event: log.append(f"first {event.number}"), after_commit=True)
    bus = Mediator(registry, **options)

    bus.send(Do(2))

    assert log == ["second", "first 0", "second", "first 1"]


def test_in_a_transaction_handlers_run_one_after_the_other(registry: Registry) -> None:
    """A transaction is of one thread."""
    threads: set[str] = set()
    for _ in range(3):
        registry.add(First, lambda event: threads.add(threading.current_thread().name))

    Mediator(registry, transaction=lambda _: nullcontext(), event_workers=4).send(Do(2))

    assert threads == {threading.current_thread().name}


# What is refused


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"event_workers": 0}, "event_workers=0 must be 1 or more"),
        ({"event_errors": "collect", "transaction": lambda _: nullcontext()}, "cannot go with transaction="),
    ],
)
def test_contradictions_are_found_at_start(registry: Registry, options: dict[str, Any], reason: str) -> None:
    """With all else that is wrong."""
    with pytest.raises(NotConfigured, match=reason):
        Mediator(registry, **options).check()


@pytest.mark.parametrize("option", ["event_errors", "scope"])
def test_unknown_values_are_refused_at_once(registry: Registry, option: str) -> None:
    """The error lists the known ones."""
    values: dict[str, Any] = {option: "all"}

    with pytest.raises(NotConfigured, match=f"{option}='all' must be one of"):
        Mediator(registry, **values)
