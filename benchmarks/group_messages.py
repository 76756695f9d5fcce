"""The messages and handlers of the benchmark ``groups``: the predecessors' own, in our words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any
from uuid import UUID

from attrs import evolve, frozen

from simplecqrs import (
    NOT_MINE,
    Command,
    DomainEvent,
    Mediator,
    NotificationEvent,
    NotMine,
    Publish,
    Query,
    Registry,
    Saga,
    Step,
    Stream,
    chain,
)
from simplecqrs.guarding import Breaker

__all__ = [
    "HISTORY",
    "JOINED",
    "AskRank",
    "Count",
    "Grow",
    "Joined",
    "Meeting",
    "Order",
    "Rank",
    "Rename",
    "bus",
    "checkout",
]


@frozen
class Rename(Command[int]):
    """Is handled by a function."""

    user_id: int


@frozen
class Rank(Query[int]):
    """Is answered by a function."""

    user_id: int


@frozen
class AskRank(Command[str]):
    """Is answered by one of four links."""

    rank: int


@frozen
class Grow(Command[None]):
    """Publishes ``first`` events; each publishes ``each`` more."""

    first: int
    each: int = 0


@frozen
class Grown(DomainEvent):
    """Of the second level."""

    each: int


@frozen
class Ripe(DomainEvent):
    """Of the third level."""


@frozen
class Joined(NotificationEvent):
    """A notification."""

    user_id: UUID
    meeting: str
    at: datetime


@frozen
class Talk:
    """A part of a nested structure."""

    title: str
    minutes: int


@frozen
class Meeting(Command[int]):
    """A nested structure."""

    name: str
    talks: list[Talk]


@frozen
class Count(Stream[int]):
    """Is answered by numbers."""

    to: int


@frozen
class Order:
    """The state of a saga."""

    number: int
    done: int = 0


JOINED = Joined(UUID(int=7), "monday", datetime(2026, 11, 21, tzinfo=timezone.utc))
HISTORY = Meeting("monday", [Talk(f"talk {number}", 20) for number in range(10)])


def _rename(command: Rename) -> int:
    return command.user_id


def _rank(query: Rank) -> int:
    return query.user_id


def _grow(command: Grow, publish: Publish) -> None:
    for _ in range(command.first):
        publish(Grown(command.each))


def _grown(event: Grown, publish: Publish) -> None:
    for _ in range(event.each):
        publish(Ripe())


def _ripe(event: Ripe) -> None:
    pass


def _count(stream: Count) -> Iterator[int]:
    yield from range(stream.to)


def _link(rank: int) -> Callable[[AskRank], str | NotMine]:
    def link(command: AskRank) -> str | NotMine:
        return f"rank {rank}" if command.rank == rank else NOT_MINE

    return link


def _default(command: AskRank) -> str:
    return "no rank"


def bus(**options: Any) -> Mediator:
    """Return a mediator with all of these; options are passed on."""
    registry = Registry()
    registry.add(Rename, _rename)
    registry.add(Rank, _rank)
    registry.add(AskRank, chain(_link(1), _link(2), _link(3), _default))
    registry.add(Grow, _grow)
    registry.add(Grown, _grown)
    registry.add(Ripe, _ripe)
    registry.handles(Count)(_count)
    return Mediator(registry, **options)


def _act(state: Order) -> Order:
    return evolve(state, done=state.done + 1)


def _undo(state: Order) -> None:
    pass


def _fail(state: Order) -> Order:
    raise ConnectionError("no answer")


def checkout(registry: Registry, steps: int, *, failing: bool = False, breaker: Breaker | None = None) -> Saga[Order]:
    """
    Define a saga.

    Args:
        failing: whether the first step fails, and its fallback is called.
    """
    plain = [Step(f"step {number}", _act, _undo) for number in range(steps)]
    if failing:
        plain[0] = Step("step 0", _fail, _undo, fallback=_act, breaker=breaker)
    return Saga(f"checkout-{steps}{'-failing' * failing}{'-guarded' * bool(breaker)}", Order, plain, registry=registry)
