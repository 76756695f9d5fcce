"""What the contract of saga storages works with: sagas of two kinds, threads, and time that can be moved."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, TypeVar
from uuid import UUID, uuid4

import pytest
from attrs import frozen

from simplecqrs.saga.records import Entry, Progress, Record, SagaStatus, Waiting
from simplecqrs.saga.states import unpack
from simplecqrs.saga.storage import SagaStorage
from tests.contracts.threads import begun_in_thread

T = TypeVar("T")

#: A lease that no test outlives, in seconds.
LEASE = 60.0
SAGA = "contract.order"


@frozen
class Order:
    """What the sagas are about."""

    number: int
    notes: tuple[str, ...] = ()
    prices: Mapping[str, float] = {}


def saga(saga_id: UUID | None = None, *, owner: str = "", status: SagaStatus = "RUNNING", name: str = SAGA) -> Record:
    """Return a saga that is about to begin."""
    return Record(saga_id or uuid4(), name, Order(1), owner=owner, status=status)


def entry(step: str, at: float = 1000.0, **others: Any) -> Entry:
    """Return a line of a log."""
    return Entry(step, "act", "started", at, **others)


def wait(step: str = "paid", key: str = "1", *, timeout: float | None = None) -> Waiting:
    """Return what a step waits for."""
    return Waiting(step, f"{SAGA}:{step}", key, timeout)


class SagaHarness:
    """
    What a storage's tests override.

    Attributes:
        patience: seconds after which a thread that should long be done fails the test.
        races: how often two threads race, each time.
        delicate: how often they do, where a thread has to meet the other one at its worst.
    """

    patience: ClassVar[float] = 30.0
    races: ClassVar[int] = 50
    delicate: ClassVar[int] = 200

    @pytest.fixture
    def sagas(self) -> SagaStorage:
        """Return a storage with nothing in it."""
        raise NotImplementedError

    @pytest.fixture
    def pass_time(self, sagas: SagaStorage) -> Callable[[float], None]:
        """Return a call that lets so many seconds pass for the storage."""
        raise NotImplementedError

    def transaction(self) -> AbstractContextManager[Any]:
        """Open a transaction that the storage joins, if it joins any."""
        return nullcontext()

    def close(self) -> None:
        """Give back what a thread has opened."""

    def run(self, work: Callable[[], T]) -> Future[T]:
        """Do something in a thread."""
        return begun_in_thread(work, self.close)

    def race(self, times: int, *works: Callable[[int], Any]) -> list[list[Any]]:
        """Do several things at the same time, over and over, and return what each came to in each round."""
        start = threading.Barrier(len(works), timeout=self.patience)

        def rounds(work: Callable[[int], Any]) -> list[Any]:
            outcomes: list[Any] = []
            for number in range(times):
                start.wait()
                outcomes.append(work(number))
            return outcomes

        futures = [self.run(lambda work=work: rounds(work)) for work in works]  # type: ignore[misc]
        return [list(outcomes) for outcomes in zip(*(f.result(self.patience * 4) for f in futures), strict=True)]

    def load(self, sagas: SagaStorage, saga_id: UUID) -> Record:
        """Return a saga that is there, its states as objects."""
        record = sagas.load(saga_id)
        assert record is not None
        unpack(record, Order, sagas.codec)
        return record

    def held(self, sagas: SagaStorage, *, owner: str = "me", lease: float = LEASE) -> Record:
        """Store a saga that somebody holds."""
        record = saga(owner=owner)
        assert sagas.create(record, lease=lease)
        return record

    def waiting(self, sagas: SagaStorage, key: str = "1", *, timeout: float | None = None) -> Record:
        """Store a saga that waits for an event."""
        record = saga(owner="me", status="WAITING")
        begin_waiting(record, wait(key=key, timeout=timeout))
        assert sagas.create(record, lease=LEASE)
        return record


def begin_waiting(record: Record, waiting: Waiting) -> None:
    """Let a step wait, in what is stored next."""
    record.progress[waiting.step] = Progress("waiting", attempts=1)
    record.waits.append(waiting)
    record.status = "WAITING"


def end_waiting(record: Record, step: str = "paid") -> None:
    """Let a step wait no more, in what is stored next."""
    record.progress[step] = record.progress[step]._replace(phase="done")
    record.status = "RUNNING"
