"""Sending and publishing: who is called, in what order, in which thread, and until when."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from attrs import frozen

from simplecqrs import (
    Command,
    DomainEvent,
    Mediator,
    NotificationEvent,
    Publish,
    Query,
    Registry,
    SyncEventHandler,
    SyncRequestHandler,
    current,
)
from simplecqrs.errors import HandlerNotFound, InvalidMessage, NotPublished, TooManyEvents
from simplecqrs.messages import Event, Request


@frozen
class Do(Command[Any]):
    """Do what the test says."""

    what: str = ""


@frozen
class DoInside(Command[Any]):
    """Is sent by a handler of Do."""

    what: str = ""


@frozen
class Ask(Query[Any]):
    """Ask what the test says."""


@frozen
class Happened(DomainEvent):
    """Has happened."""

    what: str = ""


@frozen
class Special(Happened):
    """Has happened in a special way."""


@frozen
class Followed(DomainEvent):
    """Followed from something."""

    what: str = ""


@frozen
class Failure(Exception):
    """What a handler raises."""

    why: str = ""


def publishing(*events: Event) -> Callable[[Any, Publish], None]:
    """Return a handler that publishes these events."""

    def handler(message: Any, publish: Publish) -> None:
        for event in events:
            publish(event)

    return handler


# Requests


def test_send_returns_what_the_handler_returns() -> None:
    """Dispatch is by type."""
    registry = Registry()
    registry.add(Do, lambda command: command.what.upper())
    registry.add(Ask, lambda query: 7)
    bus = Mediator(registry)

    assert (bus.send(Do("a")), bus.send(Ask())) == ("A", 7)


def test_a_request_without_a_handler_is_named_with_the_cure() -> None:
    """The error is a LookupError, and has no other error behind it."""
    with pytest.raises(HandlerNotFound, match=r"Do has no handler; write one, @handles\(Do\)") as caught:
        Mediator(Registry()).send(Do())

    assert isinstance(caught.value, LookupError)
    assert caught.value.__context__ is None


def test_requests_are_looked_up_by_their_exact_type() -> None:
    """A subclass of a command is another command."""

    class DoMore(Do): ...

    registry = Registry()
    registry.add(Do, lambda command: 1)

    with pytest.raises(HandlerNotFound, match="DoMore has no handler"):
        Mediator(registry).send(DoMore())


def test_an_event_cannot_be_sent() -> None:
    """It is published; the error says so."""
    with pytest.raises(InvalidMessage, match=r"Happened is an event; events are published: bus\.publish"):
        Mediator(Registry()).send(Happened())  # type: ignore[arg-type]


@pytest.mark.parametrize("thing", [7, None, "Do", Do], ids=str)
def test_what_is_no_message_cannot_be_sent(thing: Any) -> None:
    """A class of a message is no message either."""
    with pytest.raises(InvalidMessage, match=r"is no request; derive it from Command or Query|Do is a class; make"):
        Mediator(Registry()).send(thing)


def test_a_request_that_is_neither_command_nor_query_can_be_sent() -> None:
    """For who wants a base of his own."""

    class Own(Request[int]): ...

    registry = Registry()
    registry.add(Own, lambda request: 7)

    assert Mediator(registry).send(Own()) == 7


def test_the_error_of_a_handler_reaches_the_caller_unchanged() -> None:
    """It is that very object, and nothing is around it."""
    error = Failure("sold out")
    registry = Registry()

    @registry.handles(Do)
    def handler(command: Do) -> None:
        raise error

    with pytest.raises(Failure) as caught:
        Mediator(registry).send(Do())

    assert caught.value is error
    assert caught.value.__cause__ is None


def test_a_nested_send_returns_its_answer_to_the_handler() -> None:
    """Handlers may ask each other."""
    registry = Registry()
    bus = Mediator(registry)
    registry.add(Do, lambda command: bus.send(DoInside(command.what)) + "!")
    registry.add(DoInside, lambda command: command.what * 2)

    assert bus.send(Do("ab")) == "abab!"


# Events: order


def test_events_are_handled_after_the_handler_has_returned_and_before_send_returns() -> None:
    """Not while it works."""
    log: list[str] = []
    registry = Registry()
    registry.add(Happened, lambda event: log.append("event"))

    @registry.handles(Do)
    def handler(command: Do, publish: Publish) -> None:
        publish(Happened())
        log.append("handler")

    Mediator(registry).send(Do())
    log.append("sent")

    assert log == ["handler", "event", "sent"]


def test_events_are_handled_first_in_first_out() -> None:
    """In the order in which they were published."""
    log: list[str] = []
    registry = Registry()
    registry.add(Do, publishing(Happened("1"), Happened("2"), Happened("3")))
    registry.add(Happened, lambda event: log.append(event.what))

    Mediator(registry).send(Do())

    assert log == ["1", "2", "3"]


def test_follow_ups_are_handled_breadth_first() -> None:
    """All of one generation, then all of the next one."""
    log: list[str] = []
    registry = Registry()
    registry.add(Do, publishing(Happened("a"), Happened("b")))

    @registry.handles(Happened)
    def happened(event: Happened, publish: Publish) -> None:
        log.append(event.what)
        publish(Followed(event.what + "1"))
        publish(Followed(event.what + "2"))

    @registry.handles(Followed)
    def followed(event: Followed, publish: Publish) -> None:
        log.append(event.what)
        if len(event.what) < 3:
            publish(Followed(event.what + "x"))

    Mediator(registry).send(Do())

    assert log == ["a", "b", "a1", "a2", "b1", "b2", "a1x", "a2x", "b1x", "b2x"]


def test_the_handlers_of_an_event_run_in_the_order_of_their_registration() -> None:
    """Those of a base class and those of the class itself in one order."""
    log: list[str] = []
    registry = Registry()
    registry.add(DomainEvent, lambda event: log.append("domain event"))
    registry.add(Special, lambda event: log.append("special"))
    registry.add(Happened, lambda event: log.append("happened"))
    registry.add(Do, publishing(Special()))

    Mediator(registry).send(Do())

    assert log == ["domain event", "special", "happened"]


def test_all_handlers_of_an_event_run_before_the_next_event() -> None:
    """Event by event."""
    log: list[str] = []
    registry = Registry()
    registry.add(Do, publishing(Happened("1"), Happened("2")))
    registry.add(Happened, lambda event: log.append(f"first {event.what}"))
    registry.add(Happened, lambda event: log.append(f"second {event.what}"))

    Mediator(registry).send(Do())

    assert log == ["first 1", "second 1", "first 2", "second 2"]


def test_an_event_for_several_handlers_reaches_each_exactly_once() -> None:
    """Also one that subscribed to the class and to its base."""
    log: list[str] = []
    registry = Registry()
    registry.add(Do, publishing(Special()))

    @registry.handles(Happened)
    @registry.handles(Special)
    def both(event: Happened) -> None:
        log.append("both")

    registry.handles(Happened, Special)(lambda event: log.append("together"))

    Mediator(registry).send(Do())

    assert log == ["both", "together"]


def test_a_base_class_handler_does_not_get_events_of_other_classes() -> None:
    """A subclass is a base, a base is no subclass."""
    log: list[str] = []
    registry = Registry()
    registry.add(Special, lambda event: log.append("special"))
    registry.add(Do, publishing(Happened()))

    Mediator(registry).send(Do())

    assert log == []


def test_an_event_that_nobody_handles_is_noted_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """It is no error."""
    registry = Registry()
    registry.add(Do, publishing(Happened()))

    with caplog.at_level(logging.DEBUG, logger="simplecqrs"):
        Mediator(registry).send(Do())

    assert [record.getMessage() for record in caplog.records] == ["Happened has no handler"]


def test_the_events_of_a_nested_send_are_handled_before_it_returns() -> None:
    """Not at the end of the outer one."""
    log: list[str] = []
    registry = Registry()
    bus = Mediator(registry)
    registry.add(Happened, lambda event: log.append(event.what))
    registry.add(DoInside, publishing(Happened("inner")))

    @registry.handles(Do)
    def handler(command: Do, publish: Publish) -> None:
        publish(Happened("outer"))
        bus.send(DoInside())
        log.append("nested send returned")

    bus.send(Do())

    assert log == ["inner", "nested send returned", "outer"]


def test_the_events_of_a_nested_send_that_failed_are_gone() -> None:
    """Even if the outer handler goes on."""
    log: list[str] = []
    registry = Registry()
    bus = Mediator(registry)
    registry.add(Happened, lambda event: log.append(event.what))

    @registry.handles(DoInside)
    def inner(command: DoInside, publish: Publish) -> None:
        publish(Happened("inner"))
        raise Failure

    @registry.handles(Do)
    def outer(command: Do, publish: Publish) -> None:
        publish(Happened("before"))
        with pytest.raises(Failure):
            bus.send(DoInside())
        publish(Happened("after"))

    bus.send(Do())

    assert log == ["before", "after"]


def test_the_failure_of_an_event_handler_fails_the_command_with_its_own_exception() -> None:
    """Handlers that would have come later are not called."""
    log: list[str] = []
    error = Failure()
    registry = Registry()
    registry.add(Do, publishing(Happened("1"), Happened("2")))

    @registry.handles(Happened)
    def failing(event: Happened) -> None:
        log.append(event.what)
        raise error

    registry.add(Happened, lambda event: log.append("never"))

    with pytest.raises(Failure) as caught:
        Mediator(registry).send(Do())

    assert caught.value is error
    assert log == ["1"]


def test_after_a_failure_the_next_send_begins_afresh() -> None:
    """Nothing is left of the failed one."""
    log: list[str] = []
    registry = Registry()
    registry.add(Happened, lambda event: log.append(event.what))

    @registry.handles(Do)
    def handler(command: Do, publish: Publish) -> None:
        publish(Happened(command.what))
        if command.what == "bad":
            raise Failure

    bus = Mediator(registry)
    with pytest.raises(Failure):
        bus.send(Do("bad"))
    bus.send(Do("good"))

    assert log == ["good"]


# Events: limits


def test_events_without_end_are_stopped_and_the_last_ones_are_shown() -> None:
    """The error shows what causes what, and how to raise the limit."""
    registry = Registry()
    registry.add(Do, publishing(Happened()))
    registry.add(Happened, publishing(Followed()))
    registry.add(Followed, publishing(Happened()))

    with pytest.raises(TooManyEvents) as caught:
        Mediator(registry, max_generations=6).send(Do())

    assert "more than 6 generations" in str(caught.value)
    assert "Happened -> Followed -> Happened -> Followed -> Happened" in str(caught.value)
    assert "max_generations=" in str(caught.value)


def test_exactly_as_many_generations_as_allowed_are_handled() -> None:
    """The limit is the last that works."""
    log: list[str] = []
    registry = Registry()
    registry.add(Do, publishing(Happened("")))

    @registry.handles(Happened)
    def again(event: Happened, publish: Publish) -> None:
        log.append(event.what)
        if len(event.what) < 2:
            publish(Happened(event.what + "x"))

    Mediator(registry, max_generations=3).send(Do())

    assert log == ["", "x", "xx"]


def test_generations_are_counted_through_nested_sends() -> None:
    """An event handler that sends what publishes the event goes round as well."""
    registry = Registry()
    bus = Mediator(registry, max_generations=10)
    registry.add(Do, publishing(Happened()))
    registry.add(Happened, lambda event: bus.send(Do()))

    with pytest.raises(TooManyEvents, match="Happened -> Happened -> Happened"):
        bus.send(Do())


def test_many_events_of_one_generation_are_no_generations() -> None:
    """Breadth has no limit."""
    log: list[str] = []
    registry = Registry()
    registry.add(Do, publishing(*[Happened()] * 200))
    registry.add(Happened, lambda event: log.append(event.what))

    Mediator(registry, max_generations=1).send(Do())

    assert len(log) == 200


# Publishing: what, where, and until when


def test_what_is_no_event_cannot_be_published() -> None:
    """Requests are sent."""
    registry = Registry()
    registry.add(Do, lambda command, publish: publish(DoInside()))

    with pytest.raises(InvalidMessage, match=r"DoInside is no event and cannot be published; requests are sent"):
        Mediator(registry).send(Do())


def test_an_event_that_does_not_say_who_may_know_of_it_cannot_be_published() -> None:
    """It would be dropped silently, or shipped by accident."""

    class Plain(Event): ...

    with pytest.raises(InvalidMessage, match=r"Plain does not say who may know of it; derive it from DomainEvent"):
        Mediator(Registry()).publish(Plain())


def test_an_integration_event_without_a_publisher_is_refused_where_it_is_published() -> None:
    """Not lost at the end."""
    registry = Registry()

    class Placed(NotificationEvent): ...

    registry.add(Do, publishing(Placed()))

    with pytest.raises(NotPublished, match=r"the mediator has no publisher; give it one, Mediator\(publisher="):
        Mediator(registry).send(Do())


def test_a_query_publishes_nothing() -> None:
    """By no way."""
    registry = Registry()
    bus = Mediator(registry)
    ways: list[Callable[[Publish], None]] = [
        lambda publish: publish(Happened()),
        lambda publish: bus.publish(Happened()),
    ]

    @registry.handles(Ask)
    def ask(query: Ask, publish: Publish) -> None:
        ways.pop()(publish)

    for _ in range(2):
        with pytest.raises(NotPublished, match=r"Happened was published in Ask, a query; .*make it a command"):
            bus.send(Ask())


def test_a_command_that_a_query_sends_publishes_nothing_either() -> None:
    """A query that changes something through others is no query."""
    registry = Registry()
    bus = Mediator(registry)
    registry.add(Ask, lambda query: bus.send(Do()))
    registry.add(Do, publishing(Happened()))

    with pytest.raises(NotPublished, match=r"in Ask, a query"):
        bus.send(Ask())


def test_a_query_inside_a_command_does_not_stop_the_command_from_publishing() -> None:
    """Only what happens inside the query is bound."""
    log: list[str] = []
    registry = Registry()
    bus = Mediator(registry)
    registry.add(Ask, lambda query: 7)
    registry.add(Happened, lambda event: log.append(event.what))

    @registry.handles(Do)
    def handler(command: Do, publish: Publish) -> None:
        bus.send(Ask())
        publish(Happened("published"))

    bus.send(Do())

    assert log == ["published"]


def test_bus_publish_inside_a_handler_joins_the_dispatch() -> None:
    """It is handled afterwards, as if by the handler's own publish."""
    log: list[str] = []
    registry = Registry()
    bus = Mediator(registry)
    registry.add(Happened, lambda event: log.append("event"))

    @registry.handles(Do)
    def handler(command: Do) -> None:
        bus.publish(Happened())
        log.append("handler")

    bus.send(Do())

    assert log == ["handler", "event"]


def test_bus_publish_outside_of_a_handler_handles_the_event_and_what_follows() -> None:
    """Before it returns."""
    log: list[str] = []
    registry = Registry()
    registry.add(Happened, publishing(Followed("next")))
    registry.add(Followed, lambda event: log.append(event.what))

    Mediator(registry).publish(Happened())

    assert log == ["next"]


def test_a_kept_publish_raises_once_its_dispatch_is_over() -> None:
    """The event would be lost."""
    kept: list[Publish] = []
    registry = Registry()
    registry.add(Do, lambda command, publish: kept.append(publish))
    Mediator(registry).send(Do())

    with pytest.raises(NotPublished, match=r"Happened was published after its handler had returned"):
        kept[0](Happened())


def test_a_kept_publish_raises_while_events_are_handled() -> None:
    """The handler has returned by then: what it publishes would be handled by nobody."""
    kept: list[Publish] = []
    registry = Registry()

    @registry.handles(Do)
    def handler(command: Do, publish: Publish) -> None:
        kept.append(publish)
        publish(Happened())

    registry.add(Happened, lambda event: kept[0](Followed()))

    with pytest.raises(NotPublished, match=r"Followed was published after its handler had returned"):
        Mediator(registry).send(Do())


def test_a_kept_publish_of_another_send_raises() -> None:
    """Even while the same handler works again."""
    kept: list[Publish] = []
    registry = Registry()

    @registry.handles(Do)
    def handler(command: Do, publish: Publish) -> None:
        kept.append(publish)
        kept[0](Happened())

    bus = Mediator(registry)
    bus.send(Do())

    with pytest.raises(NotPublished):
        bus.send(Do())


def test_a_publish_of_the_outer_handler_works_while_a_nested_one_is_handled() -> None:
    """Its handler has not returned."""
    log: list[str] = []
    kept: list[Publish] = []
    registry = Registry()
    bus = Mediator(registry)
    registry.add(Happened, lambda event: log.append(event.what))
    registry.add(DoInside, lambda command: kept[0](Happened("outer")))

    @registry.handles(Do)
    def handler(command: Do, publish: Publish) -> None:
        kept.append(publish)
        bus.send(DoInside())
        log.append("nested send returned")

    bus.send(Do())

    assert log == ["nested send returned", "outer"]


@pytest.mark.parametrize("over", [False, True], ids=["while it works", "after it has returned"])
def test_a_publish_raises_in_another_thread(over: bool) -> None:
    """A dispatch belongs to its thread."""
    errors: list[BaseException] = []
    kept: list[Publish] = []

    def use() -> None:
        try:
            kept[0](Happened())
        except NotPublished as error:
            errors.append(error)

    def in_thread() -> None:
        thread = threading.Thread(target=use)
        thread.start()
        thread.join()

    registry = Registry()

    @registry.handles(Do)
    def handler(command: Do, publish: Publish) -> None:
        kept.append(publish)
        if not over:
            in_thread()

    Mediator(registry).send(Do())
    if over:
        in_thread()

    [error] = errors
    assert "Happened was published after its handler had returned, or outside of its thread" in str(error)


# Class handlers


@frozen
class Counting(SyncRequestHandler[Do, int]):
    """A frozen class that publishes; nothing is stored on it."""

    def handle(self, command: Do, /) -> int:
        """Publish as many events as the text is long."""
        for letter in command.what:
            self.publish(Happened(letter))
        return len(command.what)


class Remembering(SyncRequestHandler[DoInside, int]):
    """A class that stores something on itself."""

    seen: list[str]

    def __init__(self) -> None:
        self.seen = []

    def handle(self, command: DoInside) -> int:
        """Count what this instance has seen."""
        self.seen.append(command.what)
        return len(self.seen)


def test_a_class_handler_publishes_in_the_dispatch_that_is_going_on() -> None:
    """A frozen one as well."""
    log: list[str] = []
    registry = Registry()
    registry.add(Do, Counting)
    registry.add(Happened, lambda event: log.append(event.what))

    answer = Mediator(registry).send(Do("abc"))

    assert (answer, log) == (3, ["a", "b", "c"])


def test_each_message_gets_an_instance_of_its_own() -> None:
    """What a handler stores on itself never meets another message."""
    registry = Registry()
    registry.add(DoInside, Remembering)
    bus = Mediator(registry)

    assert [bus.send(DoInside(what)) for what in "abc"] == [1, 1, 1]


def test_one_instance_for_all_shares_no_events_between_threads() -> None:
    """As when a container hands out singletons: each thread's events stay in its own dispatch."""
    shared = Counting()
    barrier = threading.Barrier(2, timeout=10)
    seen: dict[str, list[str]] = {"aa": [], "bb": []}
    registry = Registry()

    @registry.handles(Do)
    def handler(command: Do) -> int:
        barrier.wait()
        answer = shared.handle(command)
        barrier.wait()
        return answer

    registry.add(Happened, lambda event: seen[event.what * 2].append(event.what))
    bus = Mediator(registry)
    threads = [threading.Thread(target=bus.send, args=(Do(what),)) for what in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert seen == {"aa": ["a", "a"], "bb": ["b", "b"]}


def test_self_publish_of_an_event_handler_makes_a_follow_up() -> None:
    """Event handlers have it too."""
    log: list[str] = []

    class OnHappened(SyncEventHandler[Happened]):
        def handle(self, event: Happened) -> None:
            self.publish(Followed("followed"))

    registry = Registry()
    registry.add(Happened, OnHappened)
    registry.add(Followed, lambda event: log.append(event.what))

    Mediator(registry).publish(Happened())

    assert log == ["followed"]


# Threads and mediators


def test_threads_do_not_share_dispatches() -> None:
    """Two sends at the same time, each with its own events and metadata."""
    barrier = threading.Barrier(2, timeout=10)
    seen: dict[str, list[tuple[str, str]]] = {"a": [], "b": []}
    registry = Registry()

    @registry.handles(Do)
    def handler(command: Do, publish: Publish) -> str:
        barrier.wait()
        publish(Happened(command.what))
        barrier.wait()
        return current().correlation_id

    @registry.handles(Happened)
    def happened(event: Happened) -> None:
        barrier.wait()
        seen[event.what].append((event.what, current().correlation_id))

    bus = Mediator(registry)
    answers: dict[str, str] = {}
    threads = [
        threading.Thread(target=lambda what=what: answers.update({what: bus.send(Do(what))}))  # type: ignore[misc]
        for what in seen
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert seen == {"a": [("a", answers["a"])], "b": [("b", answers["b"])]}
    assert answers["a"] != answers["b"]


def test_a_send_in_a_thread_of_a_handler_is_not_nested() -> None:
    """Its events are handled there, before it returns, and its failure is its own."""
    log: list[str] = []
    registry = Registry()
    bus = Mediator(registry)
    registry.add(Happened, lambda event: log.append(f"{event.what} {threading.current_thread().name}"))
    registry.add(DoInside, publishing(Happened("inner")))

    @registry.handles(Do)
    def handler(command: Do, publish: Publish) -> None:
        publish(Happened("outer"))
        thread = threading.Thread(target=bus.send, args=(DoInside(),), name="other")
        thread.start()
        thread.join()
        log.append("joined")

    bus.send(Do())

    assert log == ["inner other", "joined", f"outer {threading.current_thread().name}"]


def test_the_first_message_compiles_once_however_many_threads_send_it() -> None:
    """Under one lock."""
    starts: list[int] = []
    barrier = threading.Barrier(4, timeout=10)
    registry = Registry()
    registry.add(Do, lambda command: 1)
    bus = Mediator(registry, on_startup=[lambda: starts.append(1)])
    answers: list[int] = []

    def send() -> None:
        barrier.wait()
        answers.append(bus.send(Do()))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (starts, answers) == ([1], [1, 1, 1, 1])


def test_several_mediators_in_one_thread_do_not_mix_their_events() -> None:
    """Each handles what was published through it; the cause is known across both."""
    log: list[str] = []
    first, second = Registry(), Registry()
    one, two = Mediator(first), Mediator(second)
    first.add(Happened, lambda event: log.append(f"one: {event.what}"))
    second.add(Happened, lambda event: log.append(f"two: {event.what}"))
    ids: list[str | None] = []

    @first.handles(Do)
    def outer(command: Do, publish: Publish) -> None:
        publish(Happened("by handler"))
        two.send(DoInside())
        two.publish(Happened("by bus"))
        ids.append(str(current().id))

    @second.handles(DoInside)
    def inner(command: DoInside, publish: Publish) -> None:
        publish(Happened("by handler"))
        ids.append(current().causation_id)

    one.send(Do())

    assert log == ["two: by handler", "two: by bus", "one: by handler"]
    assert ids[0] == ids[1]
