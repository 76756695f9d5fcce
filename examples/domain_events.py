"""
What a command publishes is handled before ``send`` returns: first in, first out, what follows from it last.

It prints::

    Ada joined
    Ada has a badge
    badge 1 was printed
    send has returned
"""

from attrs import frozen

from simplecqrs import Command, DomainEvent, Mediator, Publish, handles


@frozen
class Join(Command[None]):
    name: str


@frozen
class Joined(DomainEvent):
    name: str


@frozen
class BadgePrinted(DomainEvent):
    number: int


@handles(Join)
def join(command: Join, publish: Publish) -> None:
    publish(Joined(command.name))


@handles(Joined)
def greet(event: Joined) -> None:
    print(event.name, "joined")


@handles(Joined)
def print_badge(event: Joined, publish: Publish) -> None:
    publish(BadgePrinted(1))  # an event that follows from an event
    print(event.name, "has a badge")


@handles(BadgePrinted)
def count(event: BadgePrinted) -> None:
    print("badge", event.number, "was printed")


Mediator().send(Join("Ada"))
print("send has returned")
