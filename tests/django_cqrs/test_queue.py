"""Outbox and inbox on Django's tables keep the contract of queues."""

from __future__ import annotations

from contextlib import AbstractContextManager

import pytest
from django.db import connection, connections, transaction

from django_cqrs.inbox import DjangoInbox
from django_cqrs.inspection import DjangoInspection
from django_cqrs.queue import DjangoStorage
from tests.contracts.queue import InboxContract, MarksContract, StorageContract

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
