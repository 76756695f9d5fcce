"""The acceptance rows of events in one process: 24, 26 to 32."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import pytest
from attrs import frozen

from simplecqrs import (
    Command,
    DomainEvent,
    ECSTEvent,
    Mediator,
    NotificationEvent,
    Publish,
    Registry,
    Stream,
    SyncEventHandler,
    current,
)
from simplecqrs.errors import (
    DuplicateHandler,
    HandlersFailed,
    InvalidHandler,
    InvalidMessage,
    NotConfigured,
    TooManyEvents,
)
from simplecqrs.memory import MemoryBroker

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

T = TypeVar("T")
WAIT = 10  # seconds that a thread waits for another one, before the test has failed


@frozen
class Do(Command[str]):
    """Publishes so many events."""

    events: int = 1


@frozen
class Watch(Stream[int]):
    """Publishes an event for each of its items."""


@frozen
class Happened(DomainEvent):
    """Is caused by a command."""

    number: int = 0


@frozen
class Followed(DomainEvent):
    """Is caused by an event."""

    path: str


@frozen
class Told(NotificationEvent):
    """Goes out."""

    number: int = 0


@frozen
class CustomerState(ECSTEvent):
    """Carries all that is known of a customer."""

    customer_id: int
    name: str
    tags: list[str]


@frozen
class Address:
    """A value."""

    street: str
    number: int


@frozen
class Changed(NotificationEvent, Generic[T]):
    """A generic event."""

    old: T
    new: T


@frozen
class AddressChanged(Changed[Address]):
    """What is sent of it."""


@dataclass(frozen=True)
class Renamed(NotificationEvent, Generic[T]):
    """A generic event that is a dataclass."""

    to: T


@dataclass(frozen=True)
class AddressRenamed(Renamed[Address]):
    """What is sent of it."""


class Failure(Exception):
    """What a handler raises."""


def do(command: Do, publish: Publish) -> str:
    """Publish."""
    for number in range(command.events):
        publish(Happened(number))
    return "done"


@pytest.fixture
def registry() -> Registry:
    """Register the command that publishes."""
    registry = Registry()
    registry.add(Do, do)
    return registry


# 24


def test_row_24_a_consumer_of_state_keeps_its_own_copy_without_asking_back() -> None:
    """The event goes to its own handlers, whole; those of other states and of notifications are not called."""
    registry, broker = Registry(), MemoryBroker()
    copy: dict[int, CustomerState] = {}
    others: list[Any] = []

    @registry.handles(CustomerState, consumer="invoices")
    def keep(event: CustomerState) -> None:
        copy[event.customer_id] = event

    registry.add(NotificationEvent, others.append, consumer="invoices")
    bus = Mediator(registry, publisher=broker)
    bus.publish(CustomerState(7, "Ada", ["new"]))
    bus.publish(CustomerState(7, "Ada Lovelace", []))

    for envelope in broker.published:
        bus.receive(envelope, consumer="invoices")

    assert copy == {7: CustomerState(7, "Ada Lovelace", [])}
    assert others == []


# 26


@pytest.mark.parametrize(
    "event",
    [AddressChanged(Address("A", 1), Address("B", 2)), AddressRenamed(Address("A", 1))],
    ids=["attrs", "dataclass"],
)
def test_row_26_a_generic_event_matches_here_and_is_rebuilt_elsewhere(event: Any) -> None:
    """Its payload comes as what it was, not as a dict; 0-product.md asks for a subclass of the generic event."""
    seen: list[Any] = []
    registry, broker = Registry(), MemoryBroker()
    registry.add(type(event), seen.append)
    registry.add(type(event), seen.append, consumer="elsewhere")

    bus = Mediator(registry, publisher=broker)
    bus.publish(event)
    bus.receive(broker.published[0], consumer="elsewhere")

    assert seen == [event, event]
    assert isinstance(getattr(seen[1], "new", None) or seen[1].to, Address)


def test_row_26_who_wants_all_of_a_generic_event_subscribes_to_it() -> None:
    """Without parameters; with them it could never match, so it is refused with the cure."""
    seen: list[Any] = []
    registry = Registry()
    registry.add(Changed, seen.append)

    with pytest.raises(InvalidMessage, match="class AddressChanged"):
        registry.handles(Changed[Address])(seen.append)
    Mediator(registry, publisher=MemoryBroker()).publish(AddressChanged(Address("A", 1), Address("B", 2)))

    assert [type(event) for event in seen] == [AddressChanged]


# 27


def test_row_27_a_handler_of_an_event_is_registered_once() -> None:
    """Functions and classes; a second one of the same code is another handler."""

    class Handler(SyncEventHandler[Happened]):
        def handle(self, event: Happened) -> None: ...

    def handler(event: Happened) -> None: ...

    for twice in (Handler, handler):
        registry = Registry()
        registry.add(Happened, twice)
        with pytest.raises(DuplicateHandler, match=r"Happened is handled by .*andler already"):
            registry.add(Happened, twice)
        with pytest.raises(DuplicateHandler):
            registry.include(registry)


def test_row_27_a_base_class_can_be_subscribed_to_and_order_is_that_of_registration() -> None:
    """A handler that asked for an event in two ways has it once."""
    log: list[str] = []
    registry = Registry()

    def audit(event: DomainEvent) -> None:
        log.append("audit")

    registry.add(DomainEvent, audit)
    registry.add(Happened, lambda event: log.append("exact"))
    registry.add(Happened, audit)
    registry.add(Followed, lambda event: log.append("other"))

    Mediator(registry).publish(Happened())

    assert log == ["audit", "exact"]


# 28


@pytest.mark.parametrize("workers", [1, 3])
def test_row_28_follow_ups_are_handled_breadth_first_to_the_last_level(registry: Registry, workers: int) -> None:
    """Three levels, of which each event causes two; nothing is lost and nothing comes twice."""
    log: list[str] = []

    @registry.handles(Happened)
    def root(event: Happened, publish: Publish) -> None:
        log.append("")
        for letter in "ab":
            publish(Followed(letter))

    @registry.handles(Followed)
    def follow(event: Followed, publish: Publish) -> None:
        log.append(event.path)
        if len(event.path) < 3:
            for letter in "ab":
                publish(Followed(event.path + letter))

    Mediator(registry, event_workers=workers).send(Do())

    levels = ["", "a", "b", "aa", "ab", "ba", "bb", "aaa", "aab", "aba", "abb", "baa", "bab", "bba", "bbb"]
    assert [len(path) for path in log] == [len(path) for path in levels]
    assert sorted(log) == sorted(levels)
    assert workers > 1 or log == levels


# 29


@pytest.mark.parametrize("workers", [1, 2])
def test_row_29_a_circle_of_events_is_an_error_that_shows_it(registry: Registry, workers: int) -> None:
    """Instead of running for ever."""
    registry.add(Happened, lambda event, publish: publish(Followed("x")))
    registry.add(Followed, lambda event, publish: publish(Happened()))

    with pytest.raises(TooManyEvents, match=r"Happened.*Followed|Followed.*Happened"):
        Mediator(registry, event_workers=workers, max_generations=7).send(Do())


def test_row_29_a_circle_through_nested_commands_is_found_as_well(registry: Registry) -> None:
    """Before Python's own limit, by the default of 50 generations."""
    holder: list[Mediator] = []
    registry.add(Happened, lambda event: holder[0].send(Do()))
    holder.append(Mediator(registry))

    with pytest.raises(TooManyEvents):
        holder[0].send(Do())


def test_row_29_a_circle_through_after_commit_handlers_ends(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged: nobody waits for it."""
    calls: list[int] = []

    @registry.handles(Happened, after_commit=True)
    def again(event: Happened, publish: Publish) -> None:
        calls.append(1)
        publish(Happened())

    Mediator(registry).send(Do())

    assert len(calls) == 50
    assert "TooManyEvents" in caplog.text


def test_row_29_the_depth_can_be_set_and_neither_width_nor_length_needs_a_stack(registry: Registry) -> None:
    """Two thousand levels, and two thousand events in one."""
    depth: list[int] = []

    @registry.handles(Followed)
    def follow(event: Followed, publish: Publish) -> None:
        depth.append(1)
        if len(depth) < 2000:
            publish(Followed("x"))

    bus = Mediator(registry, max_generations=2000)
    bus.publish(Followed("x"))

    assert len(depth) == 2000
    assert bus.send(Do(2000)) == "done"


# 30


def _by_a_command(bus: Mediator) -> None:
    bus.send(Do(2))


def _by_the_bus(bus: Mediator) -> None:
    bus.publish(Followed("start"))


def _by_a_consumer(bus: Mediator) -> None:
    sender, broker = Registry(), MemoryBroker()
    Mediator(sender, publisher=broker).publish(Told())
    bus.receive(broker.published[0], consumer="here")


def _by_a_stream(bus: Mediator) -> None:
    list(bus.stream(Watch()))


PATHS = pytest.mark.parametrize("path", [_by_a_command, _by_the_bus, _by_a_consumer, _by_a_stream])


@pytest.fixture
def failing(registry: Registry) -> Registry:
    """Let every path publish two events, whose first handler fails and whose second one does not."""
    registry.add(Followed, lambda event, publish: [publish(Happened(n)) for n in range(2)] and None)
    registry.add(Told, lambda event, publish: [publish(Happened(n)) for n in range(2)] and None, consumer="here")

    @registry.handles(Watch, transaction="all")
    def watch(stream: Watch, publish: Publish) -> Iterator[int]:
        for number in range(2):
            publish(Happened(number))
        yield 1

    @registry.handles(Happened)
    def broken(event: Happened) -> None:
        raise Failure(event.number)

    return registry


@PATHS
@pytest.mark.parametrize("workers", [1, 2])
def test_row_30_by_default_a_failure_is_raised_as_it_is_on_all_paths(
    failing: Registry, path: Callable[[Mediator], None], workers: int
) -> None:
    """The first one; nothing is wrapped."""
    with pytest.raises(Failure, match="0"):
        path(Mediator(failing, event_workers=workers, publisher=MemoryBroker()))


@PATHS
@pytest.mark.parametrize("workers", [1, 2])
def test_row_30_failures_can_be_collected_on_all_paths(
    failing: Registry, path: Callable[[Mediator], None], workers: int
) -> None:
    """Every handler has run; each failure tells its event and its handler."""
    healthy: list[int] = []
    failing.add(Happened, lambda event: healthy.append(event.number))

    with pytest.raises(HandlersFailed) as caught:
        path(Mediator(failing, event_workers=workers, event_errors="collect", publisher=MemoryBroker()))

    assert isinstance(caught.value, ExceptionGroup)
    assert [(f.event, f.handler.__name__, f.error.args) for f in caught.value.failures] == [
        (Happened(0), "broken", (0,)),
        (Happened(1), "broken", (1,)),
    ]
    assert [type(error) for error in caught.value.exceptions] == [Failure, Failure]
    assert sorted(healthy) == [0, 1]


@PATHS
@pytest.mark.parametrize("workers", [1, 2])
def test_row_30_failures_can_be_logged_on_all_paths(
    failing: Registry, path: Callable[[Mediator], None], workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything else goes on."""
    path(Mediator(failing, event_workers=workers, event_errors="log", publisher=MemoryBroker()))

    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 2
    assert all("broken" in r.getMessage() and "Happened" in r.getMessage() and r.exc_info for r in errors)


def test_row_30_a_policy_that_a_transaction_forbids_is_refused(failing: Registry) -> None:
    """What was half done would be committed."""
    from contextlib import nullcontext

    for policy in ("collect", "log"):
        choice: Literal["collect", "log"] = policy  # type: ignore[assignment]
        with pytest.raises(NotConfigured, match="event_errors"):
            Mediator(failing, event_errors=choice, transaction=lambda message: nullcontext()).check()


# 31


class Gauge:
    """Counts how many are inside at a time."""

    def __init__(self) -> None:
        self._lock, self._inside, self.highest, self.left = threading.Lock(), 0, 0, 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            self.highest = max(self.highest, self._inside)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            self.left += 1


def event_threads() -> list[str]:
    """Return the threads that run handlers."""
    return [thread.name for thread in threading.enumerate() if "simplecqrs" in thread.name]


def test_row_31_the_limit_counts_handlers_not_events(registry: Registry) -> None:
    """Two at a time are really two: they meet.  Three events of two handlers each are six that never are three."""
    gauge, meeting, third = Gauge(), threading.Barrier(2, timeout=WAIT), threading.Event()

    def handler() -> Callable[[Happened], None]:
        def handle(event: Happened) -> None:
            with gauge:
                if gauge.highest > 2:
                    third.set()
                    meeting.abort()
                meeting.wait()
                third.wait(0.02)  # a third one would come now

        return handle

    registry.add(Happened, handler())
    registry.add(Happened, handler())

    Mediator(registry, event_workers=2).send(Do(3))

    assert (gauge.highest, gauge.left) == (2, 6)
    assert event_threads() == []


def test_row_31_off_is_really_one_after_the_other(registry: Registry) -> None:
    """In the thread of who sends."""
    gauge = Gauge()
    threads: set[int] = set()

    def handler() -> Callable[[Happened], None]:
        def handle(event: Happened) -> None:
            with gauge:
                threads.add(threading.get_ident())

        return handle

    for _ in range(5):
        registry.add(Happened, handler())

    Mediator(registry).send(Do())

    assert (gauge.highest, gauge.left) == (1, 5)
    assert threads == {threading.get_ident()}


@pytest.mark.parametrize("errors", ["raise", "collect"])
def test_row_31_siblings_of_a_failure_are_never_orphaned(
    registry: Registry, errors: Literal["raise", "collect"]
) -> None:
    """What was begun has ended when the failure is raised."""
    begun, ended = threading.Event(), threading.Event()
    release = threading.Event()

    @registry.handles(Happened)
    def broken(event: Happened) -> None:
        assert begun.wait(WAIT)
        threading.Timer(0.02, release.set).start()
        raise Failure

    @registry.handles(Happened)
    def sibling(event: Happened) -> None:
        begun.set()
        assert release.wait(WAIT)
        ended.set()

    with pytest.raises((Failure, HandlersFailed)):
        Mediator(registry, event_workers=2, event_errors=errors).send(Do())

    assert ended.is_set()
    assert event_threads() == []


def test_row_31_what_handlers_in_threads_send_and_publish_is_not_lost(registry: Registry) -> None:
    """It goes out together with the rest, in one call, and knows its cause."""
    calls: list[list[int]] = []
    causes: list[Any] = []

    class Publisher(MemoryBroker):
        def publish(self, envelopes: Any, /, *, deadline: float) -> Any:
            calls.append([1 for _ in envelopes])
            causes.extend(envelope.correlation_id for envelope in envelopes)
            return super().publish(envelopes, deadline=deadline)

    ids: list[Any] = []

    @registry.handles(Happened)
    def tell(event: Happened, publish: Publish) -> None:
        ids.append(current().correlation_id)
        publish(Told(event.number))

    Mediator(registry, event_workers=3, publisher=Publisher()).send(Do(4))

    assert calls == [[1] * 4]
    assert len(set(ids)) == 1
    assert {*causes} == {*ids}


def test_row_31_a_number_of_workers_that_makes_no_sense_is_refused(registry: Registry) -> None:
    """Before the first message."""
    with pytest.raises(NotConfigured, match="event_workers"):
        Mediator(registry, event_workers=0).check()


# 32


def test_row_32_consumed_events_reach_their_handlers_and_follow_ups_the_broker() -> None:
    """``receive`` takes the place of an EventMediator; what the follow-up was caused by is in its envelope."""
    log: list[str] = []
    registry, broker = Registry(), MemoryBroker()

    @registry.handles(Told, consumer="mailing")
    def first(event: Told, publish: Publish) -> None:
        publish(Happened(event.number))
        publish(CustomerState(event.number, "Ada", []))

    registry.add(Told, lambda event: log.append("second"), consumer="mailing")
    registry.add(Told, lambda event: log.append("other consumer"), consumer="reports")
    registry.add(Told, lambda event: log.append("where it was published"))
    registry.add(Happened, lambda event: log.append("domain event"))
    bus = Mediator(registry, publisher=broker)
    Mediator(Registry(), publisher=broker).publish(Told(7))
    [incoming] = broker.published

    assert bus.receive(incoming, consumer="mailing") is True

    assert log == ["second", "domain event"]
    assert [envelope.name for envelope in broker.published] == ["Told", "CustomerState"]
    assert broker.published[1].causation_id == str(incoming.id)
    assert broker.published[1].correlation_id == incoming.correlation_id


def test_row_32_a_handler_that_fails_is_no_silent_success() -> None:
    """Its exception reaches who received the event, and nothing of it goes out."""
    registry, broker = Registry(), MemoryBroker()

    @registry.handles(Told, consumer="mailing")
    def broken(event: Told, publish: Publish) -> None:
        publish(CustomerState(1, "Ada", []))
        raise Failure

    Mediator(Registry(), publisher=broker).publish(Told(7))

    with pytest.raises(Failure):
        Mediator(registry, publisher=broker).receive(broker.published[0], consumer="mailing")

    assert len(broker.published) == 1


def test_row_32_an_event_handler_of_the_wrong_shape_is_refused_at_once() -> None:
    """Async ones and generators, which would silently do nothing."""

    async def later(event: Told) -> None: ...

    def generator(event: Told) -> Iterator[int]:
        yield 1

    for handler in (later, generator):
        with pytest.raises(InvalidHandler):
            Registry().add(Told, handler)
