"""An inbox in memory, and workers that fail on some of its messages and die of others."""

from __future__ import annotations

from simplecqrs.backoff import Retry
from simplecqrs.consumer import Consumer, Policy
from simplecqrs.envelope import Envelope
from simplecqrs.memory_queue import MemoryQueue
from simplecqrs.memory_transactions import MemoryTransactions
from simplecqrs.queue import LANES
from tests.contracts.queue import make

__all__ = ["NAME", "Killed", "Mailing"]

NAME = "mailing"


class Killed(BaseException):
    """Ends a worker in the middle, as SIGKILL does."""


class Mailing:
    """An inbox whose workers die of some messages and fail on others; a dead one is followed by another."""

    def __init__(self, *, batch: int = 1, lanes: int = LANES, retry: Retry | None = None) -> None:
        self.now = 1000.0
        self.lanes = lanes
        self.db = MemoryTransactions()
        self.inbox = MemoryQueue("inbox", transactions=self.db, lanes=lanes, clock=lambda: self.now)
        self.deadly: set[str] = set()
        self.bad: set[str] = set()
        self.exits: set[str] = set()
        self.is_stopping = False
        self.tried: list[str] = []
        self._effects: dict[int, str] = {}
        self.batch = batch
        self.retry = retry or Retry(3, first=60, jitter=0)
        self.worker = self.hire()

    def hire(self, inbox: MemoryQueue | None = None) -> Consumer:
        return Consumer(
            consumer=NAME,
            storage=inbox or self.inbox,
            receive=self.receive,
            policy=lambda _: Policy(self.retry),
            lanes=self.lanes,
            batch=self.batch,
            stopping=lambda: self.is_stopping,
            wait=lambda _: None,
        )

    def receive(self, envelope: Envelope) -> bool:
        text = envelope.payload.decode()
        self.tried.append(text)
        self.db.put(self._effects, len(self.tried), text)
        if text in self.deadly:
            raise Killed
        if text in self.exits:
            raise SystemExit(2)
        if text in self.bad:
            raise ValueError("no")
        return True

    def store(self, *texts: str) -> None:
        """Put events into the inbox whose key is their first letter."""
        self.inbox.store(NAME, [make(text, key=text[0]) for text in texts])

    def work(self, steps: int = 40) -> int:
        """Let workers do so many steps, and return how many of them died."""
        died = 0
        for _ in range(steps):
            self.worker._territory.clock = lambda: self.now
            self.now += 0.1
            try:
                self.worker.step()
            except Killed:
                died += 1
                self.worker = self.hire()
        return died

    @property
    def effects(self) -> list[str]:
        return [text for _, text in sorted(self._effects.items())]
