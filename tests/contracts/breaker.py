"""What a breaker does, wherever its state is kept."""

from __future__ import annotations

import threading
from abc import ABC
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from pybreaker import CircuitBreakerError

from simplecqrs.breakers import NamedBreaker
from simplecqrs.metadata import uuid7

MakeBreaker: TypeAlias = Callable[..., NamedBreaker]


class Down(Exception):
    """What the service raises when it is not well."""


class Refusal(ABC, LookupError):
    """What the service answers when it is well."""


def ask(breaker: NamedBreaker, error: BaseException | None = None) -> None:
    """Call the service, which fails like this."""
    with breaker.calling():
        if error is not None:
            raise error


def fail(breaker: NamedBreaker, times: int) -> None:
    """Let so many calls fail."""
    for _ in range(times):
        with pytest.raises(Down):
            ask(breaker, Down())


class BreakerContract:
    """
    What every storage does.  Override ``storage``, which makes the place where the state of a name is kept.

    Time is not waited for: of two breakers of one state, one has the patience of an hour and the other has none.
    """

    @pytest.fixture
    def storage(self) -> Any:
        raise NotImplementedError

    @pytest.fixture
    def name(self) -> str:
        """Name a service that no other test uses."""
        return f"service-{uuid7()}"

    @pytest.fixture
    def make(self, storage: Any, name: str) -> MakeBreaker:
        """Make a breaker as each process makes its own: another object of the same name."""

        def make(called: str = name, *, reset_seconds: float = 3600, **options: Any) -> NamedBreaker:
            return NamedBreaker(called, fail_max=3, reset_seconds=reset_seconds, storage=storage, **options)

        return make

    def test_lets_calls_pass(self, make: MakeBreaker) -> None:
        """As long as all is well."""
        breaker = make()

        ask(breaker)

        assert breaker.circuit.current_state == "closed"

    def test_refuses_calls_after_so_many_failures_in_a_row(self, make: MakeBreaker) -> None:
        """Each of the failures is raised as it is, the last one too."""
        breaker = make()

        fail(breaker, 3)

        with pytest.raises(CircuitBreakerError):
            ask(breaker)
        assert breaker.circuit.current_state == "open"

    def test_a_success_forgets_the_failures_before(self, make: MakeBreaker) -> None:
        """Only failures in a row count."""
        breaker = make()

        fail(breaker, 2)
        ask(breaker)
        fail(breaker, 2)

        ask(breaker)
        assert breaker.circuit.current_state == "closed"

    def test_lets_one_try_when_the_time_is_over(self, make: MakeBreaker) -> None:
        """If that succeeds, all is as before."""
        fail(make(), 3)

        ask(make(reset_seconds=0))

        assert make().circuit.current_state == "closed"
        fail(make(), 2)
        ask(make())

    def test_refuses_again_when_the_try_fails(self, make: MakeBreaker) -> None:
        """One failure is enough then, and it is raised as it is."""
        fail(make(), 3)

        fail(make(reset_seconds=0), 1)

        with pytest.raises(CircuitBreakerError):
            ask(make())

    def test_shares_its_state_with_others_of_its_name(self, make: MakeBreaker) -> None:
        """Failures are counted together, and all know that calls are refused."""
        one, other = make(), make()
        ask(one)
        ask(other)

        fail(one, 2)
        fail(other, 1)

        for breaker in (one, other, make()):
            with pytest.raises(CircuitBreakerError):
                ask(breaker)

    def test_knows_nothing_of_other_names(self, make: MakeBreaker, name: str) -> None:
        """Each service has its own."""
        fail(make(), 3)

        ask(make(f"{name}-too"))

    def test_counts_failures_of_several_at_once(self, make: MakeBreaker) -> None:
        """One after the other, from objects of their own."""
        for _ in range(3):
            fail(make(), 1)

        assert make().circuit.fail_counter == 3

    @pytest.mark.parametrize(
        "exclude",
        [
            pytest.param(Refusal, id="a type whose metaclass is not type"),
            pytest.param((KeyError, Refusal), id="types"),
            pytest.param(lambda error: isinstance(error, Refusal), id="function"),
        ],
    )
    def test_what_is_excluded_is_no_failure(self, make: MakeBreaker, exclude: Any) -> None:
        """It is raised as it is; other errors count as ever."""
        breaker = make(exclude=exclude)

        for _ in range(5):
            with pytest.raises(Refusal):
                ask(breaker, Refusal())

        ask(breaker)
        fail(breaker, 3)
        with pytest.raises(CircuitBreakerError):
            ask(breaker)

    @pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit, SystemExit])
    def test_what_is_no_error_is_no_failure(self, make: MakeBreaker, error: type[BaseException]) -> None:
        """Ctrl-C says nothing about the service."""
        breaker = make()

        for _ in range(5):
            with pytest.raises(error):
                ask(breaker, error())

        assert breaker.circuit.fail_counter == 0

    def test_lets_several_calls_pass_at_once(self, make: MakeBreaker) -> None:
        """Calls do not wait for each other."""
        breaker, inside, met = make(), threading.Barrier(2, timeout=10), list[int]()

        def call() -> None:
            with breaker.calling():
                met.append(inside.wait())

        thread = threading.Thread(target=call)
        thread.start()
        call()
        thread.join(10)

        assert sorted(met) == [0, 1]

    def test_lets_no_other_pass_while_one_tries(self, make: MakeBreaker) -> None:
        """A service that is just coming back is not run over."""
        fail(make(), 3)
        breaker, passed = make(reset_seconds=0), list[str]()

        def call() -> None:
            try:
                ask(breaker)
                passed.append("passed")
            except CircuitBreakerError:
                passed.append("refused")

        with breaker.calling():
            thread = threading.Thread(target=call)
            thread.start()
            thread.join(10)
        call()

        assert passed == ["refused", "passed"]
