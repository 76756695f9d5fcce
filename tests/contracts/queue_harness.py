"""What the contracts of queues share: how a test fills, holds, reads and parks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime, timezone
from typing import Any, ClassVar, TypeVar
from uuid import UUID, uuid4

import pytest

from simplecqrs.envelope import Envelope
from simplecqrs.queue import LANES, Backlog, Box, Failure, Held, Inspection, Letter, Row, Storage, lane_of
from tests.contracts.threads import begun_in_thread

T = TypeVar("T")

QUEUE = "shop"
HOUR = 3600.0
MiB = 1024 * 1024


class Boom(Exception):
    """Raised by tests to leave a transaction."""


def make(
    text: str = "",
    *,
    key: str = "",
    topic: str = "orders",
    source: str = "web",
    id: UUID | None = None,  # noqa: A002 - as in Envelope
    headers: Mapping[str, str] | None = None,
) -> Envelope:
    """Return an event whose payload is a text that tests know it by."""
    return Envelope(
        id=id or uuid4(), kind="event", name="OrderPlaced", topic=topic, key=key, source=source,
        time=datetime.now(timezone.utc), headers=headers or {}, payload=text.encode(),
    )  # fmt: skip


def texts(rows: Sequence[Row]) -> list[str]:
    """Return what tests know rows by."""
    return [row.envelope.payload.decode() for row in rows]


class QueueHarness:
    """What the contracts and their adapters share."""

    box: ClassVar[Box]
    #: Whether two lanes of one queue can be held at once, by two threads.
    parallel: ClassVar[bool] = True
    #: Whether what is done while a broker is waited for (``fetching``, ``hold`` with ``local=False``) is one
    #: transaction.  Where writers would have to wait for it, each step may be committed by itself.
    whole: ClassVar[bool] = True
    #: Seconds after which a thread that should long be done fails the test.
    patience: ClassVar[float] = 20.0

    def transaction(self) -> AbstractContextManager[object]:
        """Open a transaction for ``append``."""
        raise NotImplementedError

    def leave_thread(self) -> None:
        """Let go of what belongs to a thread, before it ends."""

    @pytest.fixture
    def storage(self) -> Storage:
        """Return the empty storage."""
        raise NotImplementedError

    @pytest.fixture
    def inspection(self) -> Inspection:
        """Return what inspects the storage."""
        raise NotImplementedError

    def fill(self, storage: Storage, *envelopes: Envelope, queue: str = QUEUE) -> None:
        """Append and commit."""
        with self.transaction():
            storage.append([(queue, lane_of(envelope), envelope) for envelope in envelopes])

    def hold(
        self,
        storage: Storage,
        *,
        queue: str = QUEUE,
        lanes: Sequence[int] = range(LANES),
        limit: int = LANES,
        local: bool = True,
    ) -> AbstractContextManager[Held | None]:
        """Hold all lanes that have work, unless told otherwise."""
        works = storage.look(queue, lanes)
        if not works:
            return nullcontext()
        return storage.hold(queue, lanes=[w.lane for w in works], limit=limit, local=local, idle=60.0)

    def read(self, storage: Storage, limit: int = 100, max_bytes: int = MiB, queue: str = QUEUE) -> Sequence[Row]:
        """Hold, read and let go."""
        with self.hold(storage, queue=queue) as held:
            return list(held.read(limit, max_bytes)) if held is not None else []

    def done(self, storage: Storage, *rows: Row) -> int:
        """Hold and delete."""
        with self.hold(storage) as held:
            return held.done(rows) if held is not None else 0

    def drain(self, storage: Storage) -> list[str]:
        """Read and delete until there is nothing more, and return what it was."""
        drained = []
        while rows := self.read(storage):
            assert self.done(storage, *rows) == len(rows)
            drained += texts(rows)
        return drained

    def park(self, storage: Storage, row: Row, failure: Failure) -> None:
        """Hold the row's lane and park it."""
        with self.hold(storage, queue=row.queue, lanes=[row.lane], limit=1) as held:
            assert held is not None, "the lane of a row that is there has work"
            held.park(row, failure)

    def park_first(self, storage: Storage, pause: float | None, *, attempts: int = 1, hold: bool = True) -> Row:
        """Park what is read first, and return it."""
        row = self.read(storage)[0]
        self.park(storage, row, Failure("ValueError: no\nmore of it", attempts, pause, hold=hold))
        self.read(storage)  # what follows under its key may be moved behind it only now
        return row

    def backlog(self, inspection: Inspection, queue: str = QUEUE) -> Backlog:
        """Return the backlog of a queue, which need not be listed while it is empty."""
        found = [b for b in inspection.backlogs() if (b.box, b.queue) == (self.box, queue)]
        assert len(found) <= 1
        return found[0] if found else Backlog(self.box, queue, 0, 0, 0, 0)

    def letters(self, inspection: Inspection) -> list[Letter]:
        """Return the dead letters of this box."""
        return [letter for letter in inspection.letters() if letter.box == self.box]

    def in_thread(self, work: Callable[[], T]) -> T:
        """Do something in another thread, to its end, and return what it returns."""
        return self.start(work).result(self.patience)

    def start(self, work: Callable[[], T]) -> Future[T]:
        """Begin something in another thread."""
        return begun_in_thread(work, self.leave_thread)

    @contextmanager
    def meanwhile(self, manager: Callable[[], AbstractContextManager[Any]]) -> Iterator[Any]:
        """Keep a context manager open in another thread, and yield what it yielded."""
        entered: Future[Any] = Future()
        leave = threading.Event()

        def work() -> None:
            try:
                with manager() as value:
                    entered.set_result(value)
                    assert leave.wait(self.patience)
            except BaseException as error:
                if not entered.done():
                    entered.set_exception(error)
                raise

        future = self.start(work)
        try:
            yield entered.result(self.patience)
        finally:
            leave.set()
            future.result(self.patience)
