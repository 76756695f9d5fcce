"""The registry: who handles what, said once, and checked at once."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import pytest
from attrs import frozen

from simplecqrs import (
    Command,
    DomainEvent,
    Mediator,
    Message,
    NotificationEvent,
    Query,
    Registry,
    Retry,
    SyncEventHandler,
    SyncRequestHandler,
)
from simplecqrs.errors import DuplicateHandler, InvalidHandler, InvalidMessage, NotConfigured

T = TypeVar("T")


@frozen
class Create(Command[int]):
    """A command."""


@frozen
class Find(Query[int]):
    """A query."""


@frozen
class Created(DomainEvent):
    """An event."""


@frozen
class Removed(DomainEvent):
    """Another event."""


@frozen
class Placed(NotificationEvent):
    """An event for others."""


@frozen
class Changed(DomainEvent, Generic[T]):
    """A generic event."""

    to: T


def create(command: Create) -> int:
    """Answer."""
    return 1


def create_too(command: Create) -> int:
    """Answer as well."""
    return 2


def listen(event: Any) -> None:
    """Handle any event."""


def test_handles_returns_functions_and_classes_unchanged() -> None:
    """The decorator adds nothing and takes nothing away."""
    registry = Registry()

    class CreateHandler(SyncRequestHandler[Create, int]):
        def handle(self, command: Create) -> int:
            return 1

    class OnCreated(SyncEventHandler[Created]):
        def handle(self, event: Created) -> None: ...

    assert registry.handles(Find)(lambda query: 1)
    assert registry.handles(Create)(CreateHandler) is CreateHandler
    assert registry.handles(Created)(OnCreated) is OnCreated
    assert registry.handles(Removed)(listen) is listen


def test_registrations_keep_their_order() -> None:
    """Which is the order in which events are handled."""
    registry = Registry()
    registry.add(Created, listen)
    registry.add(Create, create)
    registry.add(Removed, listen)

    assert [r.messages for r in registry] == [(Created,), (Create,), (Removed,)]


def test_several_events_are_one_registration() -> None:
    """One handler, one line."""
    registry = Registry()
    registry.handles(Created, Removed, Placed)(listen)

    assert [r.messages for r in registry] == [(Created, Removed, Placed)]


def test_a_second_handler_of_a_request_is_refused_at_once_and_both_are_named() -> None:
    """The first one stays."""
    registry = Registry()
    registry.add(Create, create)

    with pytest.raises(DuplicateHandler) as caught:
        registry.add(Create, create_too)

    first, second = f"function {__name__}.create", f"function {__name__}.create_too"
    assert str(caught.value) == f"Create is handled by {first}; it cannot be handled by {second} as well"
    assert Mediator(registry).send(Create()) == 1


def test_the_same_handler_twice_for_an_event_is_refused() -> None:
    """It would run twice."""
    registry = Registry()
    registry.add(Created, listen)

    with pytest.raises(DuplicateHandler, match=r"Created is handled by function .*listen already"):
        registry.add(Created, listen)


def test_the_same_event_twice_in_one_registration_is_refused() -> None:
    """It says nothing."""
    with pytest.raises(DuplicateHandler, match="was given the same event twice"):
        Registry().handles(Created, Created)(listen)


def test_a_subscripted_generic_is_refused_with_the_cure() -> None:
    """No object is of that type, so it could never match."""
    with pytest.raises(InvalidMessage, match=r"Changed\[int\].*subclassed first: class AddressChanged\(Changed\[Addr"):
        Registry().handles(Changed[int])(listen)


def test_the_generic_class_itself_can_be_subscribed_to() -> None:
    """It is a base class like others."""
    seen: list[Any] = []
    registry = Registry()
    registry.add(Changed, seen.append)

    class IntChanged(Changed[int]): ...

    Mediator(registry).publish(IntChanged(7))

    assert seen == [IntChanged(7)]


@pytest.mark.parametrize("message", [int, object, Message], ids=lambda m: m.__name__)
def test_what_is_no_message_is_refused_with_the_cure(message: Any) -> None:
    """Message alone is neither a request nor an event."""
    with pytest.raises(InvalidMessage, match=r"which is no message; derive it from Command, Query"):
        Registry().add(message, listen)


def test_handles_needs_a_message() -> None:
    """``@handles()`` is a slip."""
    with pytest.raises(InvalidMessage, match=r"handles\(\) needs a message class"):
        Registry().handles()(listen)  # type: ignore[call-overload]


def test_handles_without_parentheses_is_refused() -> None:
    """``@handles`` over a function takes the function for a message."""
    with pytest.raises(InvalidMessage, match="which is no class"):
        Registry().handles(create)(listen)  # type: ignore[call-overload]


@pytest.mark.parametrize("messages", [(Create, Created), (Create, Find)], ids=["command and event", "two requests"])
def test_requests_cannot_share_a_handler(messages: tuple[Any, ...]) -> None:
    """They have one each."""
    with pytest.raises(InvalidHandler, match="only events can share a handler"):
        Registry().handles(*messages)(listen)


@pytest.mark.parametrize(
    ("message", "options", "reason"),
    [
        (Create, {"after_commit": True}, "are for events; to handle a command later, defer it"),
        (Create, {"consumer": "mailing"}, "are for events; to handle a command later, defer it"),
        (Find, {"retry": Retry(3)}, "not queries"),
        (Find, {"on_dead": "hold"}, "not queries"),
        (Created, {"after_commit": True, "consumer": "mailing"}, "not both"),
        (Created, {"retry": Retry(3)}, "are for handlers with consumer="),
        (Created, {"on_dead": "continue"}, "are for handlers with consumer="),
        (Created, {"after_commit": True, "retry": Retry(3)}, "are for handlers with consumer="),
        (Created, {"consumer": " "}, "consumer=' ' is no name"),
    ],
    ids=str,
)
def test_options_that_mean_nothing_are_refused(message: Any, options: dict[str, Any], reason: str) -> None:
    """At registration, with the handler's name."""
    with pytest.raises(InvalidHandler) as caught:
        Registry().add(message, lambda message: None, **options)

    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"after_commit": 1}, {"consumer": 7}, {"retry": 5}, {"on_dead": "drop"}, {"consummer": "x"}], ids=str
)
def test_options_of_the_wrong_type_are_refused(options: dict[str, Any]) -> None:
    """Misspelt ones too."""
    with pytest.raises((TypeError, ValueError)):
        Registry().add(Created, listen, **options)


@pytest.mark.parametrize(
    ("message", "options"),
    [
        (Created, {"after_commit": True}),
        (Placed, {"consumer": "mailing", "retry": Retry(3), "on_dead": "continue"}),
        (Create, {"retry": Retry(3)}),
    ],
    ids=str,
)
def test_options_that_mean_something_are_kept(message: Any, options: dict[str, Any]) -> None:
    """A retry of a command counts when it is deferred."""
    registry = Registry()
    registry.add(message, lambda message: None, **options)

    kept = next(iter(registry)).options

    assert {name: getattr(kept, name) for name in options} == options


def test_an_async_handler_is_refused_where_it_is_registered() -> None:
    """Not at the first message."""

    async def later(command: Create) -> int:
        return 1

    registry = Registry()

    with pytest.raises(InvalidHandler, match="is async"):
        registry.add(Create, later)

    assert list(registry) == []


def test_include_takes_over_registrations_in_their_order() -> None:
    """Options and all."""
    ours, theirs = Registry(), Registry()
    ours.add(Created, listen)
    theirs.add(Removed, listen, after_commit=True)
    theirs.add(Create, create)

    ours.include(theirs)

    assert [r.messages for r in ours] == [(Created,), (Removed,), (Create,)]
    assert [r.options.after_commit for r in ours] == [False, True, False]


def test_include_refuses_a_second_handler_and_takes_nothing_then() -> None:
    """All or nothing."""
    ours, theirs = Registry(), Registry()
    ours.add(Create, create)
    theirs.add(Removed, listen)
    theirs.add(Create, create_too)

    with pytest.raises(DuplicateHandler, match="cannot be handled by"):
        ours.include(theirs)

    assert [r.handler for r in ours] == [create]


def test_registering_after_the_first_message_is_refused() -> None:
    """The mediator has compiled everything; a handler more would never run."""
    registry = Registry()
    registry.add(Create, create)
    Mediator(registry).send(Create())

    with pytest.raises(NotConfigured, match=r"listen was registered after .*Mediator.* first message; import all"):
        registry.add(Created, listen)


def test_including_after_the_first_message_is_refused() -> None:
    """As registering is."""
    registry, late = Registry(), Registry()
    registry.add(Create, create)
    late.add(Created, listen)
    Mediator(registry).send(Create())

    with pytest.raises(NotConfigured, match="was registered after"):
        registry.include(late)


def test_checking_does_not_close_a_registry() -> None:
    """``check()`` may run at any time; what is registered later is known as well."""
    registry = Registry()
    bus = Mediator(registry)
    bus.check()
    registry.add(Create, create)

    assert bus.send(Create()) == 1
    assert bus.vocabulary.find("Create") is Create


def test_a_handler_may_serve_two_consumers() -> None:
    """Each of them handles the event by itself."""
    registry = Registry()

    def listen(event: Created) -> None:
        """Serve both."""

    registry.add(Created, listen, consumer="one")
    registry.add(Created, listen, consumer="two")

    assert [r.options.consumer for r in registry] == ["one", "two"]
