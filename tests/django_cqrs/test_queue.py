"""Outbox and inbox on Django's tables keep the contract of queues."""

from __future__ import annotations

from contextlib import AbstractContextManager

import pytest
from django.db import connection, connections, transaction

from django_cqrs.inbox import DjangoInbox
from django_cqrs.inspection import DjangoInspection
from django_cqrs.models import Outbox, ParkedOutbox
from django_cqrs.queue import DjangoStorage
from simplecqrs.queue import Failure
from tests.contracts.queue import InboxContract, MarksContract, StorageContract, make

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
class TestInbox(_Database, StorageContract, MarksContract):
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
