"""
Dependencies from a container of your own: anything with ``scope()`` and ``can_resolve(type)``.

It prints::

    opened
    Ada joins, by session 1
    closed
    this mediator cannot work: nobody made Clock
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from attrs import frozen

from simplecqrs import Command, Mediator, Registry
from simplecqrs.containers import Container
from simplecqrs.errors import NotConfigured

registry = Registry()


@frozen
class Session:
    number: int


class Clock: ...


class HandMade:
    """Has one session for each scope."""

    @contextmanager
    def scope(self) -> Iterator[Any]:
        print("opened")
        made = Session(1)
        yield {Session: made}.__getitem__
        print("closed")

    def can_resolve(self, kind: Any, /) -> bool:
        return kind is Session


@frozen
class Join(Command[None]):
    name: str


@registry.handles(Join)
def join(command: Join, *, session: Session) -> None:
    print(f"{command.name} joins, by session {session.number}")


container: Container = HandMade()
Mediator(registry, container=container).send(Join("Ada"))


@frozen
class AskTheTime(Command[None]):
    pass


late = Registry()


@late.handles(AskTheTime)
def ask(command: AskTheTime, *, clock: Clock) -> None: ...


try:
    Mediator(late, container=container).check()
except NotConfigured as error:
    print("this mediator cannot work: nobody made", "Clock" if "Clock" in str(error) else "?")
