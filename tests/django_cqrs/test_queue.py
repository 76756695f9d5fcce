"""Outbox and inbox on Django's tables keep the contract of queues."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.db import connection, connections, transaction

from django_cqrs.inbox import DjangoInbox
from django_cqrs.inspection import DjangoInspection
from django_cqrs.models import Outbox, ParkedOutbox
from django_cqrs.queue import DjangoStorage
from simplecqrs.queue import Failure, lane_of
from tests.contracts.queue import InboxContract, MarksContract, PausingContract, StorageContract, make

#: SQLite has one writer at a time, so one lane at a time is held there.
ONE_WRITER = connection.vendor == "sqlite"


class _Database:
    """Both boxes on the alias default, with real transactions."""

    parallel = whole = not ONE_WRITER

    @pytest.fixture
    def storage(self) -> DjangoStorage:
        return DjangoStorage(self.box, "default")

    @pytest.fixture
    def inspection(self) -> DjangoInspection:
        return DjangoInspection("default")

    def transaction(self) -> AbstractContextManager[object]:
        return transaction.atomic()

    def leave_thread(self) -> None:
        connections.close_all()


@pytest.mark.usefixtures("committed")
class TestOutbox(_Database, StorageContract):
    """An outbox on tables."""

    box = "outbox"


@pytest.mark.usefixtures("committed")
class TestInbox(_Database, StorageContract, MarksContract, PausingContract):
    """An inbox on tables."""

    box = "inbox"


@pytest.mark.usefixtures("committed")
class TestDoor(_Database, InboxContract):
    """The door of an inbox on tables."""

    @pytest.fixture
    def inbox(self) -> DjangoInbox:
        return DjangoInbox("default")

    @pytest.fixture
    def outbox(self) -> DjangoStorage:
        return DjangoStorage("outbox", "default")


@pytest.mark.usefixtures("committed")
def test_rows_are_moved_behind_their_key_in_one_piece() -> None:
    """A process that is killed between the two statements leaves no row that is both new and parked."""
    storage = DjangoStorage("outbox", "default")
    storage.append([("shop", 0, make("1", key="a")), ("shop", 0, make("2", key="a"))])
    with storage.hold("shop", lanes=[0], limit=1, local=False, idle=60) as held:
        assert held is not None
        held.park(held.read(1, 1000)[0], Failure("no", 1, 3600))

    def fail(execute, sql, *rest):  # type: ignore[no-untyped-def]
        if sql.startswith("DELETE"):
            raise KeyboardInterrupt
        return execute(sql, *rest)

    with (
        pytest.raises(KeyboardInterrupt),
        storage.hold("shop", lanes=[0], limit=1, local=False, idle=60) as held,
        connection.execute_wrapper(fail),
    ):
        assert held is not None
        held.read(10, 1000)

    assert (Outbox.objects.count(), ParkedOutbox.objects.count()) == (1, 1)


@pytest.mark.usefixtures("committed")
def test_what_is_parked_is_read_in_portions() -> None:
    """A crowd behind a key whose retry is due does not come into memory at once."""
    storage = DjangoStorage("outbox", "default")
    storage.append([("shop", 0, make("x" * 100, key="a")) for _ in range(5)])
    with storage.hold("shop", lanes=[0], limit=1, local=True, idle=60) as held:
        assert held is not None
        held.park(held.read(1, 1000)[0], Failure("no", 1, 0))
        held.read(1, 1000)
    asked: list[tuple[str, Any]] = []

    def note(execute, sql, parameters, *rest):  # type: ignore[no-untyped-def]
        asked.append((sql, parameters))
        return execute(sql, parameters, *rest)

    with storage.hold("shop", lanes=[0], limit=1, local=True, idle=60) as held:
        assert held is not None
        with connection.execute_wrapper(note):
            rows = held.read(10, 150)
        with connection.cursor() as cursor:
            cursor.execute(*asked[2])  # after the keys that are due, and the sizes of what waits behind them
            came = len(cursor.fetchall())

    assert len(rows) == came == 2


@pytest.mark.usefixtures("committed")
def test_a_letter_that_is_retried_while_its_key_is_unblocked_is_not_forgotten() -> None:
    """Both touch the row of the key: who comes second sees what the first one did."""
    if ONE_WRITER:  # nobody is ever in between
        return
    storage, inspection = DjangoStorage("outbox", "default"), DjangoInspection("default")
    lane = lane_of(make(key="a"))
    storage.append([("shop", lane, make("1", key="a")), ("shop", lane, make("2", key="a"))])
    for pause in (None, 0):
        with storage.hold("shop", lanes=[lane], limit=1, local=True, idle=60) as held:
            assert held is not None
            held.park(held.read(1, 1000)[0], Failure("no", 1, pause, hold=False))
    retried, go_on = threading.Event(), threading.Event()

    def retry() -> None:
        with transaction.atomic():
            [letter] = inspection.letters()
            assert inspection.retry(letter.id)
            retried.set()
            go_on.wait(0.3)
        connections.close_all()

    operator = threading.Thread(target=retry)
    with storage.hold("shop", lanes=[lane], limit=1, local=True, idle=60) as held:
        assert held is not None
        rows = held.read(10, 1000)
        operator.start()
        assert retried.wait(20)
        held.done(rows)
    operator.join()

    with storage.hold("shop", lanes=[lane], limit=1, local=True, idle=60) as held:
        assert held is not None
        assert [row.envelope.payload for row in held.read(10, 1000)] == [b"1"]
