"""Stories: given, when, then."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from attrs import frozen

from simplecqrs import Command, DomainEvent, NotificationEvent, Publish, Query, Registry, Stream
from simplecqrs.testing import Scenario


@frozen
class Join(Command[int]):
    """Adds a member."""

    name: str


@frozen
class Count(Query[int]):
    """Counts the members."""


@frozen
class Names(Stream[str]):
    """Tells their names."""


@frozen
class Joined(NotificationEvent):
    """Somebody was added."""

    name: str


@frozen
class Greeted(DomainEvent):
    """Somebody was greeted."""

    name: str


class NameTaken(Exception):
    """What a second one of that name gets."""


class Members:
    """Where members are kept."""

    def __init__(self) -> None:
        self.names: list[str] = []


@pytest.fixture
def story() -> Scenario:
    """Tell of a club."""
    registry, members = Registry(), Members()

    @registry.handles(Join)
    def join(command: Join, publish: Publish, *, members: Members) -> int:
        publish(Joined(command.name))
        if command.name in members.names:
            raise NameTaken(command.name)
        members.names.append(command.name)
        return len(members.names)

    @registry.handles(Joined)
    def greet(event: Joined, publish: Publish) -> None:
        publish(Greeted(event.name))

    @registry.handles(Count)
    def count(query: Count, *, members: Members) -> int:
        return len(members.names)

    @registry.handles(Names)
    def names(stream: Names, *, members: Members) -> Iterator[str]:
        yield from members.names

    return Scenario(registry, provide={Members: lambda: members})


def test_what_follows_is_told_in_order_with_the_answer(story: Scenario) -> None:
    """What was given before is not part of it."""
    assert story.given(Join("Ada")).when(Join("Bob")).then(Joined("Bob"), Greeted("Bob")) == 2


def test_queries_and_streams_are_asked_for_their_answers(story: Scenario) -> None:
    """Nothing follows from them."""
    story.given(Join("Ada"), Join("Bob"))

    assert story.when(Count()).then() == 2
    assert story.when(Names()).then() == ["Ada", "Bob"]


def test_an_event_can_begin_a_story(story: Scenario) -> None:
    """What follows from it is told, and not the event itself."""
    assert story.given(Joined("Ada")).when(Joined("Bob")).then(Greeted("Bob")) is None


def test_another_outcome_is_an_assertion_error_that_shows_both(story: Scenario) -> None:
    """What was expected, and what was published."""
    with pytest.raises(AssertionError, match=r"expected \[Joined\(name='Eve'\)\], and these .*Greeted\(name='Bob'\)"):
        story.when(Join("Bob")).then(Joined("Eve"))


def test_a_failure_is_expected_or_raised(story: Scenario) -> None:
    """The events of what failed are gone."""
    story.given(Join("Ada")).when(Join("Ada"))

    assert story.then_raises(NameTaken).args == ("Ada",)
    with pytest.raises(NameTaken):
        story.then()
    with pytest.raises(AssertionError, match=r"expected KeyError, and this was raised: NameTaken\('Ada'\)"):
        story.then_raises(KeyError)
    assert story.when(Join("Eve")).then(Joined("Eve"), Greeted("Eve")) == 2
