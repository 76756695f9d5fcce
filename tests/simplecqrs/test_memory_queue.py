"""The queue in memory keeps the contract of queues."""

from __future__ import annotations

from contextlib import AbstractContextManager

import pytest

from simplecqrs.memory_queue import MemoryQueue
from simplecqrs.memory_transactions import MemoryTransactions
from simplecqrs.queue import Failure
from tests.contracts.queue import InboxContract, MarksContract, PausingContract, StorageContract, make, texts


class _Memory:
    """Both boxes in memory, with transactions in common."""

    @pytest.fixture(autouse=True)
    def _queues(self) -> None:
        self.transactions = MemoryTransactions()
        self.boxes = {box: MemoryQueue(box, transactions=self.transactions) for box in ("outbox", "inbox")}

    @pytest.fixture
    def storage(self) -> MemoryQueue:
        return self.boxes[self.box]

    @pytest.fixture
    def inspection(self, storage: MemoryQueue) -> MemoryQueue:
        return storage

    def transaction(self) -> AbstractContextManager[None]:
        return self.transactions.transaction()


class TestOutbox(_Memory, StorageContract):
    """An outbox in memory."""

    box = "outbox"


class TestInbox(_Memory, StorageContract, MarksContract, PausingContract):
    """An inbox in memory."""

    box = "inbox"


class TestDoor(_Memory, InboxContract):
    """The door of an inbox in memory."""

    @pytest.fixture
    def inbox(self, storage: MemoryQueue) -> MemoryQueue:
        return storage

    @pytest.fixture
    def outbox(self) -> MemoryQueue:
        return self.boxes["outbox"]


class TestClock:
    """What a clock decides."""

    def test_a_parked_row_is_due_when_its_pause_is_over(self) -> None:
        """Not a second earlier."""
        now = [100.0]
        queue = MemoryQueue("outbox", clock=lambda: now[0])
        queue.append([("shop", 0, make("1", key="a")), ("shop", 0, make("2", key="a"))])
        with queue.hold("shop", lanes=[0], limit=1, local=True, idle=1) as held:
            assert held is not None
            held.park(held.read(1, 1)[0], Failure("no", 1, 60))

        now[0] = 159.0
        assert not queue.look("shop", [0])
        now[0] = 160.0
        with queue.hold("shop", lanes=[0], limit=1, local=True, idle=1) as held:
            assert held is not None
            assert texts(held.read(10, 100)) == ["1", "2"]

    def test_the_oldest_is_told_by_the_clock(self) -> None:
        """Its age in seconds."""
        now = [100.0]
        queue = MemoryQueue("outbox", clock=lambda: now[0])
        queue.append([("shop", 0, make("1", key="a"))])
        now[0] = 130.0
        queue.append([("shop", 0, make("2", key="a"))])

        assert queue.backlogs()[0].oldest == 30.0
