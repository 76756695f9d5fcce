"""The mediator's own: what is checked, what happens at the start, and what is received."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, get_args

import pytest
from attrs import evolve, frozen

from simplecqrs import (
    Command,
    DomainEvent,
    Envelope,
    Mediator,
    Metadata,
    NotificationEvent,
    Publish,
    Query,
    Registry,
    Retry,
    context,
    current,
)
from simplecqrs.envelope import Kind
from simplecqrs.errors import CommandRefused, InvalidMessage, InvalidPayload, NotConfigured, UnknownMessage
from simplecqrs.metadata import uuid7
from simplecqrs.transport import ACCEPTED, Receipt


@frozen
class Do(Command[Any]):
    """A command."""

    what: str = ""


@frozen
class Ask(Query[Any]):
    """A query."""


class OrderEvent(NotificationEvent, topic="orders", key="order_id"):
    """A base."""

    __slots__ = ()


@frozen
class Placed(OrderEvent, name="shop.placed", version=2):
    """An event from elsewhere."""

    order_id: int


@frozen
class PlacedInHaste(Placed, name="shop.placed_in_haste"):
    """A special one."""


@frozen
class Noted(DomainEvent):
    """An event of ours."""

    what: str = ""


@frozen
class Said(NotificationEvent, name="shop.said"):
    """An event of ours for others."""

    what: str = ""


class Failure(Exception):
    """What a handler raises."""


class Recorder:
    """A publisher that takes down each call."""

    def __init__(self) -> None:
        self.calls: list[list[Envelope]] = []

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
        """Take down what was published."""
        self.calls.append(list(envelopes))
        return [ACCEPTED] * len(envelopes)


def enveloped(name: str = "shop.placed", payload: bytes = b'{"order_id": 7}', **others: Any) -> Envelope:
    """Return an envelope as a broker brings it."""
    given = {"kind": "event", "topic": "orders", "version": 2, "correlation_id": "story", "headers": {"user": "8"}}
    return Envelope(id=uuid7(), name=name, time=datetime.now(timezone.utc), payload=payload, **{**given, **others})


# check() and the start


def nothing_provides(command: Do, *, limit: int) -> None:
    """Need what nothing provides."""


def test_check_lists_everything_that_is_wrong_in_one_error() -> None:
    """Not one thing per start."""

    class Odd(NotificationEvent, key="nowhere"): ...

    registry = Registry()
    registry.add(Do, nothing_provides)
    registry.add(Odd, lambda event: None)
    registry.add(Noted, lambda event: None, consumer="mailing")

    with pytest.raises(NotConfigured) as caught:
        Mediator(registry).check()

    assert [problem.split(",")[0].split(";")[0] for problem in caught.value.problems] == [
        f"{__name__}.{Odd.__qualname__} is ordered by key='nowhere'",
        f"function {__name__}.nothing_provides needs limit: int",
        f"function {__name__}.{check_lambda_name()} waits for Noted with consumer='mailing'",
    ]


def check_lambda_name() -> str:
    """Return what the lambda of the test above is called."""
    return "test_check_lists_everything_that_is_wrong_in_one_error.<locals>.<lambda>"


def test_check_of_a_good_wiring_says_nothing() -> None:
    """It returns None."""
    registry = Registry()
    registry.add(Do, lambda command: 1)

    assert Mediator(registry).check() is None  # type: ignore[func-returns-value]


def test_a_mediator_that_only_receives_needs_no_publisher() -> None:
    """Integration events come from elsewhere."""
    registry = Registry()
    registry.add(Placed, lambda event: None, consumer="mailing")
    bus = Mediator(registry)

    bus.check()

    assert bus.receive(enveloped(), consumer="mailing") is True


def test_two_commands_of_one_name_are_no_problem_where_none_is_stored_or_sent() -> None:
    """Names are compared for what leaves the process."""

    def make() -> Any:
        @frozen
        class Create(Command[str]): ...

        return Create

    first, second = make(), make()
    second.__qualname__ = "another module's Create"
    registry = Registry()
    registry.add(first, lambda command: "first")
    registry.add(second, lambda command: "second")
    bus = Mediator(registry)

    assert (bus.send(first()), bus.send(second())) == ("first", "second")


def test_two_events_for_others_of_one_name_are_a_problem() -> None:
    """Whoever receives one could not know which it is."""

    @frozen
    class Sent(NotificationEvent, name="shop.placed"): ...

    registry = Registry()
    registry.add(Placed, lambda event: None)
    registry.add(Sent, lambda event: None)

    with pytest.raises(NotConfigured, match=r"are both called 'shop\.placed'; give one of them a name"):
        Mediator(registry, publisher=Recorder()).check()


def test_wrong_wiring_fails_before_the_first_message_and_again_after_that() -> None:
    """It does not go away by trying."""
    registry = Registry()
    registry.add(Do, nothing_provides)
    bus = Mediator(registry)

    for _ in range(2):
        with pytest.raises(NotConfigured, match="nothing provides") as caught:
            bus.send(Do())
        assert caught.value.__context__ is None


def test_on_startup_runs_in_order_once_before_the_first_message() -> None:
    """Whatever the first message is."""
    log: list[str] = []
    registry = Registry()
    registry.add(Do, lambda command: log.append("handler"))
    bus = Mediator(registry, on_startup=[lambda: log.append("a"), lambda: log.append("b")])

    bus.check()
    bus.send(Do())
    bus.send(Do())

    assert log == ["a", "b", "handler", "handler"]


def test_what_is_called_at_startup_may_use_the_mediator() -> None:
    """It is wired by then."""
    log: list[str] = []
    registry = Registry()
    registry.add(Do, lambda command: log.append(command.what))
    bus = Mediator(registry, on_startup=[lambda: bus.send(Do("startup")), lambda: bus.publish(Noted())])
    registry.add(Noted, lambda event: log.append("noted"))

    bus.send(Do("first"))

    assert log == ["startup", "noted", "first"]


def test_no_other_thread_gets_ahead_of_the_start() -> None:
    """A message that comes meanwhile waits."""
    log: list[str] = []
    started, other = threading.Event(), []
    registry = Registry()
    registry.add(Do, lambda command: log.append(command.what))

    def start() -> None:
        bus.send(Do("at startup"))
        other.append(threading.Thread(target=lambda: (started.set(), bus.send(Do("other thread")))))
        other[0].start()
        assert started.wait(10)
        log.append("started")

    bus = Mediator(registry, on_startup=[start])
    bus.send(Do("first"))
    other[0].join(10)

    assert log[:2] == ["at startup", "started"]
    assert sorted(log[2:]) == ["first", "other thread"]


def test_a_start_that_fails_fails_the_message_and_is_tried_again() -> None:
    """A database that is not there yet."""
    attempts: list[int] = []
    registry = Registry()
    registry.add(Do, lambda command: "answer")

    def start() -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise Failure

    bus = Mediator(registry, on_startup=[start])
    with pytest.raises(Failure):
        bus.send(Do())

    assert bus.send(Do()) == "answer"
    assert len(attempts) == 2


def test_two_mediators_may_share_a_registry() -> None:
    """Each with its own middlewares."""
    registry = Registry()
    registry.add(Do, lambda command: "answer")
    plain, loud = Mediator(registry), Mediator(registry, middlewares=[lambda m, call_next: call_next(m).upper()])

    assert (plain.send(Do()), loud.send(Do())) == ("answer", "ANSWER")


# Shipping


def test_what_goes_out_is_an_envelope_with_all_that_is_known() -> None:
    """Name, version, topic, key, source, metadata, payload."""
    publisher, registry = Recorder(), Registry()
    ids: list[Metadata] = []

    @registry.handles(Do)
    def handler(command: Do, publish: Publish) -> None:
        publish(Placed(7))
        ids.append(current())

    with context(correlation_id="story", user="8"):
        Mediator(registry, publisher=publisher, source="shop").send(Do())
    [[envelope]] = publisher.calls

    assert envelope == Envelope(
        id=envelope.id,
        kind="event",
        name="shop.placed",
        version=2,
        topic="orders",
        key="7",
        source="shop",
        time=envelope.time,
        correlation_id="story",
        causation_id=str(ids[0].id),
        headers={"user": "8"},
        content_type="application/json",
        payload=b'{"order_id":7}',
    )


def test_local_handlers_and_the_envelope_show_the_same_metadata() -> None:
    """An event has one id, here and on the wire."""
    publisher, registry, seen = Recorder(), Registry(), []
    registry.add(Do, lambda command, publish: publish(Placed(7)))
    registry.add(Placed, lambda event: seen.append(current()))

    Mediator(registry, publisher=publisher).send(Do())

    assert publisher.calls[0][0].metadata == seen[0]


def test_what_cannot_be_encoded_fails_the_command() -> None:
    """Before anything is shipped."""
    publisher, registry = Recorder(), Registry()
    registry.add(Do, lambda command, publish: publish(Placed(object())))  # type: ignore[arg-type]

    with pytest.raises(InvalidPayload, match="Placed cannot be written as JSON: order_id"):
        Mediator(registry, publisher=publisher).send(Do())

    assert publisher.calls == []


# Receiving


def test_a_received_event_is_handled_by_the_handlers_of_that_consumer() -> None:
    """In their order; by no other consumer's, and by none that handles it where it is published."""
    log: list[str] = []
    registry = Registry()
    registry.add(Placed, lambda event: log.append("mailing"), consumer="mailing")
    registry.add(Placed, lambda event: log.append("reports"), consumer="reports")
    registry.add(Placed, lambda event: log.append("here"))
    registry.add(OrderEvent, lambda event: log.append("mailing, all"), consumer="mailing")
    bus = Mediator(registry, publisher=Recorder())

    assert bus.receive(enveloped(), consumer="mailing") is True
    assert log == ["mailing", "mailing, all"]


def test_a_received_event_shows_the_metadata_that_came_with_it() -> None:
    """To the handler, as the cause of what it publishes, and with its headers."""
    publisher, registry, seen = Recorder(), Registry(), []
    envelope = enveloped()

    @registry.handles(Placed, consumer="mailing")
    def handler(event: Placed, publish: Publish) -> None:
        seen.append(current())
        publish(Said("thanks"))

    with context(correlation_id="of the worker", user="nobody"):
        Mediator(registry, publisher=publisher).receive(envelope, consumer="mailing")
    [[follow_up]] = publisher.calls

    assert seen == [envelope.metadata]
    assert (follow_up.correlation_id, follow_up.causation_id) == ("story", str(envelope.id))
    assert dict(follow_up.headers) == {"user": "8"}


def test_a_received_event_is_not_shipped_again() -> None:
    """Only what its handlers publish goes out."""
    publisher, registry = Recorder(), Registry()
    registry.add(Placed, lambda event: None, consumer="mailing")

    Mediator(registry, publisher=publisher).receive(enveloped(), consumer="mailing")

    assert publisher.calls == []


def test_all_handlers_of_a_consumer_are_one_unit_of_work() -> None:
    """All or nothing, their events included."""
    publisher, registry, log = Recorder(), Registry(), []

    @registry.handles(Placed, consumer="mailing")
    def first(event: Placed, publish: Publish) -> None:
        publish(Said("gone"))
        publish(Noted("never"))

    @registry.handles(Placed, consumer="mailing")
    def second(event: Placed) -> None:
        raise Failure

    registry.add(Noted, lambda event: log.append(event.what))

    with pytest.raises(Failure):
        Mediator(registry, publisher=publisher).receive(enveloped(), consumer="mailing")

    assert (publisher.calls, log) == ([], [])


def test_events_of_consumer_handlers_are_handled_in_the_same_unit_and_shipped_in_one_call() -> None:
    """After the last handler has returned."""
    publisher, registry, log = Recorder(), Registry(), []

    @registry.handles(Placed, consumer="mailing")
    def first(event: Placed, publish: Publish) -> None:
        publish(Said("1"))
        publish(Noted("noted"))
        log.append("first")

    registry.add(Placed, lambda event, publish: log.append("second") or publish(Said("2")), consumer="mailing")
    registry.add(Noted, lambda event, publish: log.append(event.what) or publish(Said("3")))

    Mediator(registry, publisher=publisher).receive(enveloped(), consumer="mailing")

    assert log == ["first", "second", "noted"]
    assert [[e.payload for e in call] for call in publisher.calls] == [
        [b'{"what":"1"}', b'{"what":"2"}', b'{"what":"3"}']
    ]


def test_a_message_that_a_consumer_has_no_handler_for_is_not_claimed() -> None:
    """Unknown names, known names of others, and queries."""
    registry = Registry()
    registry.add(Placed, lambda event: None, consumer="mailing")
    registry.add(Ask, lambda query: 7)
    bus = Mediator(registry)

    assert bus.receive(enveloped("strange"), consumer="mailing") is False
    assert bus.receive(enveloped(), consumer="reports") is False
    assert bus.receive(enveloped("Nobody", kind="command"), consumer="mailing", allow_commands=True) is False


@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_command_is_received_only_where_commands_are_allowed(kind: Kind) -> None:
    """Whatever kind the envelope says that it is: what comes from a broker is a claim."""
    log: list[str] = []
    registry = Registry()
    registry.add(Do, lambda command: log.append(command.what))
    bus = Mediator(registry)
    envelope = enveloped("Do", b'{"what":"done"}', kind=kind, version=1)

    with pytest.raises(CommandRefused, match="Do is a command, and deferred takes events only"):
        bus.receive(envelope, consumer="deferred")
    assert log == []
    assert bus.receive(envelope, consumer="deferred", allow_commands=True) is True
    assert log == ["done"]


def test_a_received_command_shows_its_metadata_and_ships_what_it_publishes() -> None:
    """As an event does."""
    publisher, registry, seen = Recorder(), Registry(), []
    envelope = enveloped("Do", b"{}", kind="command", version=1)
    registry.add(Do, lambda command, publish: publish(Said("done")) or seen.append(current()))

    Mediator(registry, publisher=publisher).receive(envelope, consumer="deferred", allow_commands=True)

    assert seen == [envelope.metadata]
    assert publisher.calls[0][0].causation_id == str(envelope.id)


def test_a_query_is_never_received() -> None:
    """Nobody waits for its answer."""
    log: list[str] = []
    registry = Registry()
    registry.add(Ask, lambda query: log.append("asked"))

    assert Mediator(registry).receive(enveloped("Ask", b"{}", version=1), consumer="c", allow_commands=True) is False
    assert log == []


def test_a_newer_version_is_refused_with_the_reason() -> None:
    """Consumers are deployed before producers."""
    registry = Registry()
    registry.add(Placed, lambda event: None, consumer="mailing")

    with pytest.raises(UnknownMessage, match=r"shop\.placed came in version 3; this release knows it up to 2"):
        Mediator(registry).receive(enveloped(version=3), consumer="mailing")


def test_another_format_is_refused_with_the_reason() -> None:
    """It cannot be read."""
    registry = Registry()
    registry.add(Placed, lambda event: None, consumer="mailing")

    with pytest.raises(UnknownMessage, match=r"came as application/protobuf; this project reads application/json"):
        Mediator(registry).receive(enveloped(content_type="application/protobuf"), consumer="mailing")


def test_a_payload_that_does_not_fit_is_refused_with_every_field() -> None:
    """The handler is not called."""
    registry = Registry()
    registry.add(Placed, lambda event: None, consumer="mailing")

    with pytest.raises(InvalidPayload) as caught:
        Mediator(registry).receive(enveloped(payload=b'{"order_id": "x"}'), consumer="mailing")

    assert caught.value.errors == (("order_id", "int expected, not str"),)


def test_a_subclass_that_was_never_registered_is_received_by_who_asked_for_its_base() -> None:
    """By its own name, as itself."""
    seen: list[Any] = []
    registry = Registry()
    registry.add(Placed, seen.append, consumer="mailing")

    assert Mediator(registry).receive(enveloped("shop.placed_in_haste", version=1), consumer="mailing") is True
    assert seen == [PlacedInHaste(7)]


def test_the_options_of_a_consumers_handler_can_be_asked_for() -> None:
    """By the loop, when something has failed; a deferred command has those of its handler."""
    registry = Registry()
    registry.add(Placed, lambda event: None, consumer="mailing", retry=Retry(3), on_dead="continue")
    registry.add(Do, lambda command: None, retry=Retry(4))
    bus = Mediator(registry)

    placed = bus.consumer_options(enveloped(), "mailing")
    deferred = bus.consumer_options(enveloped("Do"), "deferred")

    assert placed is not None
    assert deferred is not None
    assert (placed.retry, placed.on_dead, deferred.retry) == (Retry(3), "continue", Retry(4))
    assert bus.consumer_options(enveloped(), "reports") is None


def test_receiving_twice_handles_twice() -> None:
    """The mediator remembers nothing; the inbox does."""
    seen: list[Any] = []
    registry = Registry()
    registry.add(Placed, seen.append, consumer="mailing")
    bus = Mediator(registry)
    envelope = enveloped()

    bus.receive(envelope, consumer="mailing")
    bus.receive(evolve(envelope), consumer="mailing")

    assert seen == [Placed(7), Placed(7)]


def test_after_commit_handlers_of_what_a_consumer_publishes_run_after_its_unit() -> None:
    """Each as a message of its own."""
    log: list[str] = []
    registry = Registry()
    registry.add(Placed, lambda event, publish: publish(Noted()) or log.append("handler"), consumer="mailing")
    registry.add(Noted, lambda event: log.append("after"), after_commit=True)
    registry.add(Noted, lambda event: log.append("now"))

    Mediator(registry).receive(enveloped(), consumer="mailing")

    assert log == ["handler", "now", "after"]


def test_a_class_that_is_sent_is_told_from_a_message() -> None:
    """The error shows how a message is made of it."""
    bus: Any = Mediator(Registry())

    with pytest.raises(InvalidMessage, match=r"Mediator is a class; make a message of it: Mediator\(\.\.\.\)"):
        bus.send(Mediator)
    with pytest.raises(InvalidMessage, match="Mediator is a class"):
        bus.stream(Mediator)


async def asynchronous(message: object, call_next: object) -> None:
    """Be asynchronous."""


@pytest.mark.parametrize(
    ("middleware", "reason"),
    [
        (object(), "is not callable; write a function"),
        (Registry, "the middleware Registry is a class; give an instance"),
        (asynchronous, "is async; write a plain function"),
    ],
)
def test_a_middleware_that_cannot_surround_a_call_is_found_at_start(middleware: Any, reason: str) -> None:
    """Not at the first message."""
    with pytest.raises(NotConfigured, match=reason):
        Mediator(Registry(), middlewares=[middleware]).check()


def test_a_mediator_says_how_many_handlers_it_has() -> None:
    """In errors and in a shell."""
    assert repr(Mediator(Registry())) == "<Mediator with 0 handlers>"
