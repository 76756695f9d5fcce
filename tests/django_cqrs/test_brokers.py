"""The project's brokers: one object for each thread, unless threads may share it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from django_cqrs.brokers import broker, per_thread
from django_cqrs.relay import relays
from simplecqrs.errors import NotConfigured

T = TypeVar("T")
FILE = {"BACKEND": "tests.desk.brokers.FileBroker", "OPTIONS": {"path": "/nowhere"}}
MEMORY = {"BACKEND": "simplecqrs.memory.MemoryBroker"}


@pytest.fixture(autouse=True)
def brokers(settings: Any) -> None:
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "BROKERS": {"file": FILE, "memory": MEMORY}}


def in_thread(call: Callable[[], T]) -> T:
    """Call in a thread of its own."""
    found: list[T] = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join(20)
    return found[0]


def test_each_thread_has_an_object_of_its_own() -> None:
    """Its connection is nobody else's, and lasts from one batch to the next."""
    first, again = in_thread(lambda: (broker("file"), broker("file")))

    assert first is again
    assert first is not broker("file")


@pytest.mark.parametrize("name", ["memory", "database"])
def test_what_threads_may_share_they_share(name: str) -> None:
    """What is kept in memory would be gone else."""
    assert in_thread(lambda: broker(name)) is broker(name)


def test_relays_that_were_made_in_one_thread_do_not_share_a_connection_in_others(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of two aliases to one broker are made together and run side by side."""
    one, other = (relay.publisher for relay in relays(routes=["file"]))

    def who(publisher: Any) -> int:
        bound: Any = publisher.publisher.publish  # beneath what leaves out what has expired
        return id(bound.__self__)

    assert who(one) == who(other) == id(broker("file"))
    both, found = threading.Barrier(2), list[int]()

    def work(publisher: Any) -> None:
        found.append(who(publisher))
        both.wait(20)  # while both live no address is used again

    threads = [threading.Thread(target=work, args=[publisher]) for publisher in (one, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert len({*found, id(broker("file"))}) == 3


def test_a_broker_that_cannot_be_made_is_told_before_a_relay_starts() -> None:
    """And not at its first event."""
    with pytest.raises(NotConfigured, match="no broker 'nowhere'"):
        per_thread("nowhere")
