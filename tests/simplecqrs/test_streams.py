"""Streams: item by item, in surroundings of their own only while the handler runs."""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from threading import Thread
from typing import Any

import pytest
from attrs import Factory, define, frozen

from simplecqrs import (
    Command,
    DomainEvent,
    Envelope,
    Mediator,
    Message,
    Metadata,
    NotificationEvent,
    Publish,
    Query,
    Registry,
    Stream,
    SyncStreamHandler,
    around,
    context,
    current,
)
from simplecqrs.errors import (
    DuplicateHandler,
    HandlerNotFound,
    InvalidHandler,
    InvalidMessage,
    NotPublished,
    OutsideDispatch,
)
from simplecqrs.metadata import active_context
from simplecqrs.transport import ACCEPTED, Receipt


@frozen
class Count(Stream[int]):
    """Is answered by numbers."""

    to: int = 3


@frozen
class Say(Command[None]):
    """Is sent in between."""

    what: str


@frozen
class Look(Query[str]):
    """Is asked in between."""


@frozen
class Said(DomainEvent):
    """Is handled here."""

    what: object


@frozen
class Told(NotificationEvent):
    """Goes out."""

    what: object


@define
class Diary:
    """Takes down what happens, transactions and publishing included."""

    log: list[str] = Factory(list)

    def __call__(self, what: object) -> None:
        """Take something down."""
        self.log.append(str(what))

    @contextmanager
    def transaction(self, message: Message) -> Generator[None, None, None]:
        """Open a transaction."""
        name = type(message).__name__
        self(f"begin {name}")
        try:
            yield
        except BaseException:
            self(f"rollback {name}")
            raise
        self(f"commit {name}")

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
        """Be a publisher."""
        self("ship " + " ".join(envelope.payload.decode() for envelope in envelopes))
        return [ACCEPTED] * len(envelopes)

    @contextmanager
    def opened(self) -> Generator[str, None, None]:
        """Be a dependency's factory, as a context manager."""
        self("open")
        try:
            yield "resource"
        finally:
            self("close")


class Failure(Exception):
    """What a handler raises."""


@pytest.fixture
def diary() -> Diary:
    """Take down what happens in a test."""
    return Diary()


@pytest.fixture
def registry() -> Registry:
    """Register nothing yet."""
    return Registry()


def count(stream: Count) -> Iterator[int]:
    """Yield numbers."""
    yield from range(1, stream.to + 1)


# Asking


def test_a_stream_is_answered_item_by_item(registry: Registry, diary: Diary) -> None:
    """The handler runs only while an item is asked for."""

    @registry.handles(Count)
    def slowly(stream: Count) -> Iterator[int]:
        for number in range(stream.to):
            diary(f"made {number}")
            yield number

    for number in Mediator(registry).stream(Count(2)):
        diary(f"taken {number}")

    assert diary.log == ["made 0", "taken 0", "made 1", "taken 1"]


def test_a_class_can_answer_a_stream(registry: Registry) -> None:
    """Built for each message, with its dependencies."""

    @registry.handles(Count)
    class CountHandler(SyncStreamHandler[Count, int]):
        def __init__(self, step: int) -> None:
            self.step = step

        def handle(self, stream: Count) -> Iterator[int]:
            yield from range(0, stream.to * self.step, self.step)

    assert [*Mediator(registry, provide={int: lambda: 5}).stream(Count(3))] == [0, 5, 10]


def test_a_function_that_returns_an_iterator_can_answer_a_stream(registry: Registry) -> None:
    """If it says so."""

    @registry.handles(Count)
    def delegating(stream: Count) -> Iterator[int]:
        return iter([1, 2])

    assert [*Mediator(registry).stream(Count())] == [1, 2]


def test_no_items_are_an_answer(registry: Registry) -> None:
    """An empty stream ends at once."""
    registry.handles(Count)(count)

    assert [*Mediator(registry).stream(Count(0))] == []


def test_what_the_handler_raises_reaches_the_caller(registry: Registry) -> None:
    """Unchanged, when the item is asked for; the items before stay taken."""

    @registry.handles(Count)
    def failing(stream: Count) -> Iterator[int]:
        yield 1
        raise Failure("in the middle")

    items = Mediator(registry).stream(Count())

    assert next(items) == 1
    with pytest.raises(Failure, match="in the middle"):
        next(items)
    assert [*items] == []


def test_a_middleware_may_answer_by_itself(registry: Registry) -> None:
    """With anything that can be iterated."""
    registry.handles(Count)(count)

    assert [*Mediator(registry, middlewares=[lambda message, call_next: [7]]).stream(Count())] == [7]


# Its surroundings


def test_it_is_on_the_stack_only_while_the_handler_runs(registry: Registry) -> None:
    """So that what the caller does between two items is not the stream's."""
    seen: list[Metadata] = []

    @registry.handles(Count)
    def looking(stream: Count) -> Iterator[int]:
        for number in range(2):
            seen.append(current())
            yield number

    for _ in Mediator(registry).stream(Count()):
        with pytest.raises(OutsideDispatch):
            current()

    assert seen[0] is seen[1]


def test_what_is_sent_in_the_loops_body_is_the_callers(registry: Registry, diary: Diary) -> None:
    """It is committed even if the loop is left by break."""
    registry.add(Say, lambda command: diary(command.what))
    registry.handles(Count, transaction="item")(count)
    bus = Mediator(registry, transaction=diary.transaction)

    for number in bus.stream(Count()):
        bus.send(Say(f"after {number}"))
        break

    item = ["begin Count", "commit Count"]
    assert diary.log == [*item, "begin Say", "after 1", "commit Say", *item]


def test_what_the_handler_sends_is_caused_by_the_stream(registry: Registry) -> None:
    """Its metadata name the stream as cause."""
    seen: list[Metadata] = []

    @registry.handles(Look)
    def look(query: Look) -> str:
        seen.append(current())
        return "looked"

    @registry.handles(Count)
    def asking(stream: Count) -> Iterator[int]:
        seen.append(current())
        bus.send(Look())
        yield 1

    bus = Mediator(registry)
    [*bus.stream(Count())]

    assert seen[1].causation_id == str(seen[0].id)


def test_interleaved_streams_do_not_mix(registry: Registry, diary: Diary) -> None:
    """Each has its own dispatch, transaction and events."""
    seen: dict[int, set[Any]] = {1: set(), 2: set()}

    @registry.handles(Count, transaction="item")
    def counting(stream: Count, publish: Publish) -> Iterator[int]:
        for number in range(2):
            seen[stream.to].add(current().id)
            publish(Said(f"{stream.to}.{number}"))
            yield number

    registry.add(Said, lambda event: diary(event.what))
    bus = Mediator(registry, transaction=diary.transaction)
    first, second = bus.stream(Count(1)), bus.stream(Count(2))
    for one, two in zip(first, second, strict=True):
        assert one == two

    said = [line for line in diary.log if "." in line]
    assert said == ["1.0", "2.0", "1.1", "2.1"]
    assert all(len(ids) == 1 for ids in seen.values())
    assert seen[1] != seen[2]
    assert diary.log[:6] == ["begin Count", "1.0", "commit Count", "begin Count", "2.0", "commit Count"]


def test_context_variables_are_its_own(registry: Registry) -> None:
    """It sees those of its beginning, and what it sets is not seen by the caller."""

    @registry.handles(Count)
    def setting(stream: Count) -> Iterator[object]:
        with context(user="stream"):
            for _ in range(2):
                found = active_context()
                yield found and dict(found.headers)

    with context(tenant="acme"):
        items = Mediator(registry).stream(Count())
    for item in items:
        assert item == {"tenant": "acme", "user": "stream"}
        assert active_context() is None


def test_it_may_be_taken_from_another_thread(registry: Registry, diary: Diary) -> None:
    """A server may iterate elsewhere than a view has made the stream."""

    @registry.handles(Count, transaction="item")
    def counting(stream: Count, publish: Publish) -> Iterator[int]:
        for number in range(2):
            publish(Said(number))
            yield number

    registry.add(Said, lambda event: diary(event.what))
    items = Mediator(registry).stream(Count())
    found = [next(items)]
    thread = Thread(target=lambda: found.extend(items))
    thread.start()
    thread.join()

    assert (found, diary.log) == ([0, 1], ["0", "1"])


def test_a_stream_may_outlive_the_handler_that_made_it(registry: Registry) -> None:
    """With a scope of its own."""

    @registry.handles(Look)
    def answer_with_a_stream(query: Look, *, bus: Mediator) -> Any:
        return bus.stream(Count(2))

    @registry.handles(Count)
    def counting(stream: Count, *, bus: Mediator) -> Iterator[int]:
        yield from range(stream.to)

    mediator = Mediator(registry, provide={Mediator: lambda: mediator})

    assert [*mediator.send(Look())] == [0, 1]


# Reading


@pytest.mark.parametrize("transaction", [None, "plain"])
def test_a_stream_reads_and_publishes_nothing(registry: Registry, diary: Diary, transaction: str | None) -> None:
    """Unless its handler says otherwise; the error says how."""

    @registry.handles(Count)
    def publishing(stream: Count, publish: Publish) -> Iterator[int]:
        publish(Said(1))
        yield 1

    bus = Mediator(registry, transaction=diary.transaction if transaction else None)

    with pytest.raises(NotPublished, match=r'Said was published in Count, a stream that reads; .* transaction="item"'):
        next(bus.stream(Count()))
    assert diary.log == []


def test_commands_in_a_reading_stream_publish_nothing(registry: Registry) -> None:
    """As in queries."""
    registry.add(Say, lambda command, publish: publish(Said(1)))

    @registry.handles(Count)
    def sending(stream: Count) -> Iterator[int]:
        bus.send(Say(""))
        yield 1

    bus = Mediator(registry)

    with pytest.raises(NotPublished, match="in Count"):
        next(bus.stream(Count()))


# Writing item by item


def importing(stream: Count, publish: Publish) -> Iterator[int]:
    """Publish something for each item, and at the end."""
    for number in range(stream.to):
        publish(Said(number))
        publish(Told(number))
        yield number
    publish(Told("end"))


def test_each_item_is_a_transaction_with_its_events(registry: Registry, diary: Diary) -> None:
    """Handled, shipped and committed before the item is handed out; what comes after the last item is not lost."""
    registry.handles(Count, transaction="item")(importing)
    registry.add(Said, lambda event: diary(f"said {event.what}"))

    for number in Mediator(registry, transaction=diary.transaction, publisher=diary).stream(Count(2)):
        diary(f"taken {number}")

    assert diary.log == [
        "begin Count", "said 0", 'ship {"what":0}', "commit Count", "taken 0",
        "begin Count", "said 1", 'ship {"what":1}', "commit Count", "taken 1",
        "begin Count", 'ship {"what":"end"}', "commit Count",
    ]  # fmt: skip


def test_events_of_an_item_are_handled_before_it_is_handed_out_without_a_transaction_too(
    registry: Registry, diary: Diary
) -> None:
    """In a plain script."""
    registry.handles(Count, transaction="item")(importing)
    registry.add(Said, lambda event: diary(f"said {event.what}"))

    for number in Mediator(registry, publisher=diary).stream(Count(1)):
        diary(f"taken {number}")

    assert diary.log == ["said 0", 'ship {"what":0}', "taken 0", 'ship {"what":"end"}']


def test_a_failing_step_is_rolled_back_with_its_events_and_the_items_before_stay(
    registry: Registry, diary: Diary
) -> None:
    """Nothing of it is shipped."""

    @registry.handles(Count, transaction="item")
    def failing(stream: Count, publish: Publish) -> Iterator[int]:
        publish(Told(1))
        yield 1
        publish(Told(2))
        raise Failure

    with pytest.raises(Failure):
        [*Mediator(registry, transaction=diary.transaction, publisher=diary).stream(Count())]

    assert diary.log == ["begin Count", 'ship {"what":1}', "commit Count", "begin Count", "rollback Count"]


def test_a_failing_event_handler_fails_the_item(registry: Registry, diary: Diary) -> None:
    """It was not handed out, and its transaction is rolled back."""
    registry.handles(Count, transaction="item")(importing)

    @registry.handles(Said)
    def fail(event: Said) -> None:
        raise Failure

    bus = Mediator(registry, transaction=diary.transaction, publisher=diary)

    with pytest.raises(Failure):
        next(bus.stream(Count()))
    assert diary.log == ["begin Count", "rollback Count"]


def test_what_a_handler_publishes_between_two_steps_is_refused(registry: Registry) -> None:
    """Whoever keeps its publish cannot use it while the caller holds an item."""
    kept: list[Publish] = []

    @registry.handles(Count, transaction="item")
    def leaking(stream: Count, publish: Publish) -> Iterator[int]:
        kept.append(publish)
        yield 1

    next(items := Mediator(registry).stream(Count()))

    with pytest.raises(NotPublished, match="after its handler had returned"):
        kept[0](Said(1))
    items.close()


# All at once


def test_everything_is_committed_before_the_first_item_is_handed_out(registry: Registry, diary: Diary) -> None:
    """In one transaction."""
    registry.handles(Count, transaction="all")(importing)
    registry.add(Said, lambda event: diary(f"said {event.what}"))

    for number in Mediator(registry, transaction=diary.transaction, publisher=diary).stream(Count(2)):
        diary(f"taken {number}")

    shipped = 'ship {"what":0} {"what":1} {"what":"end"}'
    assert diary.log == ["begin Count", "said 0", "said 1", shipped, "commit Count", "taken 0", "taken 1"]


def test_nothing_is_handed_out_if_one_step_of_all_fails(registry: Registry, diary: Diary) -> None:
    """The whole is rolled back."""

    @registry.handles(Count, transaction="all")
    def failing(stream: Count, publish: Publish) -> Iterator[int]:
        publish(Told(1))
        yield 1
        raise Failure

    with pytest.raises(Failure):
        next(Mediator(registry, transaction=diary.transaction, publisher=diary).stream(Count()))

    assert diary.log == ["begin Count", "rollback Count"]


# Ending early


def opening(diary: Diary) -> Callable[[], Generator[str, None, None]]:
    """Return a generator factory that takes down its end."""

    def open_it() -> Generator[str, None, None]:
        with diary.opened() as resource:
            yield resource

    return open_it


def by_close(items: Generator[int, None, None]) -> None:
    """End it by hand."""
    next(items)
    items.close()


def by_closing(items: Generator[int, None, None]) -> None:
    """End it by leaving a with block."""
    with closing(items):
        next(items)


def by_exception(items: Generator[int, None, None]) -> None:
    """End it by an exception in the loop's body."""
    with suppress(Failure):
        _take_one_and_fail(items)


def _take_one_and_fail(items: Generator[int, None, None]) -> None:
    for _ in items:
        raise Failure


ENDINGS = [by_close, by_closing]


@pytest.mark.parametrize("transaction", [None, "item"])
@pytest.mark.parametrize("end", ENDINGS)
@pytest.mark.parametrize("scope", ["message", "handler"])
def test_closing_early_unwinds_handler_middlewares_and_dependencies(
    diary: Diary, registry: Registry, end: Callable[[Any], None], transaction: Any, scope: Any
) -> None:
    """From the inside to the outside."""

    @registry.handles(Count, transaction=transaction)
    def holding(stream: Count, *, resource: str) -> Iterator[int]:
        try:
            yield 1
        finally:
            diary("handler ends")

    @contextmanager
    def surrounding(message: Message) -> Generator[None, None, None]:
        diary("middleware begins")
        try:
            yield
        finally:
            diary("middleware ends")

    bus = Mediator(registry, middlewares=[around(surrounding)], provide={str: opening(diary)}, scope=scope)
    end(bus.stream(Count()))

    assert diary.log == ["middleware begins", "open", "handler ends", "close", "middleware ends"]


def test_dropping_a_stream_unwinds_it(registry: Registry, diary: Diary) -> None:
    """An exception in the loop's body, or a lost reference, is enough."""

    @registry.handles(Count)
    def holding(stream: Count) -> Iterator[int]:
        try:
            yield 1
        finally:
            diary("ended")

    bus = Mediator(registry)
    with suppress(Failure):
        _take_one_and_fail(bus.stream(Count()))
    gc.collect()
    assert diary.log == ["ended"]

    next(bus.stream(Count()))
    gc.collect()
    assert diary.log == ["ended", "ended"]


def test_a_handler_that_is_closed_early_may_still_write(registry: Registry, diary: Diary) -> None:
    """Its last words are a transaction of their own."""

    @registry.handles(Count, transaction="item")
    def holding(stream: Count, publish: Publish) -> Iterator[int]:
        try:
            yield 1
        finally:
            publish(Told("ended early"))

    by_close(Mediator(registry, transaction=diary.transaction, publisher=diary).stream(Count()))

    item = ["begin Count", "commit Count"]
    assert diary.log == [*item, "begin Count", 'ship {"what":"ended early"}', "commit Count"]


def test_a_stream_that_was_never_begun_needs_no_end(registry: Registry, diary: Diary) -> None:
    """Nothing was opened."""
    registry.handles(Count)(count)

    Mediator(registry, provide={str: opening(diary)}).stream(Count()).close()

    assert diary.log == []


def test_an_abandoned_stream_does_not_poison_the_next_message(registry: Registry, diary: Diary) -> None:
    """The stack is as it was."""
    registry.handles(Count, transaction="item")(count)
    registry.add(Say, lambda command: diary(command.what))
    bus = Mediator(registry)
    kept = bus.stream(Count())
    next(kept)

    bus.send(Say("fine"))

    assert diary.log == ["fine"]
    kept.close()


# Middlewares


def test_around_stays_open_until_the_last_item_was_taken(registry: Registry, diary: Diary) -> None:
    """Not only until the handler's generator was made."""
    registry.handles(Count)(count)

    @contextmanager
    def surrounding(message: Message) -> Generator[None, None, None]:
        diary("begin")
        yield
        diary("end")

    for number in Mediator(registry, middlewares=[around(surrounding)]).stream(Count(2)):
        diary(number)

    assert diary.log == ["begin", "1", "2", "end"]


def test_around_sees_the_failure_of_a_stream(registry: Registry) -> None:
    """As that of a command."""
    seen: list[BaseException] = []

    @registry.handles(Count)
    def failing(stream: Count) -> Iterator[int]:
        yield 1
        raise Failure

    @contextmanager
    def watching(message: Message) -> Generator[None, None, None]:
        try:
            yield
        except Failure as error:
            seen.append(error)
            raise

    with pytest.raises(Failure):
        [*Mediator(registry, middlewares=[around(watching)]).stream(Count())]
    assert len(seen) == 1


# What is refused


def test_a_stream_is_not_sent_and_a_request_not_streamed(registry: Registry) -> None:
    """The errors name the other verb."""
    registry.handles(Count)(count)
    registry.add(Look, lambda query: "")
    bus: Any = Mediator(registry)

    with pytest.raises(InvalidMessage, match=r"Count is a stream; it is answered item by item: bus\.stream"):
        bus.send(Count())
    with pytest.raises(InvalidMessage, match=r"Look has one answer; it is sent: bus\.send"):
        bus.stream(Look())
    with pytest.raises(InvalidMessage, match="Said is no stream"):
        bus.stream(Said(1))


def test_a_stream_without_a_handler_is_refused_when_it_is_asked(registry: Registry) -> None:
    """Not only when the first item is."""
    with pytest.raises(HandlerNotFound, match="Count has no handler"):
        Mediator(registry).stream(Count())


def test_a_stream_has_one_handler(registry: Registry) -> None:
    """As a request has."""
    registry.handles(Count)(count)

    with pytest.raises(DuplicateHandler, match="Count is handled by"):
        registry.add(Count, count)


def plain(stream: Count) -> list[int]:
    """Return a list."""
    return []


def bare(stream):  # type: ignore[no-untyped-def]
    """Say nothing of what it returns."""
    return iter([])


async def asynchronous(stream: Count) -> Any:
    """Be asynchronous."""
    yield 1


class PlainHandler(SyncStreamHandler[Count, int]):
    """Returns a list."""

    def handle(self, stream: Count) -> Any:
        """Return it."""
        return []


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (plain, r"function .*plain is no generator, but handles a stream: yield the items, or annotate"),
        (bare, "is no generator"),
        (asynchronous, "is async"),
        (PlainHandler, "class .*PlainHandler is no generator"),
    ],
)
def test_a_handler_that_yields_nothing_is_refused_at_registration(
    registry: Registry, handler: Any, reason: str
) -> None:
    """With the cure."""
    with pytest.raises(InvalidHandler, match=reason):
        registry.add(Count, handler)


def test_a_generator_cannot_answer_a_command(registry: Registry) -> None:
    """The error names Stream."""

    def generating(command: Say) -> Iterator[int]:
        yield 1

    with pytest.raises(InvalidHandler, match="derive the message from Stream"):
        registry.add(Say, generating)


@pytest.mark.parametrize("answer", [None, 7, "text"])
def test_a_handler_that_promised_an_iterator_and_returns_something_else_is_named(
    registry: Registry, answer: Any
) -> None:
    """When the first item is asked for."""

    @registry.handles(Count)
    def lying(stream: Count) -> Iterator[int]:
        return answer  # type: ignore[no-any-return]

    with pytest.raises(InvalidHandler, match=r"the handler of Count, a stream, returned .* which is no iterator"):
        next(Mediator(registry).stream(Count()))


@pytest.mark.parametrize(
    ("message", "options", "reason"),
    [
        (Say, {"transaction": "item"}, "transaction= is for streams"),
        (Said, {"transaction": "all"}, "transaction= is for streams"),
        (Count, {"after_commit": True}, "after_commit= and consumer= are for events"),
        (Count, {"consumer": "mailing"}, "after_commit= and consumer= are for events"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    registry: Registry, message: Any, options: dict[str, Any], reason: str
) -> None:
    """At registration."""
    with pytest.raises(InvalidHandler, match=reason):
        registry.handles(message, **options)(count if message is Count else lambda message: None)


def test_an_unknown_transaction_is_refused(registry: Registry) -> None:
    """By name."""
    with pytest.raises(ValueError, match="each"):
        registry.handles(Count, transaction="each")  # type: ignore[call-overload]
