"""Breakers whose state is kept in Django's cache, for all processes that share it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.core.cache import caches

__all__ = ["CacheStorage"]

log = logging.getLogger("django_cqrs")


class CacheStorage:
    """
    Keep the state of a breaker in Django's cache: ``NamedBreaker("bank", storage=CacheStorage)``.

    It is a storage as pybreaker wants it, without its base class, so that importing this imports no pybreaker.

    Two failures at the same moment count as two where the cache counts by itself (Redis, Memcached, local memory), and
    may count as one where it does not (files, database).  A database cache writes in the transaction that is open, and
    what is rolled back forgets its failures: give such a cache another database, or take another cache.

    While the cache cannot be reached, calls pass.

    Args:
        name: of the breaker.
        alias: of the cache.
    """

    def __init__(self, name: str, alias: str = "default") -> None:
        self.name = name
        self._alias = alias

    @property
    def state(self) -> str:
        """Return ``closed``, ``open`` or ``half-open``."""
        return self._get("state", "closed")  # type: ignore[no-any-return]

    @state.setter
    def state(self, state: str) -> None:
        self._set("state", state)

    @property
    def counter(self) -> int:
        """Return how many calls have failed in a row."""
        return self._get("failures", 0)  # type: ignore[no-any-return]

    def increment_counter(self) -> None:
        """Count a failure."""
        self._count("failures")

    def reset_counter(self) -> None:
        """Forget the failures."""
        self._set("failures", 0)

    @property
    def success_counter(self) -> int:
        """Return how many calls have succeeded since it was opened."""
        return self._get("successes", 0)  # type: ignore[no-any-return]

    def increment_success_counter(self) -> None:
        """Count a success."""
        self._count("successes")

    def reset_success_counter(self) -> None:
        """Forget the successes."""
        self._set("successes", 0)

    @property
    def opened_at(self) -> datetime | None:
        """Return when it was opened last."""
        return self._get("opened_at", None)  # type: ignore[no-any-return]

    @opened_at.setter
    def opened_at(self, opened_at: datetime) -> None:
        self._set("opened_at", opened_at)

    def _get(self, what: str, default: Any) -> Any:
        return self._ask(lambda cache: cache.get(self._key(what), default), default)

    def _set(self, what: str, value: Any) -> None:
        self._ask(lambda cache: cache.set(self._key(what), value, timeout=None), None)

    def _count(self, what: str) -> None:
        self._ask(lambda cache: cache.add(self._key(what), 0, timeout=None), None)
        self._ask(lambda cache: cache.incr(self._key(what)), None)

    def _key(self, what: str) -> str:
        return f"cqrs:breaker:{self.name}:{what}"

    def _ask(self, question: Callable[[Any], Any], default: Any) -> Any:
        """Ask the cache; a breaker is to protect calls, not to fail them when its cache does."""
        try:
            return question(caches[self._alias])
        except Exception as error:  # noqa: BLE001 - each cache has errors of its own
            log.warning("the breaker %s cannot use the cache %r: %r", self.name, self._alias, error)
            return default
