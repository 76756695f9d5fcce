"""Circuit breakers: what fails again and again is not asked for a while."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from simplecqrs.errors import MissingExtra, NotConfigured

if TYPE_CHECKING:
    from pybreaker import CircuitBreaker, CircuitBreakerStorage

__all__ = ["Exclude", "NamedBreaker", "Storage", "redis_storage"]

#: Errors that say nothing against the service, or a function that tells of an error whether it is one.
Exclude = type[Exception] | tuple[type[Exception], ...] | Callable[[BaseException], bool]
#: Makes for the name of a breaker what has the attributes of ``pybreaker.CircuitBreakerStorage``.
Storage = Callable[[str], Any]


class NamedBreaker:
    """
    Let calls pass until so many fail in a row; then refuse them for a while, then let one try.

    ``with breaker.calling():`` goes round a call.  A call that is refused raises ``pybreaker.CircuitBreakerError``;
    every other error is raised as it is.  Calls do not wait for each other; when the time is over, one of this
    process tries and the others are refused until it knows.

    Args:
        name: of the service; breakers of one name and storage share their state.
        fail_max: how many failures in a row are enough.
        reset_seconds: how long calls are refused.
        storage: makes the place where the state of a name is kept: ``redis_storage(client)``,
            ``django_cqrs.breakers.CacheStorage``.  Default: the memory of this object.
        exclude: errors that the service answers when it is well.  They count as success.

    Raises:
        MissingExtra: if pybreaker is not installed.
        NotConfigured: if a number makes no sense.
    """

    def __init__(
        self,
        name: str,
        *,
        fail_max: int = 5,
        reset_seconds: float = 60.0,
        storage: Storage | None = None,
        exclude: Exclude = (),
    ) -> None:
        if find_spec("pybreaker") is None:
            raise MissingExtra(f"the breaker {name!r}", "breaker")
        if fail_max < 1 or reset_seconds < 0:
            raise NotConfigured(
                f"the breaker {name!r}: fail_max={fail_max} must be 1 or more, reset_seconds={reset_seconds} 0 or more"
            )
        self.name = name
        self._fail_max = fail_max
        self._reset_seconds = reset_seconds
        self._storage = storage
        self._exclude = exclude
        self._circuit: CircuitBreaker | None = None
        self._lock = threading.Lock()
        self._trying = threading.Lock()

    def __repr__(self) -> str:
        return f"<NamedBreaker {self.name}>"

    @contextmanager
    def calling(self) -> Generator[None, None, None]:
        """
        Surround a call.

        Raises:
            pybreaker.CircuitBreakerError: if it is refused.
        """
        circuit = self.circuit
        if circuit.current_state == "closed":
            with circuit.calling():
                yield
            return
        if not self._trying.acquire(blocking=False):
            from pybreaker import CircuitBreakerError

            raise CircuitBreakerError(f"{self.name} is refused: another call is trying whether it is well again")
        try:
            with circuit.calling():
                yield
        finally:
            self._trying.release()

    @property
    def circuit(self) -> CircuitBreaker:
        """Return pybreaker's own.  It asks its storage when it is made, so that is when it is first needed."""
        with self._lock:
            if self._circuit is None:
                self._circuit = self._make()
            return self._circuit

    def _make(self) -> CircuitBreaker:
        from pybreaker import CircuitBreaker

        return CircuitBreaker(
            fail_max=self._fail_max,
            reset_timeout=self._reset_seconds,
            state_storage=None if self._storage is None else self._storage(self.name),
            # Functions, since pybreaker takes a class whose metaclass is not type for a function.
            exclude=[_is_no_failure, _predicate(self._exclude)],
            name=self.name,
            throw_new_error_on_trip=False,
        )


def redis_storage(client: Any) -> Storage:
    """
    Keep the states of breakers in Redis, for all processes, each under its breaker's name.

    The time of opening is kept in whole seconds.  While Redis cannot be reached, calls pass; each asks it several
    times, so a client with short time-outs and without retries of its own is best:
    ``Redis(socket_timeout=0.2, socket_connect_timeout=0.2, retry=Retry(NoBackoff(), 0))``.

    Args:
        client: of redis-py, without ``decode_responses``.

    Raises:
        NotConfigured: if the client decodes what it reads.
    """
    if getattr(client.get_encoder(), "decode_responses", False):
        raise NotConfigured("redis_storage(client): pybreaker reads bytes; make a client without decode_responses=True")

    def make(name: str) -> CircuitBreakerStorage:
        from pybreaker import STATE_CLOSED, CircuitRedisStorage
        from redis.exceptions import RedisError

        class RedisStorage(CircuitRedisStorage):
            def _initialize_redis_state(self, state: str) -> None:
                try:
                    super()._initialize_redis_state(state)
                except RedisError as error:  # as all of its other methods do
                    logging.getLogger("simplecqrs").warning("the breaker %s cannot reach Redis: %s", name, error)

        return RedisStorage(STATE_CLOSED, client, namespace=f"cqrs:breaker:{name}")

    return make


def _is_no_failure(error: BaseException) -> bool:
    """Tell whether it says nothing about the service: Ctrl-C, or a generator that was closed."""
    return not isinstance(error, Exception)


def _predicate(exclude: Exclude) -> Callable[[BaseException], bool]:
    if isinstance(exclude, (type, tuple)):
        return lambda error: isinstance(error, exclude)
    return exclude
