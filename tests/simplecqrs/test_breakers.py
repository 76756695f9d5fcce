"""Breakers whose state is kept in memory."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from pybreaker import CircuitMemoryStorage

from simplecqrs.breakers import Breaker
from simplecqrs.errors import MissingExtra, NotConfigured
from tests.contracts.breaker import BreakerContract, Down, ask, fail


class TestContract(BreakerContract):
    """Memory does what every storage does, where several share it."""

    @pytest.fixture
    def storage(self) -> Any:
        kept: dict[str, CircuitMemoryStorage] = {}
        return lambda name: kept.setdefault(name, CircuitMemoryStorage("closed"))


def test_a_breaker_without_a_storage_has_a_state_of_its_own() -> None:
    """In its memory."""
    fail(Breaker("bank", fail_max=1), 1)

    ask(Breaker("bank", fail_max=1))


def test_a_storage_is_made_when_it_is_first_needed() -> None:
    """So a module may make a breaker without asking a server."""
    made: list[str] = []

    def storage(name: str) -> CircuitMemoryStorage:
        made.append(name)
        return CircuitMemoryStorage("closed")

    breaker = Breaker("bank", storage=storage)
    assert made == []
    ask(breaker)
    ask(breaker)

    assert made == ["bank"]


def test_an_error_is_raised_as_it_is() -> None:
    """Its cause and its context too."""
    error = Down()

    with pytest.raises(Down) as caught:
        ask(Breaker("bank", fail_max=1), error)

    assert caught.value is error
    assert error.__context__ is None


@pytest.mark.parametrize("options", [{"fail_max": 0}, {"reset_seconds": -1}])
def test_numbers_that_make_no_sense_are_errors(options: Any) -> None:
    """When it is made."""
    with pytest.raises(NotConfigured, match="the breaker 'bank'"):
        Breaker("bank", **options)


def test_the_extra_is_named_when_pybreaker_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is made, and not at the first call."""
    monkeypatch.setitem(sys.modules, "pybreaker", None)

    with pytest.raises(MissingExtra, match=r"simplecqrs\[breaker\]"):
        Breaker("bank")


def test_shows_its_name() -> None:
    """And nothing of its storage."""
    assert repr(Breaker("bank")) == "<Breaker bank>"
