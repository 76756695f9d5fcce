"""What a handler publishes and sends, as far as its source shows it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import frozen

from simplecqrs import Command, DomainEvent, Mediator, Publish, Registry, SyncRequestHandler
from simplecqrs.saga import Saga, Step
from simplecqrs.sources import begun_by, published_by, sent_by


@frozen
class Go(Command[None]):
    """Is sent."""


@frozen
class Went(DomainEvent):
    """Is published."""


@frozen
class Came(DomainEvent):
    """Is published as well."""


@frozen
class Left(DomainEvent):
    """Is made, and not published."""


BUS = Mediator()


def later(event: Any, when: int) -> Any:
    """Wrap an event."""
    return event


def test_what_is_made_inside_of_publish_is_seen() -> None:
    """Whatever the parameter is called, wrapped or not, also if it had a name first."""

    def handle(command: Go, tell: Publish) -> None:
        left = Left()
        came = Came()
        tell(later(Went(), 7))
        tell(came)
        print(left)

    assert published_by(handle) == [Went, Came]


def test_all_methods_of_a_class_are_read() -> None:
    """And those of its bases, and other publishing than its own."""

    class Base(SyncRequestHandler[Go, None]):
        def helper(self) -> None:
            self.publish(Went())

    class Handler(Base):
        def handle(self, request: Go) -> None:
            self.helper()
            BUS.publish(Came())

    assert set(published_by(Handler)) == {Went, Came}


def test_the_type_of_publish_is_read() -> None:
    """If it says more than any event; what takes any event says nothing."""

    def precise(command: Go, publish: Callable[[Went | Came], None]) -> None: ...
    def vague(command: Go, publish: Publish) -> None: ...

    assert published_by(precise) == [Went, Came]
    assert published_by(vague) == []


def test_what_is_sent_is_seen() -> None:
    """Streams and deferred commands likewise; and what a function imports for itself."""

    def handle(command: Go, publish: Publish) -> None:
        from tests.simplecqrs.test_sources import Go as Again

        BUS.send(Again())
        publish(Went())

    assert [cls.__name__ for cls in sent_by(handle)] == ["Go"]
    assert sent_by(partial(handle, Go())) == sent_by(handle)


def test_what_is_begun_is_seen() -> None:
    """Stored for a worker, or run at once."""
    trip: Saga[Go] = Saga("trip", Go, [Step("a", lambda state: None)], registry=Registry())
    rest: Saga[Go] = Saga("rest", Go, [Step("a", lambda state: None)], registry=Registry())

    def handle(command: Go) -> None:
        trip.start(BUS, command)
        rest.run(BUS, command)

    assert begun_by(handle) == [trip, rest]
    assert begun_by(later) == []


def test_what_cannot_be_seen_is_not_guessed() -> None:
    """What others publish, what was handed over, what was computed, what has no source."""

    def handle(event: Went, publish: Publish) -> None:
        later(publish, 1)
        publish(event)
        publish(type(event)())

    class Odd:
        def __call__(self, event: Went, publish: Publish) -> None:
            publish(Came())

    assert published_by(handle) == []
    assert published_by([].append) == []
    assert published_by(eval("lambda event, publish: publish(Came())", globals())) == []
    assert published_by(Odd()) == [Came]
