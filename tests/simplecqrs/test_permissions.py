"""``permission=`` of messages, and the mediator's ``permits``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from attrs import frozen

from simplecqrs import Command, DomainEvent, Mediator, Query, Registry, Stream, message
from simplecqrs.described_text import as_text
from simplecqrs.describing import describe
from simplecqrs.errors import InvalidMessage, NotConfigured, NotPermitted
from simplecqrs.memory_idempotency import MemoryIdempotency
from simplecqrs.messages import traits
from simplecqrs.pipeline import gated


@frozen
class Refund(Command[str], permission="orders.refund"):
    """Needs a permission."""

    amount: int = 1


class RefundTwice(Refund):
    """Inherits it."""


@frozen
class Look(Query[int], permission="orders.view"):
    """A query."""


@frozen
class Follow(Stream[int], permission="orders.view"):
    """A stream."""


@frozen
class Open(Command[None]):
    """For everybody."""


def only(*allowed: str) -> Any:
    """Permit what needs one of these."""

    def permits(given: object, needed: object) -> None:
        if needed not in allowed:
            raise NotPermitted(f"{type(given).__name__} needs {needed}")

    return permits


def shop(*allowed: str, done: list[str], **options: Any) -> Mediator:
    """Return a mediator that notes what its handlers do."""
    registry = Registry()

    def follow(stream: Follow) -> Iterator[int]:
        done.append("followed")
        yield 1

    registry.add(Refund, lambda command: done.append("refunded") or "money")
    registry.add(Look, lambda query: done.append("looked") or 7)
    registry.add(Follow, follow)
    registry.add(Open, lambda command: done.append("opened"))
    return Mediator(registry, permits=only(*allowed), **options)


def test_what_may_be_given_is_handled() -> None:
    """Commands, queries, streams; and what needs nothing is not asked about."""
    done: list[str] = []
    bus = shop("orders.refund", "orders.view", done=done)

    answers = [bus.send(Refund()), bus.send(Look()), list(bus.stream(Follow())), bus.send(Open())]

    assert answers == ["money", 7, [1], None]
    assert done == ["refunded", "looked", "followed", "opened"]


def test_what_may_not_be_given_is_refused_before_anything_is_done() -> None:
    """Before any middleware, and a stream when it is asked for, not at its first item."""
    done: list[str] = []
    bus = shop(done=done, middlewares=[lambda given, call: done.append("middleware") or call(given)])

    for give in (lambda: bus.send(Refund()), lambda: bus.send(Look()), lambda: bus.stream(Follow())):
        with pytest.raises(NotPermitted):
            give()
    assert done == []


def test_what_needs_nothing_has_the_way_that_it_had() -> None:
    """Not even a call more."""

    def call(given: object) -> object:
        return given

    assert gated(call, None) is call


def test_an_idempotency_key_is_no_way_around() -> None:
    """Not even to an answer that is kept."""
    store, done = MemoryIdempotency(), list[str]()
    options: dict[str, Any] = {"done": done, "idempotency": store, "transaction": store.transaction}
    shop("orders.refund", **options).send(Refund(), "k")

    with pytest.raises(NotPermitted):
        shop(**options).send(Refund(), "k")


def test_a_permission_is_inherited_and_survives_that_attrs_makes_a_class_twice() -> None:
    """So that what is derived from a guarded command is no hole."""
    assert [traits(kind).permission for kind in (Refund, RefundTwice, Open)] == ["orders.refund", "orders.refund", None]


def test_a_function_may_be_a_permission_and_a_decorator_may_say_it() -> None:
    """For classes whose metaclass takes no keywords."""

    def is_owner(user: object, command: object) -> bool:
        return True

    @message(permission=is_owner)
    @frozen
    class Close(Command[None]):
        pass

    assert traits(Close).permission is is_owner


def test_a_mediator_that_asks_for_no_permission_cannot_have_such_messages() -> None:
    """They would be open to all."""
    registry = Registry()
    registry.add(Refund, lambda command: "money")

    with pytest.raises(NotConfigured, match=r"Refund says permission=.*Mediator\(permits=\.\.\.\)"):
        Mediator(registry).send(Refund())


@pytest.mark.parametrize("permission", ["", " ", 7])
def test_what_is_no_permission_is_refused(permission: Any) -> None:
    """With what would be one."""
    with pytest.raises(InvalidMessage, match="must be a name, or a function"):
        message(permission=permission)(Open)


def test_an_event_needs_no_permission() -> None:
    """It has happened."""
    with pytest.raises(InvalidMessage, match="an event has happened"):

        class Refunded(DomainEvent, permission="orders.refund"):
            pass


def test_it_is_described() -> None:
    """With what it needs."""
    described = describe(shop(done=[]))

    assert "needs the permission orders.refund" in as_text(described)
    assert [m.permission for m in described.messages] == ["orders.refund", "orders.view", "orders.view", ""]
