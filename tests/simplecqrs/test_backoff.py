"""Pauses between attempts."""

from __future__ import annotations

import pytest

from simplecqrs import Retry
from simplecqrs.backoff import pause


def middle() -> float:
    """Chance, without any."""
    return 0.5


def test_pauses_double_from_the_first_up_to_the_cap() -> None:
    """Exponential, and never longer than the cap."""
    pauses = [pause(n, first=1, cap=5, rnd=middle) for n in (1, 2, 3, 4, 5)]

    assert pauses == [1, 2, 4, 5, 5]


@pytest.mark.parametrize(("chance", "expected"), [(0.0, 8.0), (0.5, 10.0), (1.0, 12.0)])
def test_jitter_makes_a_pause_shorter_or_longer_by_its_share(chance: float, expected: float) -> None:
    """20 % of 10 seconds is 2 seconds either way."""
    assert pause(1, first=10, cap=60, jitter=0.2, rnd=lambda: chance) == pytest.approx(expected)


def test_a_thousand_failures_do_not_overflow() -> None:
    """A message that waits for a year still has a pause."""
    assert pause(1_000_000, first=1, cap=3600, jitter=0) == 3600


def test_no_failure_counts_as_the_first() -> None:
    """There is no shorter pause than the first."""
    assert pause(0, first=1, cap=60, jitter=0) == 1


def test_retry_counts_attempts_in_all() -> None:
    """``Retry(5)`` is one attempt and four more."""
    retry = Retry(5)

    assert [retry.exhausted(n) for n in (1, 4, 5, 6)] == [False, False, True, True]


def test_a_retry_gives_the_pause_of_its_own_numbers() -> None:
    """It is the function ``pause`` with its fields."""
    retry = Retry(5, first=2, cap=3, jitter=0)

    assert [retry.pause(n) for n in (1, 2, 3)] == [2, 3, 3]


@pytest.mark.parametrize(
    "arguments",
    [{"attempts": 0}, {"attempts": 1.5}, {"first": -1}, {"cap": -1}, {"jitter": 1.1}, {"jitter": -0.1}],
    ids=str,
)
def test_a_retry_that_makes_no_sense_is_refused(arguments: dict[str, float]) -> None:
    """At once, not when something fails."""
    with pytest.raises((ValueError, TypeError)):
        Retry(**arguments)  # type: ignore[arg-type]


def test_a_retry_is_a_value() -> None:
    """Equal ones are equal, and nobody changes them."""
    assert Retry(5) == Retry(5)
    with pytest.raises(AttributeError):
        Retry(5).attempts = 6  # type: ignore[misc]
