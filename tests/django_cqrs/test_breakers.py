"""Breakers whose state is kept in Django's cache."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.management import call_command
from django.db import connection
from pybreaker import CircuitBreakerError

from django_cqrs.breakers import CacheStorage
from simplecqrs.breakers import NamedBreaker
from tests.contracts.breaker import BreakerContract, Down, ask, fail

LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
FILES = "django.core.cache.backends.filebased.FileBasedCache"
DATABASE = "django.core.cache.backends.db.DatabaseCache"

#: Another process that shares the cache, and whose calls fail.
OTHER = """
import sys
from functools import partial
from django.conf import settings
settings.configure(CACHES={"default": {"BACKEND": sys.argv[1], "LOCATION": sys.argv[2]}})
from django_cqrs.breakers import CacheStorage
from simplecqrs.breakers import NamedBreaker
breaker = NamedBreaker("bank", fail_max=2, storage=CacheStorage)
for _ in range(2):
    try:
        with breaker.calling():
            raise ConnectionError
    except ConnectionError:
        pass
print(breaker.circuit.current_state)
"""


class TestLocalMemory(BreakerContract):
    """The cache of one process."""

    @pytest.fixture
    def storage(self, settings: Any) -> Any:
        settings.CACHES = {"default": {"BACKEND": LOCMEM, "LOCATION": "breakers"}}
        return CacheStorage


class TestFiles(BreakerContract):
    """A cache for the processes of one host, under another alias."""

    @pytest.fixture
    def storage(self, settings: Any, tmp_path: Path) -> Any:
        settings.CACHES = {"default": {"BACKEND": LOCMEM}, "breakers": {"BACKEND": FILES, "LOCATION": str(tmp_path)}}
        return partial(CacheStorage, alias="breakers")


@pytest.fixture
def database_cache(settings: Any, committed: None) -> Iterator[None]:
    settings.CACHES = {"default": {"BACKEND": DATABASE, "LOCATION": "breaker_cache"}}
    call_command("createcachetable", verbosity=0)
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE breaker_cache")


@pytest.mark.usefixtures("database_cache")
def test_a_database_cache_keeps_a_breaker_for_all_hosts() -> None:
    """Outside of transactions; inside, what is rolled back is forgotten."""
    breaker = NamedBreaker("bank", fail_max=2, storage=CacheStorage)

    fail(breaker, 2)

    with pytest.raises(CircuitBreakerError):
        ask(NamedBreaker("bank", fail_max=2, storage=CacheStorage))
    ask(NamedBreaker("bank", fail_max=2, reset_seconds=0, storage=CacheStorage))
    ask(breaker)


def test_another_process_sees_that_calls_are_refused(settings: Any, tmp_path: Path) -> None:
    """And since when."""
    settings.CACHES = {"default": {"BACKEND": FILES, "LOCATION": str(tmp_path)}}
    breaker = NamedBreaker("bank", fail_max=2, storage=CacheStorage)
    ask(breaker)

    other = subprocess.run(
        [sys.executable, "-c", OTHER, FILES, str(tmp_path)], capture_output=True, text=True, check=True
    )

    assert other.stdout.strip() == "open"
    with pytest.raises(CircuitBreakerError):
        ask(breaker)


def test_failures_of_many_threads_are_all_counted(settings: Any) -> None:
    """Where the cache counts by itself."""
    settings.CACHES = {"default": {"BACKEND": LOCMEM, "LOCATION": "counted"}}

    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(CacheStorage("bank").increment_counter) for _ in range(200)]:
            done.result()

    assert CacheStorage("bank").counter == 200


def test_a_state_does_not_run_out(settings: Any) -> None:
    """Failures in a row are failures in a row, however long ago."""
    settings.CACHES = {"default": {"BACKEND": LOCMEM, "LOCATION": "endless", "TIMEOUT": 0}}

    fail(NamedBreaker("bank", fail_max=1, storage=CacheStorage), 1)

    with pytest.raises(CircuitBreakerError):
        ask(NamedBreaker("bank", fail_max=1, storage=CacheStorage))


def test_calls_pass_while_the_cache_is_away(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A breaker is to protect calls, not to fail them; the log tells."""
    settings.CACHES = {"default": {"BACKEND": "tests.django_cqrs.nothing.Cache"}}
    breaker = NamedBreaker("bank", fail_max=1, storage=CacheStorage)

    with caplog.at_level(logging.WARNING, logger="django_cqrs"):
        ask(breaker)
        with pytest.raises(Down):
            ask(breaker, Down())
        ask(breaker)

    assert "the breaker bank cannot use the cache 'default'" in caplog.text


def test_a_breaker_asks_no_cache_before_its_first_call(settings: Any) -> None:
    """So a module of handlers may make it."""
    settings.CACHES = {"default": {"BACKEND": LOCMEM, "LOCATION": "unused"}}

    NamedBreaker("bank", storage=CacheStorage)

    assert list(caches.all(initialized_only=True)) == []
