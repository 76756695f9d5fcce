"""Breakers whose state is kept in memory."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from attrs import frozen
from pybreaker import CircuitMemoryStorage

from simplecqrs import Mediator, Message, Query, Registry
from simplecqrs.breakers import NamedBreaker
from simplecqrs.errors import MissingExtra, NotConfigured
from simplecqrs.fallbacks import fallback
from tests.contracts.breaker import BreakerContract, Down, ask, fail


@frozen
class GetRate(Query[float]):
    """A query."""


class TestContract(BreakerContract):
    """Memory does what every storage does, where several share it."""

    @pytest.fixture
    def storage(self) -> Any:
        kept: dict[str, CircuitMemoryStorage] = {}
        return lambda name: kept.setdefault(name, CircuitMemoryStorage("closed"))


def test_a_breaker_without_a_storage_has_a_state_of_its_own() -> None:
    """In its memory."""
    fail(NamedBreaker("bank", fail_max=1), 1)

    ask(NamedBreaker("bank", fail_max=1))


def test_a_storage_is_made_when_it_is_first_needed() -> None:
    """So a module may make a breaker without asking a server."""
    made: list[str] = []

    def storage(name: str) -> CircuitMemoryStorage:
        made.append(name)
        return CircuitMemoryStorage("closed")

    breaker = NamedBreaker("bank", storage=storage)
    assert made == []
    ask(breaker)
    ask(breaker)

    assert made == ["bank"]


def test_an_error_is_raised_as_it_is() -> None:
    """Its cause and its context too."""
    error = Down()

    with pytest.raises(Down) as caught:
        ask(NamedBreaker("bank", fail_max=1), error)

    assert caught.value is error
    assert error.__context__ is None


def test_a_fallback_takes_it() -> None:
    """While calls are refused, the backup answers without the primary being asked."""
    asked: list[Message] = []

    def from_bank(query: GetRate) -> float:
        asked.append(query)
        raise Down

    registry = Registry()
    breaker = NamedBreaker("bank", fail_max=2)
    registry.handles(GetRate)(fallback(from_bank, lambda query: 1.1, on=Down, breaker=breaker))
    bus = Mediator(registry)

    answers = [bus.send(GetRate()) for _ in range(5)]

    assert answers == [1.1] * 5
    assert len(asked) == 2


@pytest.mark.parametrize("options", [{"fail_max": 0}, {"reset_seconds": -1}])
def test_numbers_that_make_no_sense_are_errors(options: Any) -> None:
    """When it is made."""
    with pytest.raises(NotConfigured, match="the breaker 'bank'"):
        NamedBreaker("bank", **options)


def test_the_extra_is_named_when_pybreaker_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is made, and not at the first call."""
    monkeypatch.setitem(sys.modules, "pybreaker", None)

    with pytest.raises(MissingExtra, match=r"simplecqrs\[breaker\]"):
        NamedBreaker("bank")


def test_shows_its_name() -> None:
    """And nothing of its storage."""
    assert repr(NamedBreaker("bank")) == "<NamedBreaker bank>"
