"""
How long a dependency is shared: for a message with all that it causes, or for each handler.

It prints::

    per message: open 1, handle with 1, event with 1, close 1
    per handler: open 1, handle with 1, close 1, open 2, event with 2, close 2
"""

from collections.abc import Iterator
from itertools import count
from typing import Literal

from attrs import frozen

from simplecqrs import Command, DomainEvent, Mediator, Publish, Registry


@frozen
class Session:
    number: int


@frozen
class Join(Command[None]):
    pass


@frozen
class Joined(DomainEvent):
    pass


story: list[str] = []
registry = Registry()


@registry.handles(Join)
def join(command: Join, publish: Publish, *, session: Session) -> None:
    story.append(f"handle with {session.number}")
    publish(Joined())


@registry.handles(Joined)
def note(event: Joined, *, session: Session) -> None:
    story.append(f"event with {session.number}")


def run(scope: Literal["message", "handler"]) -> None:
    numbers = count(1)

    def open_session() -> Iterator[Session]:
        session = Session(next(numbers))
        story.append(f"open {session.number}")
        yield session
        story.append(f"close {session.number}")

    Mediator(registry, provide={Session: open_session}, scope=scope).send(Join())
    print(f"per {scope}:", ", ".join(story))
    story.clear()


run("message")
run("handler")
