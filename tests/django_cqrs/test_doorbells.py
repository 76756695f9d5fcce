"""Doorbells: Celery is told that a consumer has work, and nobody waits for that."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from attrs import define, field, frozen
from celery import Celery
from django.db import transaction
from kombu import Connection
from kombu.exceptions import OperationalError

from django_cqrs import bus, doorbells
from django_cqrs.doorbells import Doorbells
from simplecqrs import Command, NotificationEvent
from tests.desk import processes
from tests.desk.messages import Remind
from tests.desk.project import Project
from tests.faultproxy import FaultProxy

# Nearest to the function, so that it is cleaned up when the settings are as before.
committing = pytest.mark.usefixtures("committed")


@frozen
class Moved(NotificationEvent, topic="moves", key="who"):
    """For everybody."""

    who: str


@frozen
class Pass(Command[None]):
    """Is deferred."""

    who: str


@define
class Rung:
    """Who was rung for, in place of Celery."""

    names: list[str] = field(factory=list)
    error: Exception | None = None

    def __call__(self, consumer: str) -> None:
        self.names.append(consumer)
        if self.error is not None:
            raise self.error


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch, celery: None) -> Rung:
    from django_cqrs import tasks

    rung = Rung()
    monkeypatch.setattr(tasks, "ring", rung)
    assert doorbells.doorbells.flush()
    return rung


@pytest.fixture
def celery(settings: Any) -> None:
    """Let Celery work for the deferred commands and for one consumer."""
    entries = {"deferred": {"engine": "celery"}, "one": {"engine": "celery"}, "two": {}, "three": {"engine": "celery"}}
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "CONSUMERS": entries}


@committing
def test_a_commit_that_fills_an_inbox_rings_for_its_consumer(rung: Rung) -> None:
    """After the commit; a rollback rings for nobody."""
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        bus.defer(Remind(1, "never"))
        raise ZeroDivisionError
    with transaction.atomic():
        bus.defer(Remind(1, "later"))
        assert doorbells.doorbells.flush()
        assert rung.names == []

    assert doorbells.doorbells.flush()
    assert rung.names == ["deferred"]


@committing
def test_consumers_of_another_engine_are_not_rung_for(project: Project, rung: Rung) -> None:
    """Nor is anybody for what is in the outbox."""
    for name in ("one", "two"):
        project.consume(Moved, consumer=name)
    project.publish(Moved("ada"))
    assert doorbells.doorbells.flush()
    assert rung.names == []

    project.ship()

    assert doorbells.doorbells.flush()
    assert rung.names == ["one"]


@committing
def test_a_task_does_not_ring_for_what_it_does_itself(project: Project, rung: Rung) -> None:
    """What its handlers give to its own consumers it finds; the others are rung for."""
    from django_cqrs import tasks

    def pass_on(event: Moved, publish: Any) -> None:
        project.bus.defer(Pass(event.who))

    project.registry.add(Pass, lambda command: None)
    project.consume(Moved, consumer="one", work=pass_on)
    project.publish(Moved("ada"))
    project.ship()
    assert doorbells.doorbells.flush()
    rung.names.clear()

    tasks.consume("one", "deferred")
    assert doorbells.doorbells.flush()
    assert rung.names == []

    project.publish(Moved("bob"))
    project.ship()
    tasks.consume("one")
    assert doorbells.doorbells.flush()
    assert sorted(rung.names) == ["deferred", "one"]


def test_many_rings_within_a_moment_are_one_and_none_is_lost(rung: Rung, monkeypatch: pytest.MonkeyPatch) -> None:
    """What rings while the first is on its way rings again, once."""
    sleeping, slept = threading.Event(), threading.Event()

    def sleep(seconds: float) -> None:
        assert seconds == 0.05
        sleeping.set()
        slept.wait(20)

    monkeypatch.setattr(doorbells.time, "sleep", sleep)
    bells = Doorbells()
    bells.ring("one")
    assert sleeping.wait(20)

    for _ in range(100):
        bells.ring("one")
        bells.ring("three")
    assert rung.names == ["one"]
    slept.set()

    assert bells.flush()
    assert rung.names == ["one", "one", "three"]


def test_a_celery_that_is_down_fails_nobody_and_is_told_once(rung: Rung, caplog: pytest.LogCaptureFixture) -> None:
    """And once more when it was back."""
    caplog.set_level(logging.WARNING, "django_cqrs")
    bells = Doorbells()
    rung.error = OSError("no route")
    for error in (OSError("no route"), OSError("no route"), None, OSError("again")):
        rung.error = error
        bells.ring("one")
        assert bells.flush()

    told = [record.getMessage() for record in caplog.records]
    assert told == [
        f"celery could not be told that one has work, which is found later: {why}" for why in ("no route", "again")
    ]


def test_whoever_rings_does_not_wait_for_celery(rung: Rung, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where the connection takes for ever; the end of the process waits a second."""
    from django_cqrs import tasks

    connected = threading.Event()
    monkeypatch.setattr(tasks, "ring", lambda consumer: connected.wait(20))
    bells = Doorbells()
    bells.ring("one")

    assert not bells.flush(0.01)
    connected.set()
    assert bells.flush()


def test_a_forked_process_rings_by_a_thread_of_its_own(rung: Rung) -> None:
    """As those of prefork servers."""
    bells = Doorbells()
    bells.ring("one")
    assert bells.flush()
    before = bells._thread

    bells.forget()
    bells.ring("three")

    assert bells.flush()
    assert bells._thread is not before
    assert rung.names == ["one", "three"]


# Celery itself


@pytest.fixture
def app() -> Iterator[Celery]:
    app = Celery("desk", broker="memory://", set_as_current=True)
    yield app
    app.close()


def test_a_doorbell_is_a_task_without_data_that_expires(app: Celery, settings: Any) -> None:
    """On a queue of its own, from whatever thread."""
    from django_cqrs import tasks

    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "CELERY_QUEUE": "bells"}
    thread = threading.Thread(target=tasks.ring, args=["one"])
    thread.start()
    thread.join(20)

    with Connection("memory://") as connection, connection.SimpleQueue("bells") as queue:
        message = queue.get(timeout=processes.PATIENCE)
        message.ack()
    assert message.headers["task"] == "django_cqrs.consume"
    assert message.headers["ignore_result"] is True
    assert message.headers["expires"] is not None
    assert message.payload[0] == ["one"]


@pytest.fixture
def silent() -> Iterator[int]:
    """Return the port of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("url", ["redis://127.0.0.1:{}/0", "amqp://guest:guest@127.0.0.1:{}//"])
def test_a_ring_at_a_silent_server_ends_after_a_second(url: str, silent: int) -> None:
    """Without retries; Celery's own would go on for ever."""
    from django_cqrs import tasks

    began = time.monotonic()
    with Celery("desk", broker=url.format(silent), set_as_current=True), pytest.raises(OperationalError):
        tasks.ring("one")

    assert time.monotonic() - began < 20


@pytest.mark.redis
@pytest.mark.services
def test_rings_share_a_connection_and_one_that_was_cut_is_replaced(settings: Any) -> None:
    """So that a ring costs a round trip, and a server's restart costs none."""
    from django_cqrs import tasks

    url = os.environ.get("CQRS_TEST_REDIS") or pytest.skip("CQRS_TEST_REDIS is not set: scripts/services env")
    server = urlsplit(url)
    proxy = FaultProxy(server.hostname or "", server.port or 6379)
    queue = f"bells-{uuid4().hex}"
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "CELERY_QUEUE": queue}
    with Celery("desk", broker=f"redis://127.0.0.1:{proxy.port}{server.path}", set_as_current=True) as app:
        tasks.ring("one")
        before = proxy.connections
        tasks.ring("one")
        assert proxy.connections == before

        proxy.mode = "lose_one_reply"
        tasks.ring("one")

        assert proxy.lost.is_set()
        assert proxy.connections > before
        with app.connection_for_read() as connection:
            connection.default_channel.queue_delete(queue)
    proxy.close()
